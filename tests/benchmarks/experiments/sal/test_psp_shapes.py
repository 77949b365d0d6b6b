import equinox as eqx
import jax.numpy as jnp
import pytest

from benchmarks.experiments.sal.psp_shapes.figures import draw_deviations, draw_shapes
from benchmarks.experiments.sal.psp_shapes.model import Shapes, deviations, sal_psp_shapes

COARSE = Shapes(steps=4, weights=3, biases=2)


@pytest.mark.slow
def test_only_rectangular_psps_align_perfectly(key, x64):
    metrics, _, _, found = eqx.filter_jit(sal_psp_shapes)(COARSE, key)
    assert metrics["rectangular_largest_deviation"] < 1e-4
    assert 1e-3 < metrics["short_largest_deviation"] < metrics["long_largest_deviation"]
    assert metrics["rectangular_slowest_relaxation"] < 0
    assert metrics["short_signs_agree"] == 1
    assert len(draw_shapes(COARSE, found).axes) == 13


@pytest.mark.slow
def test_the_figure_of_stability_has_four_panels(x64):
    assert len(draw_deviations(COARSE).axes) == 4


def test_the_integrated_deviation_of_equal_weights_is_positive(x64):
    """From which their stability follows (Fig. 11)."""
    for weight in (1.0, -1.0):
        _, integral = deviations(COARSE, weight, 8)
        assert jnp.all(integral > 0)
