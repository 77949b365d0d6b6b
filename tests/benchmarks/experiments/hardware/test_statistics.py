import jax
import numpy as np
import pytest

import hardware as hw
from benchmarks.experiments.hardware.statistics.model import (
    PRODUCTS,
    StatisticsOfAChip,
    hardware_statistics,
    multiplied,
)


def test_the_multiplier_answers_with_the_products_and_its_noise(key):
    """floor takes half of an LSB; noise of 2 LSB, a fixed pattern of 3.2 at 51, and clipping at -128 and 127."""
    outputs = np.asarray(multiplied(hw.Mac.fabricate(key), key))
    inside = np.abs(PRODUCTS) < 100
    np.testing.assert_allclose(outputs.mean(axis=(0, 2))[inside], PRODUCTS[inside] - 0.5, atol=1.0)
    assert outputs.min() >= -128 and outputs.max() <= 127


@pytest.mark.slow
def test_a_chip_answers_about_as_measured_ones_do(key):
    config = StatisticsOfAChip(circuits=64)
    _, _, _, found = jax.jit(lambda key: hardware_statistics(config, key))(key)
    height = np.polyfit(found.weights, np.mean(found.excited, axis=1), 1)[0]
    assert height == pytest.approx(0.784, rel=0.1)
    assert np.std(found.madc) == pytest.approx(1.65, rel=0.1)
