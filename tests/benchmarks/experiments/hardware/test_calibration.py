import jax
import pytest

from benchmarks.experiments.hardware.calibration.card import ACCEPTED
from benchmarks.experiments.hardware.calibration.figures import draw_chip
from benchmarks.experiments.hardware.calibration.model import CalibrationOfAChip, expected_rate, hardware_calibration


def test_the_rate_of_leak_over_threshold():
    assert float(expected_rate(CalibrationOfAChip())) == pytest.approx(100, abs=0.01)
    assert float(expected_rate(CalibrationOfAChip(threshold=120.0))) == 0


@pytest.mark.slow
def test_a_chip_is_accepted(key):
    """By calix' own measures; the figure has a panel for each of them."""
    config = CalibrationOfAChip(circuits=128)
    metrics, calibration, _, found = jax.jit(lambda key: hardware_calibration(config, key))(key)
    for name, most in ACCEPTED.items():
        assert metrics[f"{name}_ratio"] < most
    assert metrics["in_range"] > 0.9
    assert metrics["success"] == calibration.success.mean() > 0.98
    assert len(draw_chip(config, found).axes) == 8
