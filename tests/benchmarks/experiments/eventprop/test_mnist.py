import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
from benchmarks._fit import fit, seed_keys
from benchmarks.datasets import DataSet, Split
from benchmarks.experiments.eventprop.mnist.figures import draw_digits
from benchmarks.experiments.eventprop.mnist.model import Mnist, MnistTraining, encode, without
from benchmarks.training import train

SMALL = Mnist(
    hidden=8, epochs=3, batch_size=5, learning_rate=0.05, hidden_mean=0.4, output_mean=0.5, max_spikes=16, max_events=64
)


@pytest.fixture(scope="module")
def data():
    """Images with a bright block of 36 pixels above or below, on black with some noise."""
    rng = np.random.default_rng(0)

    def split(samples):
        labels = rng.integers(0, 2, samples).astype(np.int32)
        images = rng.integers(0, 2, (samples, 28, 28))
        for image, label in zip(images, labels, strict=True):
            image[4 + 14 * label : 10 + 14 * label, 10:16] = rng.integers(60, 256, (6, 6))
        return Split(images.astype(np.uint8), labels)

    return DataSet("blocks", ("above", "below"), split(60), split(20), split(20))


def test_bright_pixels_spike_first_and_black_ones_never():
    grey = np.zeros((2, 28, 28), np.uint8)
    grey[0, 0, :5] = 255, 1, 51, 2, 255
    grey[1, 27, 27] = 102
    spikes = encode(Split(grey, np.zeros(2, np.int32)), 30.0)
    assert spikes.times.shape == (2, 4)  # as many as the brighter image has
    np.testing.assert_allclose(spikes.times[0], [0, 0, 24, 30 * (1 - 2 / 255)], rtol=1e-6)
    np.testing.assert_array_equal(spikes.index[0], [0, 4, 2, 3])
    np.testing.assert_allclose(spikes.times[1], [18, np.inf, np.inf, np.inf], rtol=1e-6)
    np.testing.assert_array_equal(spikes.index[1], [783, 0, 0, 0])


def test_what_is_dropped_leaves_no_gap():
    spikes = ep.Spikes(jnp.array([1.0, 2.0, 3.0, jnp.inf]), jnp.array([5, 6, 7, 0]))
    left = without(spikes, jnp.array([False, True, False, False]))
    np.testing.assert_array_equal(left.times, [1, 3, np.inf, np.inf])
    np.testing.assert_array_equal(left.index, [5, 7, 0, 0])


def test_a_small_network_learns_without_losing_spikes(data, key):
    metrics, _, result = eqx.filter_jit(train)(MnistTraining(SMALL, data), key)
    assert result == ep.RESULTS.successful
    assert metrics["spikes_lost"] == 0 and metrics["most_spikes"] > 0
    assert metrics["test_accuracy"] == 1.0


def test_maxima_are_those_of_the_whole_network(data, key):
    training = MnistTraining(SMALL, data)
    network = training.init(key).network
    spikes = jax.tree.map(lambda x: x[0], training.test_set[0])
    maxima, solution = training.maxima(network, spikes)
    np.testing.assert_allclose(maxima, ep.voltage_maximum(network, spikes, solution, jnp.inf), rtol=1e-5)


def test_a_bound_on_events_that_is_too_small_is_reported(data, key):
    training = MnistTraining(dataclasses.replace(SMALL, max_events=2), data)
    _, _, result = eqx.filter_jit(lambda training, key: training.finish(training.init(key)))(training, key)
    assert result == ep.RESULTS.spikes_lost


@pytest.mark.slow
def test_the_figure_is_drawn(data, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.datasets.load", lambda name: data)
    monkeypatch.setattr("benchmarks.experiments.eventprop.mnist.figures.load", lambda name: data)
    config = dataclasses.replace(SMALL, epochs=1)
    draw_digits(config, fit(MnistTraining(config, data), seed_keys(0, 1), progress=False), tmp_path)
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")
