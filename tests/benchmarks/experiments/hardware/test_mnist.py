import equinox as eqx
import jax
import numpy as np

import eventprop as ep
from benchmarks.datasets import DataSet, Split
from benchmarks.experiments.hardware.mnist.model import ChipMnist, ChipMnistTraining, encode, shrink
from benchmarks.experiments.hardware.training import weights


def test_bright_pixels_spike_first_and_dark_ones_never():
    grey = np.zeros((1, 28, 28), np.uint8)
    grey[0, :14] = 255
    config = ChipMnist(darkest=0.2, tau_latency=8.0)
    spikes = encode(Split(grey, np.zeros(1, np.int32)), config)
    assert spikes.times.shape == (1, 128)  # the upper half of 16 x 16
    bright = shrink(grey)[0].ravel()[np.asarray(spikes.index[0])]
    np.testing.assert_allclose(spikes.times[0], 8 * np.log(bright / (bright - 0.2)), rtol=1e-5)
    assert np.all(np.diff(spikes.times[0]) >= 0) and np.all(np.asarray(spikes.index) < 128)


def test_the_published_network_places_and_keeps_to_six_bits():
    digits = Split(np.full((100, 28, 28), 255, np.uint8), np.zeros(100, np.int32))
    training = ChipMnistTraining(ChipMnist(), DataSet("white", ("0",), digits, digits, digits))
    network = training.network(jax.random.key(0))
    placement = training.placement(network)
    assert [circuits.shape for circuits in placement.circuits] == [(246, 2), (10, 2)]
    grown = jax.tree.map(lambda w: 100 * w, weights(network))
    clipped = weights(training.clipped(eqx.tree_at(weights, network, grown)))
    for before, after in zip(grown, clipped, strict=True):  # 63 LSB at the 148 per unit of two circuits
        np.testing.assert_allclose(after, np.clip(before, -63 / 148, 63 / 148), rtol=1e-6)
    assert isinstance(network, ep.FeedForward)
