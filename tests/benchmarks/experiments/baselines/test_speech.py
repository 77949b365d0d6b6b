import dataclasses

import equinox as eqx
import jax
import numpy as np
import pytest

from benchmarks.datasets import DataSet, Split
from benchmarks.experiments.baselines.speech.model import GRU, LSTM, MLP, NETWORKS, TCN, SpeechBaselineTraining
from benchmarks.training import train

SIZES = {MLP: 169_612, TCN: 52_172, GRU: 50_188, LSTM: 50_700}


@pytest.mark.parametrize("config", SIZES)
def test_networks_have_the_size_that_they_say(config, key):
    network = NETWORKS[config](key)
    assert sum(x.size for x in jax.tree.leaves(eqx.filter(network, eqx.is_inexact_array))) == SIZES[config]


@pytest.mark.parametrize("config", [TCN, pytest.param(LSTM, marks=pytest.mark.slow)])
def test_each_learns_a_sign(config, rng, key):
    def split(samples):
        labels = rng.integers(0, 2, samples).astype(np.int32)
        return Split((2.0 * labels[:, None, None] - 1) + 0.1 * rng.normal(size=(samples, 41, 32)), labels)

    data = DataSet("signs", ("minus", "plus"), split(60), split(40), split(40))
    training = SpeechBaselineTraining(dataclasses.replace(config(), epochs=2, batch_size=20), data)
    metrics, _, _ = eqx.filter_jit(train)(training, key)
    assert metrics["test_accuracy"] == 1.0
