import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import sal
from benchmarks.experiments.sal.stdd.figures import draw_comparisons
from benchmarks.experiments.sal.stdd.model import LAGS, STDD, compare, comparisons, count_pairs, filled, sal_stdd
from tests.sal import reference

SMALL = STDD(pairs=1, replicas=1000, duration=40)


@pytest.mark.parametrize("order", [sal.Sweep(), sal.Parallel()])
def test_the_pairs_that_are_counted_are_the_nearest(order, rng):
    """Beside the double loop over spikes, by windows that single out one difference each."""
    spikes = (rng.random((300, 2)) < 0.2).astype(np.float32)
    counted = count_pairs(jnp.asarray(spikes), order, 0)
    times = [np.flatnonzero(spikes[:, neuron]).astype(float) for neuron in range(2)]
    swept = isinstance(order, sal.Sweep)
    for lag in range(12):
        difference = lag + (0.5 if swept else 1.0)

        def window(s, difference=difference):
            return float(s == difference)

        sums = reference.stdp_sums(
            *times, window, window, pairing="nearest", coincidence="swept" if swept else "dropped", pre_first=True
        )
        np.testing.assert_array_equal(counted[::-1, lag], sums)


def test_bins_that_are_never_hit_have_the_error_of_rare_events(x64):
    """Where 0.04 events were to be expected in 100 units of time, none is off by 0.2 standard errors, not by 1 / 0."""
    error = filled(jnp.array([0.3, 0.0, 0.0]), jnp.array([1.0, 4e-4, 0.0]), 100)
    np.testing.assert_allclose(error, [0.3, 2e-3, 0.0])


@pytest.mark.slow
def test_short_runs_have_finite_deviations(key, x64):
    """Most bins are empty."""
    config = STDD(pairs=2, replicas=20, duration=20)
    metrics, _, result, _ = eqx.filter_jit(lambda key: sal_stdd(config, key))(key)
    assert result == sal.RESULTS.successful
    assert all(np.isfinite(value) for value in metrics.values())
    assert metrics["largest_deviation_in_errors"] < 10


@pytest.mark.slow
def test_simulated_differences_pass_the_test_and_others_do_not(key, x64):
    found = eqx.filter_jit(comparisons)(SMALL, key)
    assert len(found) == 4
    for comparison in found.values():
        assert 1e-3 < comparison.p_value[0] < 1 - 1e-3
    weights, biases = jnp.array([0.5, -0.5]), jnp.array([0.3, -0.2])
    alpha = sal.Alpha(1 / 3, 1.0)
    large = dataclasses.replace(SMALL, replicas=4 * SMALL.replicas)
    honest = eqx.filter_jit(compare)(large, alpha, sal.Sweep(), weights, biases, key)
    # The power of the test: theory for weights that are off by 0.1.
    moved = eqx.filter_jit(compare)(SMALL, alpha, sal.Sweep(), weights + 0.1, biases, key)
    theory = moved.expected.probabilities(LAGS) * moved.expected.rate
    off = (honest.counted - theory) / honest.error
    assert honest.p_value > 1e-3 and np.max(np.abs(off)) > 5
    assert len(draw_comparisons(found).axes) == 4
