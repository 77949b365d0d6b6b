import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import sal
from sal.theory import expected_update, steady_state, two_neurons
from tests.sal import pair_reference

REFRACTORY = 4
ORDERS = [sal.Sweep(), sal.Parallel()]
KERNELS = [sal.Rectangular(4.0), sal.Alpha(1.5, 4.0), sal.Triangular(6.0), sal.DoubleExponential(0.5, 1.0, 3.0)]
WEIGHTS, BIASES = (0.5, -1.2), (-0.7, 0.4)
NUMBERS = st.floats(-2.0, 2.0, width=32)
PAIRS = st.tuples(NUMBERS, NUMBERS)


@eqx.filter_jit
def solved(weights, biases, psp, tau_ref=4.0, dt=1.0, *, order=sal.Sweep(), states=None):
    return steady_state(two_neurons(weights, biases, psp, tau_ref, order=order), dt=dt, states=states)


def arrays(*values):
    return [jnp.asarray(value, float) for value in values]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("psp", KERNELS)
def test_the_chain_is_the_dense_one(order, psp, precision):
    """State probabilities, rates, and pairs up to three times as far apart as the chain has states."""
    states, lags = 9, 27
    sequential = isinstance(order, sal.Sweep)
    ours = solved(*arrays(WEIGHTS, BIASES), psp, order=order, states=states)

    def kernel(age):
        return float(psp(jnp.array(age)))

    dense = pair_reference.chain(WEIGHTS, BIASES, kernel, REFRACTORY, states, sequential=sequential)
    expected = pair_reference.stationary(dense).reshape(states, states)
    later, coincident = pair_reference.pairs(dense, lags, sequential=sequential)
    tolerance = {"rtol": 1e-9, "atol": 1e-12} if precision == np.float64 else {"rtol": 2e-4, "atol": 2e-6}
    np.testing.assert_allclose(ours.states, expected, **tolerance)
    np.testing.assert_allclose(ours.rates, [expected[0].sum(), expected[:, 0].sum()], **tolerance)
    np.testing.assert_allclose(ours.active[1, 1], expected[:REFRACTORY, :REFRACTORY].sum(), **tolerance)
    np.testing.assert_allclose(ours.active[1, 0], expected[:REFRACTORY, REFRACTORY:].sum(), **tolerance)
    differences = ours.differences
    np.testing.assert_allclose(differences.probabilities(lags) * differences.rate, later, **tolerance)
    np.testing.assert_allclose(differences.coincident * differences.rate, coincident, **tolerance)


@eqx.filter_jit
def masses(weights, biases, psp, order):
    """What has to add up to one, the sides, and the smallest of the first probabilities."""
    ours = solved(weights, biases, psp, order=order)
    differences = ours.differences
    totals = [
        jnp.sum(differences.probabilities(lags)) + jnp.sum(differences.tail(lags)) + differences.coincident
        for lags in (1, 10, 300)
    ]
    sides = jnp.sum(differences.probabilities(20), axis=1) + differences.tail(20)
    ones = jnp.stack([*totals, jnp.sum(ours.states), jnp.sum(ours.active)])
    return ones, sides, jnp.min(differences.probabilities(30))


