"""Training in the loop: values from the device, derivatives from the model at what the device has done."""

import dataclasses

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
import hardware as hw
from hardware.gradients import rank_of, trains_of
from hardware.place import place

WEIGHTS = [3.1, 3.0, -1.3, 4.4, 7.2]
RECORD = hw.Record(max_spikes=4)
T1 = 30.0


def trial():
    return ep.Spikes.from_events([1.0, 3.0, 6.0, 8.0, 9.5], [0, 1, 2, 3, 4])


def network(refractory=None, second=((1.0, -0.6), (0.3, 1.7))):
    """One neuron that fires twice, one that fires once, two readouts; weights that are whole at 10 LSB per unit."""
    first = ep.Dense(jnp.asarray([WEIGHTS, [0.5, 4.0, 2.0, 0.1, 0.0]]))
    return ep.FeedForward(
        [(first, ep.LIF(20.0, 5.0, refractory=refractory)), (ep.Dense(jnp.asarray(second)), ep.LI(20.0, 5.0))]
    )


def experiment(net, repetitions=2):
    return hw.Experiment(place(net, input_repetitions=repetitions), None, 10.0, 1 / 45, 80.0)


def loss(times, index, voltage):
    """Of spike times of the first layer, and of the readouts' potentials."""
    late = jnp.sum(jnp.where(times < jnp.inf, times, 0) * (1 + index))
    return late + jnp.sum(jnp.sin(voltage))


def recorded_loss(recording):
    return loss(recording.spikes[0].times, recording.spikes[0].index, recording.voltage[1])


def simulated_loss(net, spikes):
    """The same of the model, without a device."""
    saveat = diffrax.SaveAt(ts=jnp.arange(0.0, T1, 1.7))
    found = ep.simulate(net, spikes, T1, solver=ep.Exact(4), saveat=saveat)
    events = found.spikes[0].merge()[0]
    return loss(events.times, events.index, found.ys[1])


def leaves(tree):
    return [np.asarray(x) for x in jax.tree.leaves(tree)]


def test_the_mock_fires_where_theory_says(x64, key):
    """Inputs at 1, 3, 6, 8, 9.5 over the weights 3.14 ... 7.2, which 10 LSB per unit round; 72 is clipped."""
    net = ep.FeedForward([(ep.Dense(jnp.asarray([[3.14, 2.97, -1.26, 4.44, 7.2]])), ep.LIF(20.0, 5.0))])
    found = hw.run(experiment(net, 1), net, hw.Ideal(), trial(), 15.0, key, RECORD)
    times, _ = found.spikes[0].to_events()
    np.testing.assert_allclose(times, [9.101478, 11.925260], atol=1e-6)
    assert found.saturated == 1 and found.drops == 0


@pytest.mark.parametrize(
    ("strategy", "refractory", "rtol"),
    [(hw.Replay(minimum=1e-6), None, 2e-4), (hw.FirstSpike(minimum=1e-6), ep.FiresOnce(), 1e-9)],
)
def test_on_the_mock_the_gradient_is_that_of_the_model(x64, key, strategy, refractory, rtol):
    """In weights and in input times; Replay to the tolerance of its integration."""
    net = network(refractory)
    loop = hw.in_the_loop(experiment(net), hw.Ideal(), strategy, RECORD)

    def looped(both):
        return recorded_loss(loop(both[0], ep.Spikes(both[1], trial().index), T1, key))

    def direct(both):
        return simulated_loss(both[0], ep.Spikes(both[1], trial().index))

    value, found = eqx.filter_value_and_grad(looped)((net, trial().times))
    expected, wanted = eqx.filter_value_and_grad(direct)((net, trial().times))
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for a, b in zip(leaves(found), leaves(wanted), strict=True):
        np.testing.assert_allclose(a[np.isfinite(b)], b[np.isfinite(b)], rtol=rtol, atol=rtol / 10)
    assert all(np.any(x != 0) for x in leaves(found))


@pytest.mark.parametrize("reset", [ep.ResetBySubtraction(), ep.ResetToValue(-0.5)])
def test_surrogates_are_those_of_the_grid(x64, key, reset):
    """With samples at every step the gradient is that of Grid, up to who is how far above threshold at a spike."""
    dt, alpha = 0.02, 5.0
    neuron = ep.LIF(20.0, 5.0, reset=reset)
    base = network()
    net = ep.FeedForward([(base.layers[0][0], neuron), (base.layers[1][0], ep.LI(20.0, 5.0))])
    grid = ep.Grid(dt, 4, diffrax.Heun())
    device = hw.Ideal(solver=grid, limits=hw.Limits(cadc_period=dt))
    loop = hw.in_the_loop(experiment(net), device, hw.SuperSpike(alpha, dt), RECORD)
    adjoint, ts = ep.Surrogate(ep.SuperSpike(alpha)), jnp.arange(0.0, T1, dt)

    def score(voltage, raster):
        return jnp.mean(jnp.sin(voltage)) + jnp.mean(raster * jnp.arange(len(raster))[:, None])

    def looped(net):
        found = loop(net, trial(), T1, key)
        return score(found.voltage[1], found.raster[0])

    def direct(net):
        found = ep.simulate(net, trial(), T1, solver=grid, adjoint=adjoint, saveat=diffrax.SaveAt(ts=ts))
        return score(found.ys[1], found.raster[0])

    value, gradient = eqx.filter_jit(eqx.filter_value_and_grad(looped))(net)
    expected, wanted = eqx.filter_jit(eqx.filter_value_and_grad(direct))(net)
    print(value, expected)
    for a, b in zip(leaves(gradient), leaves(wanted), strict=True):
        print(np.max(np.abs(a - b)) / np.max(np.abs(b)))
        np.testing.assert_allclose(a, b, rtol=0.01, atol=0.01 * np.max(np.abs(b)))
