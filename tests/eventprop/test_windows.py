"""A trial cut into windows [0, t1) gives the spikes and the state of the whole, whatever the moments of the cuts."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
from tests.eventprop import reference

INPUTS, SIZES, SLOTS, END, MOMENTS = 12, (4, 5, 3, 2), (40, 30), 50.0, 384
TAUS = np.array([[20.0, 5.0], [10.0, 10.0], [5.0, 20.0]])


def random_case(rng, dtype):
    """Weights, time constants, refractory period of the second layer, biases of the first, input times and sources."""
    drives = ((1.0, 1.5), (0.9, 0.8), (1.0, 1.0))
    weights = [rng.normal(*d, (n, k)) for d, n, k in zip(drives, SIZES[1:], SIZES[:-1], strict=True)]
    taus, bias = TAUS[rng.permutation(3)], rng.choice([0.0, 0.3, 1.2], SIZES[1])
    times = np.sort(rng.uniform(0.0, 40.0, INPUTS))
    times[0], times[4] = 0.0, times[3]
    parameters = (weights, taus, rng.uniform(1.0, 4.0), bias, times)
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), parameters), jnp.asarray(rng.integers(0, SIZES[0], INPUTS))


def simulate(case, spikes, t1, state=None) -> ep.Solution:
    (weights, taus, refractory, bias, _), _ = case
    value = ep.ResetToValue(jnp.asarray(-0.2, bias.dtype))
    neurons = [ep.LIF(*taus[0], bias=bias), ep.LIF(*taus[1], reset=value, refractory=refractory), ep.LI(*taus[2])]
    network = ep.FeedForward([(ep.Dense(w), neuron) for w, neuron in zip(weights, neurons, strict=True)])
    return ep.simulate(network, spikes, t1, solver=ep.Exact(SLOTS, chunk=6), state=state, throw=False)


def later(spikes: ep.Spikes, moment) -> ep.Spikes:
    """The input from a moment on, counted from there."""
    times = jnp.where(spikes.times >= moment, spikes.times - moment, jnp.inf)
    order = jnp.argsort(times)
    return ep.Spikes(times[order], spikes.index[order])


@jax.jit
def whole(case):
    return simulate(case, ep.Spikes(case[0][-1], case[1]), END)


@jax.jit
def in_two(case, moments):
    """The joined spikes [moments, neurons, slots] of each layer, the final state, and whether all is well."""

    def cut(moment):
        spikes = ep.Spikes(case[0][-1], case[1])
        first = simulate(case, spikes, moment)
        second = simulate(case, later(spikes, moment), END - moment, first.state)
        joined, well = [], (first.result == ep.RESULTS.successful) & (second.result == ep.RESULTS.successful)
        for a, b in zip(first.spikes[:2], second.spikes[:2], strict=True):
            joined.append(jnp.sort(jnp.concatenate([a.times, b.times + moment], axis=1), axis=1))
            well &= jnp.all((a.times < moment) | (a.times == jnp.inf))
        return joined, second.state, well

    return jax.vmap(cut)(moments)


def critical_moments(case, trains, rng, dtype) -> np.ndarray:
    """At every spike, the two numbers on either side, ends of refractory periods, inputs, both ends, and anywhere."""
    spikes = np.concatenate([times[np.isfinite(times)] for times in trains])
    below, above = np.nextafter(spikes, dtype.type(0)), np.nextafter(spikes, dtype.type(np.inf))
    near = [spikes, below, above, np.nextafter(below, dtype.type(0)), np.nextafter(above, dtype.type(np.inf))]
    released = trains[1][np.isfinite(trains[1])] + np.asarray(case[0][2])
    moments = np.concatenate([*near, released, case[0][-1], [0.0, 1e-20, END]]).astype(dtype)
    moments = moments[moments <= END]
    assert moments.size < MOMENTS
    return np.append(moments, rng.uniform(0, END, MOMENTS - moments.size)).astype(dtype)


def test_every_cut_gives_the_whole(precision):
    """Also where a layer below fires just then: its spike reaches the next layer in the window to come, at 0."""
    tolerance = 1e-9 if precision == np.float64 else 1e-3
    for seed in (1, 3, 8, 10, 14):
        rng = np.random.default_rng(seed)
        case = random_case(rng, precision)
        solution = whole(case)
        assert solution.result == ep.RESULTS.successful
        trains = [np.asarray(layer.times) for layer in solution.spikes[:2]]
        assert np.sum(np.isfinite(trains[1])) >= 3
        moments = critical_moments(case, trains, rng, precision)
        joined, state, well = in_two(case, moments)
        assert np.all(well)
        for actual, expected in zip(joined, trains, strict=True):
            padded = np.pad(expected, ((0, 0), (0, expected.shape[1])), constant_values=np.inf)
            np.testing.assert_allclose(actual, np.broadcast_to(padded, actual.shape), rtol=0, atol=tolerance)
        for actual, expected in zip(jax.tree.leaves(state), jax.tree.leaves(solution.state), strict=True):
            np.testing.assert_allclose(actual, np.broadcast_to(expected, actual.shape), rtol=0, atol=10 * tolerance)


def test_many_windows_and_the_reference(x64):
    """Fifty windows of one unit of time each, against the whole by brute force."""
    case = random_case(np.random.default_rng(11), np.float64)
    (weights, taus, refractory, bias, times), index = jax.tree.map(np.asarray, case)

    def window(state, moment):
        solution = simulate(case, later(ep.Spikes(times, index), moment), 1.0, state)
        return solution.state, [layer.times + moment for layer in solution.spikes[:2]]

    state = simulate(case, ep.Spikes(jnp.full(INPUTS, jnp.inf), index), 0.0).state
    _, trains = jax.jit(lambda state: jax.lax.scan(window, state, jnp.arange(END)))(state)
    first = [reference.Neuron(*taus[0], bias=float(b)) for b in bias]
    second = reference.Neuron(*taus[1], reset_value=-0.2, refractory=float(refractory))
    expected = reference.simulate_network(times, index, [(weights[0].T, first), (weights[1].T, second)], END)
    for actual, layer in zip(trains, expected, strict=True):
        assert sum(len(neuron.spikes) for neuron in layer) > 3
        for neuron, train in enumerate(layer):
            found = np.asarray(actual)[:, neuron]
            np.testing.assert_allclose(found[np.isfinite(found)], train.spikes, rtol=0, atol=1e-9)


@eqx.filter_jit
def chain(t1, state=None, weight=9.0, spikes=None):
    """Two neurons in a row; the first one fires at 4.337788 in float32."""
    neuron = ep.LIF(20.0, 5.0)
    network = ep.FeedForward([(ep.Dense(jnp.full((1, 1), w)), neuron) for w in (weight, 30.0)])
    spikes = ep.Spikes(jnp.array([1.0]), jnp.array([0])) if spikes is None else spikes
    return ep.simulate(network, spikes, t1, solver=ep.Exact(32), state=state)


NO_INPUT = ep.Spikes(np.array([np.inf]), np.array([0]))


def test_windows_that_end_within_six_numbers_of_a_spike(precision):
    """Each spike is in one window, and in the second one at 0 if the state is at the threshold, where the next neuron
    sees it. In float32, the state at t1 = 4.337788 and many others used to be refused, and spikes at t1 to be lost."""
    rng = np.random.default_rng(0)
    weights = jnp.asarray(np.append(9.0, rng.uniform(7.5, 20.0, 63)), precision)
    run = eqx.filter_jit(eqx.filter_vmap(lambda weight, t1: chain(t1, weight=weight)))
    go_on = eqx.filter_jit(eqx.filter_vmap(lambda weight, t1, state: chain(t1, state, weight, NO_INPUT)))
    whole = run(weights, jnp.full(64, 20.0))
    first = np.asarray(whole.spikes[0].times[:, 0, 0])
    assert np.all(np.isfinite(first))
    refused = 0
    for steps in range(-6, 7):
        ends = first
        for _ in range(abs(steps)):
            ends = np.nextafter(ends, precision.type(np.sign(steps) * np.inf))
        before = run(weights, jnp.asarray(ends))
        after = go_on(weights, jnp.asarray(20.0 - ends), before.state)
        at_threshold = np.asarray(before.state.neurons[0].v[:, 0] >= 1.0)
        assert np.all(after.spikes[0].times[at_threshold, 0, 0] == 0.0)
        refused += np.sum(at_threshold)
        for layer in (0, 1):
            assert np.all(before.spikes[layer].times[before.spikes[layer].times < np.inf] < ends.max())
            late = after.spikes[layer].times + ends[:, None, None]
            joined = np.concatenate([before.spikes[layer].times, late], axis=2)
            expected = np.pad(whole.spikes[layer].times, ((0, 0), (0, 0), (0, 32)), constant_values=np.inf)
            tolerance = 1e-3 if precision == np.float32 else 1e-11
            np.testing.assert_allclose(np.sort(joined, axis=2), expected, rtol=0, atol=tolerance)
    assert refused > 20


@pytest.mark.parametrize("v", [1.0, 1.0 + 1e-7, 1.5, 7.0])
def test_a_potential_at_or_above_the_threshold_fires_at_once(precision, v):
    """Once, and with the reset of a neuron at its threshold: nothing is left of what exceeds it."""
    state = ep.NetworkState((ep.LIFState.free(jnp.full(1, v), jnp.zeros(1)),) * 2)
    solution = chain(20.0, state, spikes=NO_INPUT)
    for layer in solution.spikes:
        assert layer.times[0, 0] == 0.0
    assert np.all(solution.spikes[0].times[0, 1:] == np.inf) and solution.state.neurons[0].v == 0.0
    # The second one fires before the spike of the first one reaches it, and once more through that spike.
    assert solution.spikes[1].count()[0] > 1


@pytest.mark.parametrize("refractory", [3.0, ep.FiresOnce()])
def test_a_spike_at_0_is_followed_by_the_refractory_period(x64, refractory):
    lif = ep.LIF(20.0, 5.0, refractory=refractory, bias=1.5)
    network = ep.FeedForward([(ep.Dense(jnp.ones((3, 1))), lif)])
    state = ep.NetworkState((ep.LIFState.free(jnp.array([1.0, 0.0, 0.5]), jnp.zeros(3)),))
    times = ep.simulate(network, NO_INPUT, 60.0, solver=ep.Exact(3), state=state).spikes[0].times
    rise = 20.0 * np.log(1.5 / 0.5)
    starts = np.array([0.0, rise, 20.0 * np.log(1.0 / 0.5)])
    again = np.array([0.0, 1.0, 2.0]) * (rise + 3.0)
    expected = starts[:, None] + again if refractory == 3.0 else np.stack([starts, *np.full((2, 3), np.inf)], axis=1)
    np.testing.assert_allclose(times, np.where(expected < 60.0, expected, np.inf), rtol=1e-12)


@pytest.mark.slow
def test_gradients_pass_through_a_spike_on_the_cut(x64):
    """The next window's spike at 0 moves with the state; together with the cut, the derivative is that of the whole."""

    def first_spike(weight):
        return chain(20.0, weight=weight).spikes[0].times[0, 0]

    cut = first_spike(9.0)

    def in_the_second_window(weight):
        return chain(10.0, chain(cut, weight=weight).state, weight, NO_INPUT).spikes[0].times[0, 0]

    assert in_the_second_window(9.0) < 1e-14
    np.testing.assert_allclose(jax.grad(in_the_second_window)(9.0), jax.grad(first_spike)(9.0), rtol=1e-9)
    # The cut may move as well: where the trial is cut makes no difference to the spike's time in the whole.
    moving = jax.grad(lambda t1: t1 + chain(10.0, chain(t1).state, spikes=NO_INPUT).spikes[0].times[0, 0])
    np.testing.assert_allclose(moving(cut), 0.0, atol=1e-9)


