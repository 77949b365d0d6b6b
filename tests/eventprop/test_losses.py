"""The first-spike loss against NumPy, its gradient against central differences, and silence in every combination."""

import itertools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from eventprop.losses import (
    first_spike_accuracy,
    first_spike_cross_entropy,
    first_spike_mse,
    first_spike_prediction,
    moment_regulariser,
    moments,
    spike_count_prediction,
    voltage_cross_entropy,
)

RECIPES = {
    "paper": {"tau0": 2.0, "tau1": 10.0, "alpha": 0.01, "silent_time": 60.0},
    "later": {"tau0": 0.5, "tau1": 6.4, "alpha": 0.003, "silent_time": 60.0},
}
recipes = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())


@jax.jit
def value_and_gradient(times, label, recipe):
    return jax.value_and_grad(first_spike_cross_entropy)(times, label, **recipe)


def reference(times, label, tau0, tau1, alpha, silent_time):
    """Eq. 35 as printed, in float64."""
    times = np.where(np.isinf(times), silent_time, np.asarray(times, float))
    cross_entropy = scipy.special.logsumexp(-times / tau0) + times[label] / tau0
    return cross_entropy + alpha * (np.exp(times[label] / tau1) - 1)


@recipes
@hypothesis.given(st.lists(st.floats(0, 55), min_size=3, max_size=3), st.integers(0, 2))
def test_value_is_equation_35(precision, recipe, times, label):
    value, _ = value_and_gradient(np.asarray(times, precision), label, recipe)
    assert value.dtype == precision
    rtol, atol = (1e-5, 1e-5) if precision == np.float32 else (1e-12, 1e-12)
    np.testing.assert_allclose(value, reference(times, label, **recipe), rtol=rtol, atol=atol)


def test_value_by_hand(x64):
    # Two classes, both at 10 ms: log 2 + alpha (e - 1).
    value, _ = value_and_gradient(jnp.array([10.0, 10.0]), 1, RECIPES["paper"])
    np.testing.assert_allclose(value, np.log(2) + 0.01 * (np.e - 1), rtol=1e-14)


@recipes
def test_gradient_is_central_differences(x64, rng, recipe):
    for label in range(3):
        times = rng.uniform(15, 20, 3)
        _, gradient = value_and_gradient(times, label, recipe)
        step = 1e-5
        for k, bump in enumerate(step * np.eye(3)):
            slope = (reference(times + bump, label, **recipe) - reference(times - bump, label, **recipe)) / (2 * step)
            np.testing.assert_allclose(gradient[k], slope, rtol=1e-6, atol=1e-9)


@recipes
@pytest.mark.parametrize("label", [0, 2])
def test_silent_neurons(precision, recipe, label):
    for silent in itertools.product([False, True], repeat=3):
        times = np.where(silent, np.inf, [21.0, 20.0, 22.0]).astype(precision)
        value, gradient = value_and_gradient(times, label, recipe)
        np.testing.assert_allclose(value, reference(times, label, **recipe), rtol=1e-5)
        assert np.all(np.isfinite(gradient))
        np.testing.assert_array_equal(gradient[np.array(silent)], 0.0)
        # The label's neuron wants to fire earlier; where it is silent, nothing is learned from the others either.
        assert np.all(gradient == 0) if silent[label] else gradient[label] > 0


@pytest.mark.parametrize("late", [1e3, 1e6, 1e20])
def test_late_spikes_do_not_overflow(late):
    value, gradient = value_and_gradient(np.array([late, 1.0, np.inf], np.float32), 0, RECIPES["later"])
    assert np.isfinite(value) and np.all(np.isfinite(gradient)) and gradient[0] > 0


def test_continuation_beyond_thirty_time_constants(x64):
    recipe = {"tau0": 1.0, "tau1": 1.0, "alpha": 1.0, "silent_time": 1.0}
    for time, value, slope in [
        (29.0, np.expm1(29.0), np.exp(29.0)),
        (32.0, np.expm1(30.0) + 2 * np.exp(30.0), np.exp(30.0)),
    ]:
        computed = value_and_gradient(jnp.array([time]), 0, recipe)
        np.testing.assert_allclose(computed[0], value, rtol=1e-14)
        np.testing.assert_allclose(computed[1], [slope], rtol=1e-14)


def test_unknown_label_and_batched_times_are_not_accepted():
    """Label -1 used to be the last class, and the right one where all are silent."""
    for label in (-1, 3):
        assert np.isnan(value_and_gradient(jnp.ones(3), label, RECIPES["paper"])[0])
    assert first_spike_accuracy(jnp.full(3, jnp.inf), -1) == 0
    with pytest.raises((ValueError, TypeError)):
        first_spike_cross_entropy(jnp.ones((2, 3)), 0, **RECIPES["paper"])


