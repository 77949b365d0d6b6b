import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
from benchmarks.experiments.hardware.yinyang.model import (
    ChipYinYang,
    ChipYinYangDelays,
    ChipYinYangFirst,
    later,
    training_of,
)
from benchmarks.training import train


def test_the_host_delays_events_and_keeps_them_in_order():
    spikes = ep.Spikes(jnp.array([[1.0, 2.0, jnp.inf]]), jnp.array([[0, 1, 0]]))
    delayed = later(spikes, jnp.array([4.0, 0.5]))
    np.testing.assert_array_equal(delayed.times, [[2.5, 5.0, np.inf]])
    np.testing.assert_array_equal(delayed.index, [[1, 0, 0]])
    slope = jax.grad(lambda d: later(spikes, d).times[0, 1])(jnp.array([4.0, 0.5]))
    np.testing.assert_array_equal(slope, [1, 0])  # the later event is that of source 0


def test_inputs_take_five_row_pairs_and_hidden_spikes_one():
    whole = training_of(ChipYinYang())
    placement = whole.placement(whole.network(jax.random.key(0)))
    assert placement.repetitions == (5, 1)
    assert [circuits.shape for circuits in placement.circuits] == [(120, 1), (3, 1)]
    parts = training_of(ChipYinYangDelays())
    assert [parts.placement(layer).repetitions for layer in parts.network(jax.random.key(0)).layers] == [(5,), (1,)]


@pytest.mark.slow
@pytest.mark.parametrize("config", [ChipYinYang(epochs=1), ChipYinYangFirst(epochs=1), ChipYinYangDelays(epochs=1)])
def test_an_epoch_on_a_chip_is_far_better_than_chance(config, key):
    metrics, _, _ = eqx.filter_jit(train)(training_of(config), key)
    assert metrics["test_accuracy"] > 0.6  # chance: 1/3
    assert metrics["events_dropped"] == 0
