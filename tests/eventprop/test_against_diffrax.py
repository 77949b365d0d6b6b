"""The neurons described to diffrax (field, events, receive), integrated from event to event: what Exact solves."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import eventprop as ep

SLOTS, T1 = 24, 50.0


@eqx.filter_jit
def advance(neuron, y, t0, t1):
    """Integrate one neuron until its first event or t1: (time, state, which event, or the number of events if none)."""
    # An event that has just happened must not happen again: only guards that start below zero are armed.
    armed = [event.guard(0.0, y, None)[0] < 0 for event in neuron.events]

    def guard(t, y, args, **kwargs):
        values = [
            jnp.where(a, event.guard(0.0, y, None)[0], -1.0) for a, event in zip(armed, neuron.events, strict=True)
        ]
        return jnp.max(jnp.stack(values))

    steps = jnp.ceil((t1 - t0) / 0.25)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(neuron.vector_field),
        diffrax.Dopri8(),
        t0,
        t1,
        (t1 - t0) / jnp.maximum(steps, 1.0),
        y,
        event=diffrax.Event(guard, optx.Bisection(rtol=1e-14, atol=1e-13)),
        max_steps=1000,
    )
    y = jax.tree.map(lambda leaf: leaf[-1], solution.ys)
    happened = solution.result == diffrax.RESULTS.event_occurred
    values = jnp.stack(
        [jnp.where(a, e.guard(0.0, y, None)[0], -jnp.inf) for a, e in zip(armed, neuron.events, strict=True)]
    )
    return solution.ts[-1], y, jnp.where(happened, jnp.argmax(values), len(neuron.events))


def integrate(neuron, times, charges):
    """Spike times of one neuron."""
    y, t, spikes = neuron.init(1), 0.0, []
    for until, charge in zip([*times, T1], [*charges, 0.0], strict=True):
        while t < until:
            # The flow is another one after the refractory period, so no step may reach beyond its end.
            left = float(y.refractory[0])
            stop = min(until, t + left) if left > 0 else until
            later, y, event = advance(neuron, y, jnp.asarray(t), jnp.asarray(stop - 1e-13 * (left > 0)))
            t = stop if left > 0 else float(later)
            if left > 0 and stop < until:
                y = neuron.events[1].jump(t, y, None)
            elif event < len(neuron.events):
                spikes += [t] * neuron.events[event].emits
                y = neuron.events[event].jump(t, y, None)
        y = neuron.receive(y, 0, jnp.full(1, charge))
    return np.array(spikes)


@pytest.mark.parametrize("kind", ["subtraction", pytest.param("refractory", marks=pytest.mark.slow)])
def test_spikes(x64, kind):
    rng = np.random.default_rng(3)
    times, weights = np.sort(rng.uniform(0, 35, 6)), rng.normal(4.0, 3.0, (6, 3))
    tau_mem, tau_syn = np.array([20.0, 12.0, 10.0]), np.array([5.0, 12.0, 20.0])

    parameters = {"tau_mem": tau_mem, "tau_syn": tau_syn, "bias": np.full(3, 0.3)}
    if kind == "refractory":
        parameters |= {"refractory": np.array([2.5, 1.0, 4.0])}

    def lif(j):
        reset = ep.ResetToValue(-0.2) if kind == "refractory" else ep.ResetBySubtraction()
        return ep.LIF(**{name: jnp.asarray(value[j]) for name, value in parameters.items()}, reset=reset)

    network = ep.FeedForward([(ep.Dense(jnp.asarray(weights).T), lif(slice(None)))])
    spikes = ep.Spikes(jnp.asarray(times), jnp.arange(6))
    actual = eqx.filter_jit(ep.simulate)(network, spikes, T1, solver=ep.Exact(max_spikes=SLOTS)).spikes[0].times
    expected = [integrate(lif(j), times, weights[:, j]) for j in range(3)]
    assert sum(len(train) for train in expected) >= 8
    for row, train in zip(np.asarray(actual), expected, strict=True):
        np.testing.assert_allclose(row[: len(train)], train, rtol=0, atol=1e-8)
        assert np.all(row[len(train) :] == np.inf)


def test_membrane_potential_of_an_integrator(x64):
    neuron = ep.LI(tau_mem=20.0, tau_syn=5.0, bias=0.2)
    y, t, potentials = neuron.init(1), 0.0, []
    events, samples = {3.0: 1.5, 11.0: -2.0}, (7.0, 15.0, 40.0)
    for until in sorted([*events, *samples]):
        flow = diffrax.ODETerm(neuron.vector_field)
        y = diffrax.diffeqsolve(flow, diffrax.Dopri8(), t, until, 0.25, y, max_steps=1000).ys
        y, t = jax.tree.map(lambda leaf: leaf[-1], y), until
        if until in events:
            y = neuron.receive(y, 0, jnp.full(1, events[until]))
        else:
            potentials.append(float(y.v[0]))
    network = ep.FeedForward([(ep.Dense(jnp.array([[1.5, -2.0]])), neuron)])
    spikes = ep.Spikes(jnp.array([3.0, 11.0]), jnp.arange(2))
    saveat = diffrax.SaveAt(ts=jnp.array(samples))
    solution = eqx.filter_jit(ep.simulate)(network, spikes, T1, solver=ep.Exact(max_spikes=1), saveat=saveat)
    np.testing.assert_allclose(solution.ys[0][:, 0], potentials, rtol=0, atol=1e-8)
