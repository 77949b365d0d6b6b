import dataclasses

import equinox as eqx
import numpy as np
import pytest

from benchmarks.datasets import DataSet, Split
from benchmarks.experiments.gle_latent_equilibrium import Dense, LatentEquilibriumTraining, LeNet5
from benchmarks.training import train


@pytest.fixture
def data(rng):
    """Images whose upper or lower half is bright."""

    def split(samples):
        labels = rng.integers(0, 2, samples).astype(np.int32)
        images = rng.integers(0, 80, (samples, 28, 28))
        images[:, :14] += (120 * labels)[:, None, None]
        return Split(images.astype(np.uint8), labels)

    return DataSet("halves", ("lower", "upper"), split(60), split(20), split(20))


@pytest.mark.parametrize("config", [Dense(hidden=(20, 10)), LeNet5(hidden=(20, 10))])
def test_both_networks_learn(config, data, key):
    training = LatentEquilibriumTraining(dataclasses.replace(config, epochs=5, batch_size=10), data)
    metrics, _, _ = eqx.filter_jit(train)(training, key)
    assert metrics["test_accuracy"] == 1.0


def test_presentation_has_to_last(data):
    with pytest.raises(ValueError, match="presentation must be at least 1"):
        LatentEquilibriumTraining(Dense(presentation=0), data)