def test_a_state_that_is_held_without_a_refractory_period(x64):
    """From a network with such a period to one without: who is held until h starts there, from the current then.

    The search used to forget it, unlike the potentials, and found spikes below the threshold.
    """
    weight, times, index = jnp.array([[9.0, 4.0], [8.0, 7.0]]), jnp.array([1.0, 3.0, 6.0, 9.0]), jnp.array([0, 1, 1, 0])
    network = ep.FeedForward([(ep.Dense(weight), ep.LIF(20.0, 5.0))])
    v, i = jnp.array([0.4, -0.3]), jnp.array([0.5, 2.0])

    def from_release(hold):
        arrived = jnp.where(times < hold, jnp.exp(-(hold - times) / 5), 0)
        current = i * jnp.exp(-hold / 5) + weight[:, index] @ arrived
        silent = ep.Spikes(jnp.where(times < hold, jnp.inf, times - hold), index)
        state, order = ep.NetworkState((ep.LIFState.free(v, current),)), jnp.argsort(silent.times)
        later = ep.Spikes(silent.times[order], silent.index[order])
        return hold + ep.simulate(network, later, 40.0, solver=ep.Exact(8), state=state).spikes[0].times

    def held(hold):
        state = ep.NetworkState((ep.LIFState(v, i, jnp.full(2, hold), (jnp.full(2, hold) > 0).astype(float)),))
        solver = ep.Exact(8, chunk=2)
        return ep.simulate(network, ep.Spikes(times, index), 40.0 + hold, solver=solver, state=state).spikes[0].times

    found, slope = jax.jit(lambda h: jax.jvp(held, (h,), (1.0,)))(7.0)
    expected, expected_slope = jax.jit(lambda h: jax.jvp(from_release, (h,), (1.0,)))(7.0)
    assert np.all(np.sum(np.isfinite(found), axis=1) > 1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(slope, np.where(np.isfinite(found), expected_slope, 0), rtol=1e-9, atol=1e-12)
