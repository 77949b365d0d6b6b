import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import RESULTS
from benchmarks.experiments.gle_mackey_glass import MackeyGlass, MackeyGlassTraining, smape
from benchmarks.training import train

SMALL = MackeyGlass(hidden=(10, 10), epochs=2, delay=1.0, ahead=2, learning_rate=1e-3)


def test_a_tiny_network_learns_a_sine():
    """Two periods of 20 time units to learn from, and two to continue; a constant would leave half the variance."""
    wave = 1 + 0.3 * np.sin(np.arange(400) * 2 * np.pi / 100)
    training = MackeyGlassTraining(dataclasses.replace(SMALL, epochs=40), np.stack([wave, wave[::-1]]))
    metrics, network, result = eqx.filter_jit(train)(training, jax.random.key(0))
    assert result == RESULTS.successful
    assert metrics["train_loss"] < 0.05 * np.var(wave) / 2
    assert metrics["oracle_smape"] <= metrics["smape"] < smape(jnp.ones((2, 200)), training.continued).mean()
    assert network.layers[0].connection.weight.shape == (2, 10, 4)


def test_targets_lie_ahead_of_inputs():
    training = MackeyGlassTraining(SMALL, np.arange(100.0)[None])
    inputs, targets = training._stream(training.learned[0])
    np.testing.assert_array_equal(inputs - targets, np.array([[-2.0, -7, -12, -17]]).repeat(len(inputs), 0))
    assert len(inputs) == training.steps_per_epoch


@pytest.mark.parametrize(("prediction", "expected"), [([1.0, 3.0], 50.0), ([1.0, np.nan], 100.0)])
def test_smape(prediction, expected):
    assert smape(jnp.array(prediction), jnp.ones(2)) == pytest.approx(expected)