@given(weights=PAIRS, biases=PAIRS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("psp", KERNELS[:2])
def test_no_mass_is_lost(order, psp, weights, biases, precision):
    ones, sides, smallest = masses(*arrays(weights, biases), psp, order)
    tolerance = 1e-12 if precision == np.float64 else 2e-5
    np.testing.assert_allclose(ones, 1, rtol=0, atol=tolerance)
    assert smallest > 0
    if isinstance(order, sal.Sweep):
        # Pairs of both kinds alternate (section 4.2.2).
        np.testing.assert_allclose(sides, 0.5, rtol=0, atol=tolerance)


@pytest.mark.parametrize("order", ORDERS)
def test_a_rectangular_psp_needs_no_more_states_than_it_is_long(order, x64):
    few, many = (
        solved(*arrays(WEIGHTS, BIASES), sal.Rectangular(4.0), order=order, states=states) for states in (None, 40)
    )
    assert few.states.shape == (5, 5)
    for part in ("active", "rates"):
        np.testing.assert_allclose(getattr(few, part), getattr(many, part), rtol=1e-12)
    np.testing.assert_allclose(few.differences.probabilities(60), many.differences.probabilities(60), rtol=1e-10)


def test_times_are_in_the_users_unit(x64):
    """The same pair in ms and in steps."""
    steps = solved(*arrays(WEIGHTS, BIASES), sal.Alpha(1.5, 4.0))
    ms = solved(*arrays(WEIGHTS, BIASES), sal.Alpha(0.15, 0.4), 0.4, 0.1)
    np.testing.assert_allclose(ms.differences.probabilities(20), steps.differences.probabilities(20), rtol=1e-9)
    np.testing.assert_allclose(ms.rates, 10 * steps.rates, rtol=1e-9)
    np.testing.assert_allclose(ms.differences.rate, 10 * steps.differences.rate, rtol=1e-9)
    np.testing.assert_allclose(ms.differences.differences(3), [0.05, 0.15, 0.25], rtol=1e-12)


def boltzmann(weight, biases):
    z = np.array([0.0, 1.0])
    weights = np.exp(weight * z[:, None] * z + biases[0] * z[:, None] + biases[1] * z)
    return weights / weights.sum()


def divergence(p, q):
    return float(np.sum(p * np.log(p / q)))


@given(weight=NUMBERS, biases=PAIRS)
def test_swept_neurons_sample_exactly(weight, biases, x64):
    ours = solved(*arrays((weight, weight), biases), sal.Rectangular(4.0))
    assert abs(divergence(ours.active, boltzmann(weight, biases))) < 1e-12


def test_parallel_neurons_sample_in_the_limit_of_small_steps(x64):
    """Published for 10 and 50 steps per refractory period, without weights: 1.1e-3 and 5e-5."""
    found = [
        divergence(
            solved(*arrays((1, 1), (0, 0)), sal.Rectangular(float(n)), float(n), order=sal.Parallel()).active,
            boltzmann(1.0, (0.0, 0.0)),
        )
        for n in (10, 50)
    ]
    np.testing.assert_allclose(found, [1.215e-3, 6.39e-5], rtol=1e-3)


def test_equal_weights_are_a_fixed_point_under_sweeps_but_not_in_parallel(x64):
    window = sal.Exponential(10.0)
    swept, parallel = (
        solved(*arrays((1, 1), (-1, 1)), sal.Rectangular(10.0), 10.0, order=order).differences for order in ORDERS
    )
    np.testing.assert_allclose(expected_update(swept, window), 0, atol=1e-14)
    np.testing.assert_allclose(expected_update(parallel, window), [0.009974, -0.009974], atol=1e-6)
    # The published drift at W = 1, -0.0105, is that of causal pairs and anti-causal ones with equal weights.
    sides = parallel.probabilities(2000)
    decay = np.exp(-parallel.differences(2000) / 10)
    drift = np.diff(sides @ decay / (2 * jnp.sum(sides, axis=1)))
    np.testing.assert_allclose(np.abs(drift), 0.010535, atol=1e-6)


@given(weights=PAIRS, biases=PAIRS)
@pytest.mark.parametrize("order", ORDERS)
def test_exchanging_the_neurons_exchanges_everything(order, weights, biases, x64):
    one = solved(*arrays(weights, biases), sal.Rectangular(4.0), order=order)
    other = solved(*arrays(weights[::-1], biases[::-1]), sal.Rectangular(4.0), order=order)
    np.testing.assert_allclose(one.rates, other.rates[::-1], rtol=1e-10)
    ours, mirrored = (each.differences.probabilities(40) for each in (one, other))
    np.testing.assert_allclose(ours, mirrored[::-1], rtol=1e-9)


def test_the_update_is_the_sum_over_windows(x64):
    differences = solved(*arrays(WEIGHTS, BIASES), sal.Alpha(1.5, 4.0), order=sal.Parallel()).differences
    forth, back = sal.Triangular(7.0), sal.Exponential(3.0)
    times, later = differences.differences(60), differences.probabilities(60)
    expected = [
        0.5 * np.sum(later[i] * np.maximum(1 - times / 7, 0)) + 2 * np.sum(later[1 - i] * np.exp(-times / 3))
        for i in range(2)
    ]
    np.testing.assert_allclose(expected_update(differences, forth, back, prefactors=(0.5, 2.0)), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("order", "psp"),
    [
        (ORDERS[0], KERNELS[0]),
        *(pytest.param(ORDERS[i], KERNELS[j], marks=pytest.mark.slow) for i, j in ((0, 1), (1, 0), (1, 1))),
    ],
)
def test_gradients_are_central_differences(order, psp, x64):
    @jax.jit
    def outcome(parameters):
        ours = solved(parameters[:2], parameters[2:], psp, order=order)
        update = expected_update(ours.differences, sal.Exponential(4.0))
        return jnp.concatenate([update, ours.rates, ours.active.ravel(), ours.differences.tail(5)])

    at = jnp.array([*WEIGHTS, *BIASES])
    step = 1e-5
    expected = jnp.stack(
        [(outcome(at + d) - outcome(at - d)) / (2 * step) for d in step * jnp.eye(4, dtype=at.dtype)], axis=1
    )
    for derivative in (jax.jacfwd, jax.jacrev):
        np.testing.assert_allclose(jax.jit(derivative(outcome))(at), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("escape", [sal.ExponentialEscape(), sal.LogisticEscape()])
def test_neurons_that_never_meet_fire_as_one_alone(order, escape, x64):
    """Without weights, a neuron's interval is tau_ref and a geometric number of steps with mean 1 / p - 1."""
    network = two_neurons((0.0, 0.0), BIASES, sal.Rectangular(4.0), 4.0, escape=escape, order=order)
    p = escape.probability(jnp.array(BIASES), 4.0, 1.0)
    np.testing.assert_allclose(
        eqx.filter_jit(steady_state)(network, dt=1.0).rates, 1 / (REFRACTORY + 1 / p - 1), rtol=1e-12
    )


def test_it_takes_any_network_of_two_neurons_that_feel_the_last_spike():
    layered = sal.Layered((jnp.array([[-1.2]]),), (jnp.array([[0.5]]),))
    network = sal.Network(layered, jnp.array(BIASES), 4.0)
    np.testing.assert_allclose(
        eqx.filter_jit(steady_state)(network, dt=1.0).rates,
        solved(*arrays(WEIGHTS, BIASES), sal.Rectangular(4.0)).rates,
        rtol=1e-5,
    )


def test_bad_input_is_named():
    good = two_neurons(WEIGHTS, BIASES, sal.Rectangular(4.0), 4.0)
    with pytest.raises(ValueError, match=r"tau_ref must be a positive multiple of dt = 3.0, got 4.0"):
        steady_state(good, dt=3.0)
    with pytest.raises(ValueError, match="dt must be positive, got -1"):
        steady_state(good, dt=-1.0)
    with pytest.raises(ValueError, match="states must be at least tau_ref / dt = 4, got 3"):
        steady_state(good, dt=1.0, states=3)
    with pytest.raises(ValueError, match=r"weights must be two numbers, got shape \(3,\)"):
        two_neurons((1.0, 2.0, 3.0), BIASES, sal.Rectangular(4.0), 4.0)
    with pytest.raises(ValueError, match="biases must be finite"):
        two_neurons(WEIGHTS, (0.0, np.nan), sal.Rectangular(4.0), 4.0)
    with pytest.raises(ValueError, match="tau_ref must be positive, got -4"):
        two_neurons(WEIGHTS, BIASES, sal.Rectangular(4.0), -4.0)
    three = sal.Network(sal.Recurrent(jnp.zeros((3, 3))), jnp.zeros(3), 4.0)
    with pytest.raises(ValueError, match="must have two neurons, got 3"):
        steady_state(three, dt=1.0)
    adding = sal.Network(sal.Recurrent(jnp.zeros((2, 2))), jnp.zeros(2), 4.0, trace=sal.Alpha(1.5, 4.0))
    with pytest.raises(ValueError, match=r"feel only the last spike.*use sal.LastSpike"):
        steady_state(adding, dt=1.0)


def test_saturated_rates_and_autapses_are_errors():
    fast = two_neurons(WEIGHTS, (3.0, 0.0), sal.Rectangular(4.0), 4.0, escape=sal.ExponentialEscape())
    with pytest.raises(Exception, match="rate of neuron 1 exceeds 1 / dt"):
        steady_state(fast, dt=1.0)
    looped = sal.Network(sal.Recurrent(jnp.eye(2), jnp.ones((2, 2), bool)), jnp.zeros(2), 4.0)
    with pytest.raises(Exception, match="connected to themselves"):
        steady_state(looped, dt=1.0)


@pytest.mark.slow
def test_pairs_of_a_simulated_raster_are_those_of_theory(key):
    """The network's own STDP with nearest pairs: the mean update per unit of time, to within four standard errors."""
    window = sal.Exponential(4.0)
    for order, coincidence in ((sal.Sweep(), sal.one_by_one(2)), (sal.Parallel(), sal.Dropped())):
        network = two_neurons((1.5, -0.5), BIASES, sal.Alpha(1.5, 4.0), 4.0, order=order)
        differences = steady_state(network, dt=1.0).differences
        expected = expected_update(differences, window) * differences.rate
        stdp = sal.STDP(window, window, 4.0, sal.NearestPairs(), coincidence)

        @eqx.filter_jit
        def measured(key):
            spikes = sal.simulate(network, 4000.0, dt=1.0, key=key).spikes
            sums, _ = stdp.update(stdp.init((2,), (2,)), spikes, spikes)
            update = sums.anticausal - sums.causal
            return jnp.stack([update[0, 1], update[1, 0]]) / 4000

        runs = jnp.stack([measured(each) for each in jax.random.split(key, 20)])
        error = jnp.std(runs, axis=0) / np.sqrt(20)
        assert jnp.all(jnp.abs(jnp.mean(runs, axis=0) - expected) < 4 * error)
        assert jnp.all(jnp.abs(expected) > 10 * error)