@pytest.mark.parametrize("name", ["tau0", "tau1"])
@pytest.mark.parametrize("value", [0.0, -2.0])
def test_a_traced_time_constant_that_is_not_positive_makes_the_loss_nan(name, value):
    """A negative tau0 used to train the label to fire last."""
    assert np.isnan(value_and_gradient(jnp.arange(3.0), 1, RECIPES["paper"] | {name: value})[0])


@pytest.mark.parametrize(
    "times, prediction",
    [([3.0, 1.0, 2.0], 1), ([2.0, 1.0, 1.0], 1), ([np.inf, np.inf, 5.0], 2), ([np.inf] * 3, -1), ([np.nan] * 3, -1)],
)
def test_prediction(times, prediction):
    times = jnp.array(times)
    assert int(first_spike_prediction(times)) == prediction
    accuracies = [float(first_spike_accuracy(times, label)) for label in range(3)]
    assert accuracies == [float(label == prediction) for label in range(3)]


def test_published_value_of_first_spikes(x64):
    """Softmax of (.7, .9, 1.5) with tau = .2 at class 0, and the error that only differences of times enter."""
    times = jnp.array([0.7, 0.9, 1.5])
    options = {"tau0": 0.2, "tau1": 1.0, "alpha": 0.0, "silent_time": 9.0}
    np.testing.assert_allclose(first_spike_cross_entropy(times, 0, **options), 0.32656264, atol=5e-9)
    options = {"delta": 0.3, "silent_time": 9.0}
    np.testing.assert_allclose(first_spike_mse(times, 0, **options), 0.5 * (0.1**2 + 0.5**2), rtol=1e-12)
    np.testing.assert_allclose(first_spike_mse(times + 3, 0, **options), 0.5 * (0.1**2 + 0.5**2), rtol=1e-12)
    np.testing.assert_allclose(jax.grad(first_spike_mse)(times, 0, **options), [-0.4, -0.1, 0.5], rtol=1e-12)


@pytest.mark.parametrize("times, gradient", [([0.7, 0.9, np.inf], [0.1, -0.1, 0.0]), ([np.inf, 1.0, 2.0], [0.0] * 3)])
def test_silent_neurons_of_the_squared_error(precision, times, gradient):
    found = jax.grad(first_spike_mse)(jnp.array(times, precision), 0, delta=0.3, silent_time=1.0)
    np.testing.assert_allclose(found, gradient, atol=1e-6)


def test_cross_entropy_of_voltages(precision):
    """Against SciPy, with the gradient softmax - onehot; large ones do not overflow; unknown labels are NaN."""
    voltages = jnp.array([0.3, 1.2, -0.4], precision)
    tolerance = 1e-6 if precision == np.float32 else 1e-12
    value, gradient = jax.jit(jax.value_and_grad(voltage_cross_entropy))(voltages, 2)
    np.testing.assert_allclose(value, -scipy.special.log_softmax([0.3, 1.2, -0.4])[2], rtol=tolerance)
    np.testing.assert_allclose(gradient, scipy.special.softmax([0.3, 1.2, -0.4]) - [0, 0, 1], rtol=10 * tolerance)
    assert voltage_cross_entropy(jnp.array([1e4, 0.0], precision), 0) == 0
    assert np.isnan(voltage_cross_entropy(voltages, 3))
    with pytest.raises((ValueError, TypeError)):
        voltage_cross_entropy(voltages[None], 0)


def test_moments_of_what_arrives(precision):
    """Published values; gradients in the weights against the formulas by hand; shapes."""
    weight = jnp.array([[0.5, -0.2, 0.3], [1.0, 0.4, -0.6]], precision)
    raster = jnp.array([[1, 0, 1], [0, 1, 1], [1, 1, 0], [1, 1, 1]])
    tolerance = 1e-6 if precision == np.float32 else 1e-12
    np.testing.assert_allclose(moments(weight, raster), [[0.45, 0.6], [0.275, 0.7], [0.189, 0.828]], rtol=tolerance)
    value, gradient = jax.value_and_grad(moment_regulariser)(weight, raster)
    np.testing.assert_allclose(value, 1.89943, rtol=10 * tolerance)
    x = np.asarray(raster) @ np.array(weight, float).T
    m1, m2, m3 = (np.mean(x**k, axis=0) for k in (1, 2, 3))
    slope = (2 * m1 + 4 * (m2 - 1) * x + 6 * m3 * x**2) / 4
    np.testing.assert_allclose(gradient, slope.T @ np.asarray(raster), rtol=20 * tolerance)
    with pytest.raises((ValueError, TypeError)):
        moments(weight, raster.T)


@pytest.mark.parametrize("counts, prediction", [([0, 3, 1], 1), ([2, 2, 0], 0), ([0, 0, 0], -1)])
def test_prediction_by_counts(counts, prediction):
    assert int(spike_count_prediction(jnp.array(counts))) == prediction
