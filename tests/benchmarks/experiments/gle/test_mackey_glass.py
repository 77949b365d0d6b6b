import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gle
from benchmarks.experiments.gle.mackey_glass.figures import draw_continuations
from benchmarks.experiments.gle.mackey_glass.model import Continuations, MackeyGlass, MackeyGlassTraining, smape
from benchmarks.training import train_recorded
from gle import RESULTS

SMALL = MackeyGlass(
    hidden=(10, 10), epochs=2, delay=1.0, ahead=2, streams=2, passes=2, learning_rate=3e-3, decay=0.1, averaging=0.5
)


@pytest.mark.slow
def test_a_tiny_network_learns_a_sine():
    """Two periods of 20 time units to learn from, and two to continue; a constant would leave half the variance."""
    wave = 1 + 0.3 * np.sin(np.arange(400) * 2 * np.pi / 100)
    training = MackeyGlassTraining(dataclasses.replace(SMALL, epochs=40), np.stack([wave, wave[::-1]]))
    metrics, network, result, found = eqx.filter_jit(train_recorded)(training, jax.random.key(0))
    assert result == RESULTS.successful
    assert metrics["train_loss"] < 0.05 * np.var(wave) / 2
    assert metrics["oracle_smape"] <= metrics["smape"] < smape(jnp.ones((2, 200)), training.continued).mean()
    assert network.layers[0].connection.weight.shape == (2, 10, 4)
    np.testing.assert_array_equal(found.truth, training.continued)
    early, last = (smape(x, found.truth).mean() for x in (found.early, found.last))
    assert early > last == pytest.approx(metrics["smape"])


def test_the_figure_shows_early_and_last_continuations_of_the_best_and_the_worst_sequence(rng):
    truth = jnp.ones((5, 50))
    off = jnp.array([0.3, 0.1, 0.0, 0.4, 0.2])[:, None]
    found = Continuations(truth + 2 * off, truth + off, truth)
    axes = draw_continuations(SMALL, found, rng.uniform(size=(2, 1))).axes
    shown = [ax.lines[0].get_ydata()[0] for ax in axes[:4]]
    np.testing.assert_allclose(shown, [1.4, 1.2, 1, 1.4])
    assert axes[3].get_title() == "worst of 5 sequences, after epoch 2: sMAPE 33.3 %"  # 200 * 0.4 / 2.4


def test_targets_lie_ahead_of_inputs_in_two_streams():
    training = MackeyGlassTraining(SMALL, np.arange(100.0)[None])
    inputs, targets = training._streams(training.learned[0])
    assert inputs.shape == (16, 2, 4)
    assert 2 * len(inputs) == training.steps_per_epoch
    np.testing.assert_array_equal(inputs - targets, np.broadcast_to([-2.0, -7, -12, -17], inputs.shape))
    np.testing.assert_array_equal(targets[:, :, 0], np.arange(18.0, 50).reshape(2, 16).T)


def test_a_network_that_computes_the_next_value_continues_the_series_without_error():
    """A straight line: x(t + 1) = 2 x(t) - x(t - 1), by one layer that is linear."""
    config = dataclasses.replace(SMALL, delay=0.2, ahead=1)
    training = MackeyGlassTraining(config, np.arange(0.0, 1.0, 0.01)[None])
    weights = gle.Dense(jnp.array([[2.0, -1.0, 0.0, 0.0]]), None)
    network = gle.Network([gle.Layer(weights, 1.0, 1.0, gle.linear)], gle.MeanSquaredError())
    np.testing.assert_allclose(training.predict(network, training.learned[0]), training.continued[0], rtol=1e-3)


def test_more_streams_than_samples_are_refused():
    with pytest.raises(ValueError, match=r"streams must be 1\.\.33, the samples to learn from, but is 34"):
        MackeyGlassTraining(dataclasses.replace(SMALL, streams=34), np.arange(100.0)[None])


@pytest.mark.parametrize(("prediction", "expected"), [([1.0, 3.0], 50.0), ([1.0, np.nan], 100.0)])
def test_smape(prediction, expected):
    assert smape(jnp.array(prediction), jnp.ones(2)) == pytest.approx(expected)
