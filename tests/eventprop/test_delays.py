"""Delays per source and per synapse in feed-forward networks, and what is in flight when a trial is cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep

SPIKES = ep.Spikes(jnp.array([5.0, 9.0]), jnp.array([0, 1]))
SOLVER = ep.Exact(2)


def first(delay, weight=((4.0, 5.0),)):
    """The first spike of one neuron (tau 20/5, threshold 1) with inputs at 5 and 9."""
    network = ep.FeedForward([(ep.Dense(jnp.asarray(weight), delay), ep.LIF(20.0, 5.0))])
    return ep.simulate(network, SPIKES, 60.0, solver=SOLVER).spikes[0].times[:, 0]


CASES = {(1.5, 0.25): 11.641331, (2.0, 0.0): 11.596389, (1.0, 0.0): 11.331319, (1.5, 0.0): 11.455466}
"""Computed independently, by a root finder on the sum of two responses."""


@pytest.mark.parametrize("per_synapse", [False, True])
def test_the_first_spike_moves_with_its_delays(x64, per_synapse):
    def spike(delay):
        return first(delay[None] if per_synapse else delay)[0]

    run = jax.jit(jax.value_and_grad(spike))
    for delay, expected in CASES.items():
        assert run(jnp.array(delay))[0] == pytest.approx(expected, abs=1e-6)
    slope = run(jnp.array([1.5, 0.25]))[1]
    np.testing.assert_allclose(slope, [0.248245, 0.751755], atol=1e-6)
    np.testing.assert_allclose(jnp.sum(slope), 1.0, rtol=1e-12)  # all later is all later
    curvature, step = jax.jit(jax.hessian(spike))(jnp.array([1.5, 0.25])), 1e-4
    for source in range(2):
        shift = step * np.eye(2)[source]
        difference = (run(jnp.array([1.5, 0.25]) + shift)[1] - run(jnp.array([1.5, 0.25]) - shift)[1]) / (2 * step)
        np.testing.assert_allclose(curvature[source], difference, atol=1e-7)


def test_one_delay_for_all_is_a_shift(x64):
    weight = np.array([[4.0, 5.0], [9.0, 1.0], [0.5, 0.5]])
    np.testing.assert_allclose(first(2.5, weight), first(None, weight) + 2.5, rtol=1e-13)
    np.testing.assert_allclose(first(np.full((3, 2), 2.5), weight), first(None, weight) + 2.5, rtol=1e-13)


def test_each_synapse_has_its_own_delay(x64, rng):
    """Layers of neurons with a delay per synapse against each of these neurons alone, its inputs shifted."""
    sources, neurons, events = 6, 5, 30
    weight, delay = rng.normal(1.2, 1.0, (neurons, sources)), rng.uniform(0, 8, (neurons, sources))
    times, index = np.sort(rng.uniform(0, 40, events)), rng.integers(sources, size=events)
    neuron, solver = ep.LIF(20.0, 5.0, refractory=1.5, bias=0.1), ep.Exact(12, chunk=7)

    def run(weight, delay, times, index):
        network = ep.FeedForward([(ep.Dense(weight, delay), neuron)])
        return ep.simulate(network, ep.Spikes(times, index), 80.0, solver=solver).spikes[0].times

    together = run(weight, delay, jnp.asarray(times), jnp.asarray(index))
    count = 0
    for number in range(neurons):
        shifted = times + delay[number, index]
        order = np.argsort(shifted)
        alone = run(weight[number : number + 1], None, jnp.asarray(shifted[order]), jnp.asarray(index[order]))
        np.testing.assert_allclose(together[number], alone[0], rtol=1e-12)
        count += int(np.isfinite(alone).sum())
    assert count > 15


def chain(delays, t1=60.0, state=None, spikes=None):
    """Two layers of three neurons."""
    weights = [np.array([[9.0, 2.0], [3.0, 8.0], [6.0, 6.0]]), 3.0 + 2.0 * np.cos(np.arange(9.0)).reshape(3, 3)]
    layers = [(ep.Dense(w, d), ep.LIF(20.0, 5.0, refractory=1.0)) for w, d in zip(weights, delays, strict=True)]
    spikes = ep.Spikes(jnp.array([1.0, 3.0, 8.0, 15.0]), jnp.array([0, 1, 0, 1])) if spikes is None else spikes
    solver = ep.Exact(8, max_in_flight=12)
    return ep.simulate(ep.FeedForward(layers), spikes, t1, solver=solver, state=state)


PER_SYNAPSE = (np.arange(6.0).reshape(3, 2), np.arange(9.0).reshape(3, 3) / 2)


@pytest.mark.parametrize("delays", [(jnp.array([2.0, 0.5]), 5.0), pytest.param(PER_SYNAPSE, marks=pytest.mark.slow)])
def test_any_cut_gives_the_whole(x64, delays):
    """What is on its way at the cut arrives afterwards; cut at random, at an input, at a spike and at an arrival."""
    whole = chain(delays)
    spikes = np.asarray(whole.spikes[0].times)
    spikes = spikes[np.isfinite(spikes)]
    delay = float(np.ravel(delays[1])[-1])
    cuts = [0.0, 3.0, 7.3, 16.2, 23.9, spikes[2], spikes[4] + delay]
    run = jax.jit(lambda times, index, t1, state: chain(delays, t1, state, ep.Spikes(times, index)))
    index = jnp.array([0, 1, 0, 1])
    nothing = chain(delays, 0.0, None, ep.Spikes(jnp.full(4, jnp.inf), index)).state
    for cut in cuts:
        times = np.array([1.0, 3.0, 8.0, 15.0])
        before = run(jnp.asarray(np.where(times < cut, times, np.inf)), index, cut, nothing)
        later = np.where(times >= cut, times - cut, np.inf)
        order = np.argsort(later, kind="stable")
        after = run(jnp.asarray(later[order]), index[order], 60.0 - cut, before.state)
        for layer in range(2):
            joined = np.concatenate([before.spikes[layer].times, np.asarray(after.spikes[layer].times) + cut], axis=1)
            expected = np.asarray(whole.spikes[layer].times)
            np.testing.assert_allclose(np.sort(joined, axis=1)[:, : expected.shape[1]], expected, rtol=0, atol=1e-9)
        for y, expected in zip(after.state.neurons, whole.state.neurons, strict=True):
            np.testing.assert_allclose(y.v, expected.v, rtol=0, atol=1e-9)


def test_too_many_events_in_flight_are_told():
    network = ep.FeedForward([(ep.Dense(jnp.ones((1, 2)), 20.0), ep.LIF(20.0, 5.0))])
    solver = ep.Exact(2, max_in_flight=1)
    with pytest.raises(RuntimeError, match=r"layer 0 .* lost 1 spike.* on their way to it than .*`max_in_flight`"):
        ep.simulate(network, SPIKES, 10.0, solver=solver)
    assert ep.simulate(network, SPIKES, 10.0, solver=solver, throw=False).stats["spikes_lost"] == 1


@pytest.mark.parametrize("delay", [-1.0, np.nan, [1.0, -0.5]])
def test_negative_delays_are_refused(delay):
    with pytest.raises(ValueError, match="delay must not be negative"):
        ep.Dense(jnp.ones((1, 2)), delay)


def test_delays_that_learned_to_be_negative_are_told():
    def run(delay):
        network = ep.FeedForward([(ep.Dense(jnp.ones((1, 2)), delay), ep.LIF(20.0, 5.0))])
        return ep.simulate(network, SPIKES, 10.0, solver=SOLVER, throw=False).result

    assert jax.jit(run)(jnp.array([0.1, -0.1])) == ep.RESULTS.negative_delay


def test_a_delay_of_another_shape_is_refused():
    with pytest.raises(
        ValueError, match=r"one per source, \(2,\), or one per synapse, \(3, 2\), but has the shape \(3,\)"
    ):
        ep.Dense(jnp.ones((3, 2)), jnp.ones(3))
