import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.datasets import DataSet, Split
from benchmarks.datasets.speech_commands import Clips
from benchmarks.experiments.gle.speech.figures import WORDS, draw_fields, draw_samples
from benchmarks.experiments.gle.speech.model import Speech, SpeechTraining, build, interpolated, shifted
from benchmarks.training import train
from gle import RESULTS


@pytest.mark.parametrize(("neurons", "parameters"), [(150, 1_160_262), (30, 52_062)])
def test_the_networks_have_as_many_weights_as_published_and_reduced(neurons, parameters):
    network = jax.eval_shape(lambda key: build(Speech(neurons=neurons), key, 32), jax.random.key(0))
    connections = [layer.connection for layer in network.layers]
    assert sum(math.prod(x.shape) for x in jax.tree.leaves(connections)) == parameters


@pytest.mark.parametrize("slow", [True, False])
def test_populations_are_slow_or_follow_at_once(slow, key):
    layer = build(Speech(neurons=2, slow=slow), key, 3).layers[1]
    np.testing.assert_allclose(layer.tau_m, np.repeat([2.4, 0.6, 1.2, 1.8, 2.4], 2), rtol=1e-6)
    np.testing.assert_allclose(layer.tau_r, np.repeat([2.4, 0.1, 0.1, 0.1, 0.1], 2) if slow else layer.tau_m, rtol=1e-6)


def test_frames_are_interpolated_between_their_middles(x64):
    """As PyTorch does it with align_corners=False: at (i + 1/2) / steps - 1/2, clipped to the frames."""
    features = np.random.default_rng(0).normal(size=(2, 4, 3))
    where = np.clip((np.arange(20) + 0.5) / 5 - 0.5, 0, 3)
    wanted = [[np.interp(where, np.arange(4), features[n, :, band]) for band in range(3)] for n in range(2)]
    np.testing.assert_allclose(
        interpolated(jnp.asarray(features), 5), np.swapaxes(wanted, 1, 2), rtol=1e-12, atol=1e-14
    )


def test_samples_are_shifted_by_whole_frames(key):
    features = jnp.broadcast_to(jnp.arange(9.0)[None, :, None], (200, 9, 1))
    moved = np.asarray(shifted(features, key, 2))[..., 0]
    moves = 4 - moved[:, 4]
    assert set(moves) == {-2, -1, 0, 1, 2}
    np.testing.assert_array_equal(moved, np.clip(np.arange(9)[None] - moves[:, None], 0, 8))


def test_a_tiny_network_learns_online(key):
    """Constant clips whose sign tells the class."""
    generator = np.random.default_rng(0)

    def split(samples):
        labels = generator.integers(0, 2, samples).astype(np.int32)
        noise = 0.1 * generator.normal(size=(samples, 8, 4))
        return Split((2.0 * labels[:, None, None] - 1) + noise, labels)

    data = DataSet("signs", ("minus", "plus"), split(60), split(40), split(40))
    config = dataclasses.replace(Speech(), neurons=2, epochs=8, batch_size=20, learning_rate=1e-2, averaging=0.5)
    metrics, _, result = eqx.filter_jit(train)(SpeechTraining(config, data), key)
    assert metrics["test_accuracy"] == 1.0
    assert result == RESULTS.successful


def test_the_figures_show_what_they_are_given(rng, key):
    sound = rng.integers(-20, 20, (4, 16_000)).astype(np.int16)
    clips = Clips(sound, np.arange(4, dtype=np.int32), ("a", "b", "c", "d"), WORDS[::-1])
    axes = draw_samples(clips).axes
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), sound[3] / np.abs(sound[3]).max())
    assert np.shape(axes[4].images[0].get_array()) == (32, 41)
    config = Speech(neurons=2)
    image = np.asarray(draw_fields(config, build(config, key, 32)).axes[0].images[0].get_array())
    # A linear neuron that follows at once sees its weights, for two frames.
    profile = image[:, 10]
    np.testing.assert_allclose(image[:, 5] / profile, 0.5, rtol=1e-4)
    np.testing.assert_allclose(image[:, 20:], 0, atol=1e-5)
