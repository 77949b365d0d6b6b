"""Draws docs/overview.png, a panel per package: `python docs/overview.py`, a minute on two cores."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

import eventprop as ep
import gle
import hardware as hw
import sal
from benchmarks import style


def spike_time(axes: Axes) -> None:
    """When a neuron with one input fires, against the weight, with exact derivatives as tangents."""
    weights = jnp.linspace(3.0, 12.0, 181)

    def first(weight):
        lif = ep.LIF(20.0, 5.0, refractory=ep.FiresOnce())
        network = ep.FeedForward([(ep.Dense(weight[None, None]), lif)])
        return ep.simulate(network, ep.Spikes.from_events([0.0], [0]), 40.0, solver=ep.Exact(1)).spikes[0].first()[0]

    times, slopes = jax.jit(jax.vmap(jax.value_and_grad(first)))(weights)
    fires = np.isfinite(times)
    axes.axvspan(weights[0], weights[fires][0], color="0.92")
    axes.text(weights[4], 5.0, "silent:\nno gradient", fontsize=7, va="center")
    axes.plot(weights[fires], times[fires], color=style.BLUE)
    for at in (71, 85, 115, 155):
        reach = jnp.array([-1.0, 1.0]) * min(0.9, 1.5 / abs(float(slopes[at])))
        axes.plot(weights[at] + reach, times[at] + slopes[at] * reach, color=style.RED)
        axes.plot(weights[at], times[at], "o", color=style.RED)
    axes.set(title="eventprop: exact gradients", xlabel="weight", ylabel="spike time (ms)", ylim=(0, 10))


def online(axes: Axes) -> None:
    """The README's neuron, which learns the weight and the time constant of another one while it runs."""

    def neuron(weight, tau_m):
        return gle.Network(
            [gle.Layer(gle.Dense(jnp.array([[weight]]), None), tau_m, 0.2, jnp.tanh)], gle.MeanSquaredError()
        )

    def observe(network, signals):
        return network.layers[0].connection.weight[0, 0], jnp.mean(network.layers[0].tau_m)

    dt, steps = 0.02, jnp.arange(20_000)
    inputs = jnp.sin(steps * dt)[:, None] + jnp.sin(2.7 * steps * dt)[:, None]
    targets = jnp.tanh(gle.infer(neuron(1.0, 1.5), inputs, dt=dt)[0])
    learns = gle.only(connection=optax.adam(1e-3), tau_m=optax.adam(1e-3))
    optimiser = optax.chain(learns, gle.at_least(tau_m=0.1, tau_r=0.1))
    learner = gle.start(neuron(0.4, 0.5), optimiser)
    _, (weight, tau), _ = gle.online(learner, inputs, targets, dt=dt, optimiser=optimiser, observe=observe)
    for values, goal, name, colour in ((tau, 1.5, "time constant", style.GREEN), (weight, 1.0, "weight", style.PURPLE)):
        axes.axhline(goal, color=colour, linestyle=":")
        axes.plot(steps[::50] * dt, values[::50], color=colour, label=name)
    axes.set(title="gle: learning online", xlabel="time", ylabel="parameter", xlim=(0, 200), ylim=(0, 1.8))
    axes.legend(loc="lower right")


def alignment(axes: Axes) -> None:
    """The README's synapse, which goes to the weight of the synapse that leads back; three seeds."""
    window = sal.Exponential(10.0)
    stdp = sal.STDP(window, window, tau_ref=10.0, coincidence=sal.one_by_one(2))
    rule = sal.align(1e-2, stdp, replicas=(100,))
    plastic = jnp.array([[0.0, 0.0], [1.0, 0.0]])

    def phase(carry, key):
        weights, memory = carry
        network = sal.Network(sal.Recurrent(weights), bias=jnp.zeros(2), tau_ref=10.0)
        simulate = jax.vmap(lambda key: sal.simulate(network, 100.0, dt=1.0, key=key).spikes, out_axes=1)
        spikes = simulate(jax.random.split(key, 100))
        updates, memory = rule.update(jnp.zeros_like(weights), memory, pre=spikes, post=spikes)
        return (weights + plastic * updates, memory), weights[1, 0]

    weights = jnp.array([[0.0, 1.5], [-0.5, 0.0]])

    @jax.jit
    @jax.vmap
    def course(key):
        return jax.lax.scan(phase, (weights, rule.init(weights)), jax.random.split(key, 300))[1]

    axes.axhline(1.5, color=style.BLUE, label="forward weight")
    axes.plot(np.arange(300) / 10, course(jax.random.split(jax.random.key(0), 3)).T, color=style.RED, linewidth=0.8)
    axes.plot([], [], color=style.RED, label="backward weight, 3 seeds")
    axes.set(title="sal: weights align", xlabel="time (s), 100 replicas", ylabel="weight")
    axes.legend(loc="lower right")


def chips(axes: Axes) -> None:
    """One neuron of the same codes and inputs on many chips: what the fixed pattern does before calibration."""
    lif = ep.LIF(10.0, 10.0)
    network = ep.FeedForward([(ep.Dense(jnp.full((1, 4), 0.5)), lif)])
    spikes = ep.Spikes.from_events([5.0, 12.0, 19.0, 26.0, 45.0, 48.0, 51.0], [0, 1, 2, 3, 0, 1, 2])

    @jax.jit
    @jax.vmap
    def traces(key):
        chip = hw.Emulated(hw.Chip.fabricate(key))
        experiment = hw.Experiment(hw.place(network), hw.Calibration.from_codes(hw.Codes.default(), chip), 40.0)
        recording = hw.run(experiment, network, chip, spikes, 80.0, jax.random.key(1), throw=False)
        return recording.cadc_times, recording.cadc[0][:, 0]

    times, samples = traces(jax.random.split(jax.random.key(0), 6))
    for colour, x, y in zip(style.COLOURS, times, samples, strict=False):
        axes.plot(x, y, color=colour, linewidth=0.9)
    axes.set(title="hardware: six chips", xlabel="time (µs)", ylabel="CADC (LSB)")


def main() -> None:
    """Draws all panels in one row of two by two."""
    with style.paper():
        figure, panels = plt.subplots(1, 4, figsize=(1.45 * style.PAGE, 2.3))
        for draw, axes in zip((spike_time, online, alignment, chips), panels, strict=True):
            draw(axes)
        figure.savefig(Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main()
