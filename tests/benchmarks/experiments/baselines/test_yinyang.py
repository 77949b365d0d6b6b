"""Yin-Yang's own baselines: their sizes, what learns, and what little training reaches."""

import dataclasses

import equinox as eqx
import jax
import numpy as np
import pytest

from benchmarks.experiments.baselines.yinyang.model import Frozen, Shallow, Whole, YinYangBaseline


@pytest.mark.parametrize(
    ("config", "parameters", "accuracy"), [(Whole, 243, (0.7, 1)), (Frozen, 243, (0.6, 1)), (Shallow, 15, (0.5, 0.72))]
)
def test_what_learns_and_how_well(config, parameters, accuracy, key):
    training = YinYangBaseline(dataclasses.replace(config(), epochs=4))
    before = training.init(key)
    assert sum(x.size for x in jax.tree.leaves(eqx.filter(before.network, eqx.is_inexact_array))) == parameters
    after, metrics = before, {}
    step = eqx.filter_jit(training.epoch)
    for number in range(4):
        after, metrics = step(after, np.asarray(number))
    assert accuracy[0] < metrics["validation_accuracy"] < accuracy[1]
    same = np.array_equal(before.network.layers[0].weight, after.network.layers[0].weight)
    assert same == (config is Frozen)
