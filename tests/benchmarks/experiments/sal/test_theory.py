import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import sal
from benchmarks.experiments.sal.pair import model as sal_pair
from benchmarks.experiments.sal.pair.figures import draw_courses
from benchmarks.experiments.sal.psp_shapes import model as sal_psp_shapes
from benchmarks.experiments.sal.psp_shapes.figures import draw_deviations, draw_shapes
from benchmarks.experiments.sal.stdd import model as sal_stdd
from benchmarks.experiments.sal.stdd.figures import draw_comparisons
from tests.sal import reference

SMALL = sal_stdd.STDD(pairs=1, replicas=1000, duration=40)
COARSE = sal_psp_shapes.Shapes(steps=4, weights=3, biases=2)


@pytest.mark.parametrize("order", [sal.Sweep(), sal.Parallel()])
def test_the_pairs_that_are_counted_are_the_nearest(order, rng):
    """Beside the double loop over spikes, by windows that single out one difference each."""
    spikes = (rng.random((300, 2)) < 0.2).astype(np.float32)
    counted = sal_stdd.count_pairs(jnp.asarray(spikes), order, 0)
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


@pytest.mark.slow
def test_simulated_differences_pass_the_test_and_others_do_not(key, x64):
    found = sal_stdd.comparisons(SMALL, key)
    assert len(found) == 4
    for comparison in found.values():
        assert 1e-3 < comparison.p_value[0] < 1 - 1e-3
    weights, biases = jnp.array([0.5, -0.5]), jnp.array([0.3, -0.2])
    alpha = sal.Alpha(1 / 3, 1.0)
    large = dataclasses.replace(SMALL, replicas=4 * SMALL.replicas)
    honest = sal_stdd.compare(large, alpha, sal.Sweep(), weights, biases, key)
    # The power of the test: theory for weights that are off by 0.1.
    moved = sal_stdd.compare(SMALL, alpha, sal.Sweep(), weights + 0.1, biases, key)
    theory = moved.expected.probabilities(sal_stdd.LAGS) * moved.expected.rate
    off = (honest.counted - theory) / honest.error
    assert honest.p_value > 1e-3 and np.max(np.abs(off)) > 5
    assert len(draw_comparisons(found).axes) == 4


@pytest.mark.slow
def test_weights_align_as_the_theory_says(key):
    config = sal_pair.Pair(duration=3000, replicas=8, learning_rate=1e-2)
    found, theory = sal_pair.courses(config, key)
    for runs, course in zip(found, theory, strict=True):
        error = jnp.std(runs, axis=0) / np.sqrt(config.replicas)
        assert jnp.max(jnp.abs(jnp.mean(runs, axis=0) - course)) < 5 * jnp.max(error)
    assert jnp.all(found.one[..., 0] == config.w12)
    np.testing.assert_allclose(jnp.sum(found.both, axis=-1), config.w12 + config.w21, atol=1e-4)
    assert len(draw_courses(config, found, theory).axes) == 3


@pytest.mark.slow
def test_only_rectangular_psps_align_perfectly(key, x64):
    metrics, _, _ = sal_psp_shapes.sal_psp_shapes(COARSE, key)
    assert metrics["rectangular_largest_deviation"] < 1e-4
    assert 1e-3 < metrics["short_largest_deviation"] < metrics["long_largest_deviation"]
    assert metrics["rectangular_slowest_relaxation"] < 0
    assert metrics["short_signs_agree"] == 1


@pytest.mark.slow
def test_figures_of_shapes_and_stability(x64):
    assert len(draw_shapes(COARSE).axes) == 13
    assert len(draw_deviations(COARSE).axes) == 4


def test_the_integrated_deviation_of_equal_weights_is_positive(x64):
    """From which their stability follows (Fig. 11)."""
    for weight in (1.0, -1.0):
        _, integral = sal_psp_shapes.deviations(COARSE, weight, 8)
        assert jnp.all(integral > 0)
