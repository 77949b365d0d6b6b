import dataclasses

import equinox as eqx
import jax
import numpy as np
import pytest

from benchmarks.datasets import DataSet, Split
from benchmarks.experiments.baselines.mnist1d.model import GRU, MLP, NETWORKS, TCN, BaselineTraining
from benchmarks.training import train


@pytest.mark.parametrize(("config", "parameters"), [(MLP, 47_210), (TCN, 11_960), (GRU, 8_950)])
def test_networks_have_the_size_of_table_2(config, parameters, key):
    network = NETWORKS[config][0](key)
    assert sum(x.size for x in jax.tree.leaves(eqx.filter(network, eqx.is_inexact_array))) == parameters


@pytest.mark.parametrize("config", [MLP, TCN, pytest.param(GRU, marks=pytest.mark.slow)])
def test_each_learns_a_sign(config, rng, key):
    def split(samples):
        labels = rng.integers(0, 2, samples).astype(np.int32)
        steps = NETWORKS[config][1]
        return Split((2.0 * labels[:, None] - 1) + 0.1 * rng.normal(size=(samples, steps)), labels)

    data = DataSet("signs", ("minus", "plus"), split(100), split(40), split(40))
    training = BaselineTraining(dataclasses.replace(config(), epochs=3, batch_size=20), data)
    metrics, _, _ = eqx.filter_jit(train)(training, key)
    assert metrics["test_accuracy"] == 1.0
