import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
import hardware as hw
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
    assert [parts.placement(layer).repetitions for layer in parts.network(jax.random.key(0)).layers] == [(5,), (2,)]


def test_a_label_that_stays_silent_gets_stronger_synapses():
    """Output 2 is silent where it is the label, in one trial of two; output 1 only where it is not."""
    training, inf, scalar = training_of(ChipYinYangFirst()), jnp.inf, jnp.zeros(())
    spikes = ep.Spikes(jnp.array([[3.0, 4.0], [3.0, inf]]), jnp.array([[1, 0], [0, 0]]))
    none, drops = jnp.zeros(0), jnp.zeros(2, jnp.int32)
    recording = hw.Recording(
        (None, spikes), (None, None), (None, None), none, None, None, drops, drops[0], scalar, scalar
    )
    signals = training.signals(recording, jnp.array([1, 2]))
    assert signals["counts"][0] is None
    np.testing.assert_array_equal(signals["counts"][1], [1, 1, 0.5])
    learned = [jnp.zeros((30, 5)), jnp.zeros((3, 30))]
    optimiser = training.optimiser()
    hidden, output = optimiser.update(learned, optimiser.init(learned), learned, **signals)[0]
    np.testing.assert_array_equal(hidden, 0)
    np.testing.assert_allclose(output, np.broadcast_to([[0], [0], [5e-3]], (3, 30)), rtol=1e-5)  # Adam's first step


@pytest.mark.slow
@pytest.mark.parametrize("config", [ChipYinYang(epochs=1), ChipYinYangFirst(epochs=1), ChipYinYangDelays(epochs=1)])
def test_an_epoch_on_a_chip_is_far_better_than_chance(config, key):
    metrics, _, _ = eqx.filter_jit(train)(training_of(config), key)
    assert metrics["test_accuracy"] > 0.6  # chance: 1/3
    assert metrics["events_dropped"] == 0
