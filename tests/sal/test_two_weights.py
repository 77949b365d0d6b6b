import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import sal
from sal.theory import expected_update, steady_state, two_neurons
from sal.two_weights import attractor, deviation, phase_plane, relative_deviation, relaxation, update

WINDOW = sal.Exponential(4.0)
NUMBERS = st.floats(-2.0, 2.0, width=32)


def network(biases, psp=sal.Rectangular(4.0)):
    return two_neurons((0.0, 0.0), jnp.asarray(biases, float), psp, 4.0)


@eqx.filter_jit
def updated(biases, weight):
    return update(network(biases), jnp.stack([weight, weight]), WINDOW, dt=1.0)


@eqx.filter_jit
def relaxed(biases, weight, psp=sal.Rectangular(4.0)):
    return relaxation(network(biases, psp), jnp.stack([weight, weight]), WINDOW, dt=1.0)


@eqx.filter_jit
def attracted(biases, w21, psp, tolerance=1e-10):
    return attractor(network(biases, psp), w21, WINDOW, dt=1.0, tolerance=tolerance)


def test_the_plane_holds_the_update_of_every_pair_of_weights(precision):
    w12, w21 = jnp.linspace(-1, 2, 3), jnp.linspace(-2, 2, 4)
    plane = eqx.filter_jit(phase_plane)(network((-1, 1)), w12, w21, WINDOW, dt=1.0)
    assert plane.shape == (3, 4, 2) and plane.dtype == precision
    alone = eqx.filter_jit(steady_state)(two_neurons((w12[2], w21[1]), (-1.0, 1.0), sal.Rectangular(4.0), 4.0), dt=1.0)
    tolerance = 1e-12 if precision == np.float64 else 1e-6
    np.testing.assert_allclose(plane[2, 1], expected_update(alone.differences, WINDOW), atol=tolerance)
    # Both weights move by the same amount, towards each other.
    np.testing.assert_allclose(plane[..., 0], -plane[..., 1], atol=tolerance)
    assert jnp.all((plane[..., 1] < tolerance) == (w21[None] >= w12[:, None]))


@given(biases=st.tuples(NUMBERS, NUMBERS), weight=NUMBERS)
def test_equal_weights_are_a_stable_fixed_point(biases, weight, x64):
    """With a rectangular PSP and sweeps, for all weights and biases."""
    biases, weight = jnp.array(biases, float), jnp.array(weight, float)
    at = updated(biases, weight)
    np.testing.assert_allclose(at, 0, atol=1e-13)
    assert relaxed(biases, weight) < -1e-4


@given(biases=st.tuples(NUMBERS, NUMBERS), weight=NUMBERS)
def test_the_integrated_deviation_is_positive(biases, weight, x64):
    """What the proof of stability assumes (Fig. 11), and that delta adds up to zero (Eq. 22)."""
    found = eqx.filter_jit(deviation)(
        network(jnp.array(biases, float)), jnp.full(2, jnp.array(weight, float)), 400, dt=1.0
    )
    assert jnp.all(found.integral > -1e-12) and jnp.max(found.integral) > 1e-3
    assert found.integral[-1] == pytest.approx(0, abs=1e-4)


@pytest.mark.slow
def test_relaxation_and_deviation_are_derivatives(x64):
    """Beside central differences, and Eq. 27."""
    weights, epsilon = jnp.array([0.7, 0.7]), 1e-5
    alone = network((-1, 1), sal.Alpha(1.5, 4.0))

    def asymmetry(weights):
        differences = steady_state(two_neurons(weights, (-1.0, 1.0), sal.Alpha(1.5, 4.0), 4.0), dt=1.0).differences
        return differences.probabilities(100)[1] - differences.probabilities(100)[0]

    up, down = (weights.at[1].add(sign * epsilon) for sign in (1, -1))
    found = deviation(alone, weights, 100, dt=1.0)
    np.testing.assert_allclose(found.density, (asymmetry(up) - asymmetry(down)) / (2 * epsilon), atol=1e-8)
    changes = [update(alone, weights + sign * epsilon / 2 * jnp.array([-1, 1]), WINDOW, dt=1.0) for sign in (1, -1)]
    slope = (changes[0] - changes[1]) / (2 * epsilon)
    np.testing.assert_allclose(relaxation(alone, weights, WINDOW, dt=1.0), slope[1] - slope[0], rtol=1e-6)
    moved = jax.jacfwd(lambda second: update(alone, weights.at[1].set(second), WINDOW, dt=1.0)[1])(weights[1])
    window = WINDOW((jnp.arange(100) + 0.5) * 1.0)
    np.testing.assert_allclose(moved, -jnp.sum(window * found.density), rtol=1e-6)


