"""The first-spike loss against NumPy, its gradient against central differences, and silence in every combination."""

import itertools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from eventprop.losses import first_spike_accuracy, first_spike_cross_entropy, first_spike_prediction

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