@pytest.mark.parametrize("biases", [(-1.0, 1.0), (0.5, 0.5), (2.0, -2.0)])
def test_rectangular_psps_symmetrise_perfectly(biases, x64):
    w21 = jnp.linspace(-2, 2, 5)
    found = attracted(jnp.array(biases), w21, sal.Rectangular(4.0))
    np.testing.assert_allclose(found, w21, atol=1e-8)
    assert relative_deviation(w21, found)[1] < 1e-8


@pytest.mark.slow
def test_the_attractor_of_other_psps_deviates_but_keeps_the_sign(x64):
    w21 = jnp.linspace(-2, 2, 9)
    short, long = (attracted(jnp.array([-0.5, 0.5]), w21, sal.Alpha(tau, 4.0)) for tau in (1.3, 2.0))
    for found in (short, long):
        np.testing.assert_array_equal(jnp.sign(jnp.round(found, 8)), jnp.sign(w21))
    deviations = [float(relative_deviation(w21, found)[1]) for found in (short, long)]
    assert 0.01 < deviations[0] < 0.12 < deviations[1] < 1
    rest = update(network((-0.5, 0.5), sal.Alpha(1.3, 4.0)), jnp.stack([short[2], w21[2]]), WINDOW, dt=1.0)
    np.testing.assert_allclose(rest, 0, atol=1e-9)


@pytest.mark.slow
def test_the_attractor_can_be_differentiated(x64):
    def rest(bias, w21):
        return attracted(jnp.stack([bias, jnp.ones(())]), w21[None], sal.Alpha(1.3, 4.0))[0]

    at = jnp.array(-0.6), jnp.array(1.1)
    step = 1e-4
    for argument in range(2):
        up, down = (tuple(x + sign * step * (i == argument) for i, x in enumerate(at)) for sign in (1, -1))
        expected = (rest(*up) - rest(*down)) / (2 * step)
        np.testing.assert_allclose(jax.grad(rest, argument)(*at), expected, rtol=1e-4, atol=1e-7)


def test_the_relative_deviation_where_both_weights_vanish(x64):
    """delta of g = W (1 + W) / 2 is (1 - W) / (3 + W), also at W = 0."""
    w21 = jnp.linspace(-1, 2, 301)
    delta, mean = relative_deviation(w21, w21 * (1 + w21) / 2)
    np.testing.assert_allclose(delta, (1 - w21) / (3 + w21), atol=2e-5)
    antiderivative = [4 * np.log(3 + w) - w for w in (-1.0, 1.0, 2.0)]
    exact = (antiderivative[1] - antiderivative[0]) - (antiderivative[2] - antiderivative[1])
    np.testing.assert_allclose(mean, exact / 3, rtol=1e-4)


@pytest.mark.slow
def test_weights_that_nothing_stops_are_infinite(x64):
    """PSPs as long as tau_ref: equal weights are a fixed point, but not a stable one."""
    w21 = jnp.linspace(-2, 2, 4)
    found = attracted(jnp.array([0.0, 0.0]), w21, sal.Alpha(4.0, 4.0))
    assert relaxed(jnp.zeros(2), jnp.ones(()), sal.Alpha(4.0, 4.0)) > 0.001
    assert jnp.all(jnp.isinf(found))
    delta, mean = relative_deviation(w21, found)
    np.testing.assert_array_equal(delta, -1)
    assert mean == 1
