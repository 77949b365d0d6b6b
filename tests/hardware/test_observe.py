import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
import hardware as hw
from hardware.observe import DEPTH, Converter, cadc, in_order, jittered, queued, stamped, through_bus

FLAT = Converter(jnp.ones(2), jnp.zeros(2))


def test_samples_are_whole_and_in_range(precision, key):
    v = jnp.array([[-3.0, 80.4], [80.6, 300.0]], precision)
    samples = cadc(v, FLAT, 0.0, key, hw.BSS2, True)
    np.testing.assert_array_equal(samples, [[0, 80], [81, 255]])
    assert samples.dtype == precision


def test_channels_have_offset_and_gain(key):
    channels = Converter(jnp.array([1.0, 1.1]), jnp.array([5.0, 0.0]))
    np.testing.assert_array_equal(cadc(jnp.full((1, 2), 100.0), channels, 0.0, key, hw.BSS2, True), [[105, 97]])


def test_a_gradient_passes_through_the_cadc(x64, key):
    def total(v):
        return jnp.sum(cadc(v, Converter(jnp.ones(3), jnp.zeros(3)), 1.0, key, hw.BSS2, True))

    np.testing.assert_array_equal(jax.grad(total)(jnp.array([[80.3, -20.0, 280.0]])), [[1, 0, 0]])


def test_noise_of_a_sample(key):
    samples = cadc(jnp.full((4000, 2), 100.0), FLAT, 1.2, key, hw.BSS2, True)
    assert np.mean(samples) == pytest.approx(100, abs=0.05)
    assert np.std(samples) == pytest.approx(np.hypot(1.2, 12**-0.5), abs=0.03)


def test_stamps_are_multiples_of_8_ns(precision):
    spikes = ep.Spikes(jnp.array([0.0041, 1.0, 99.9999, jnp.inf], precision), jnp.zeros(4, jnp.int32))
    times = np.asarray(stamped(spikes, hw.BSS2).times)
    np.testing.assert_allclose(times, [0, 1.0, 99.992, np.inf], rtol=1e-6)
    gradient = jax.grad(lambda t: jnp.sum(stamped(ep.Spikes(t, spikes.index), hw.BSS2).times[:3]))(spikes.times)
    np.testing.assert_array_equal(gradient, [1, 1, 1, 0])


def test_jitter(key):
    spikes = ep.Spikes(jnp.linspace(1, 1000, 2000), jnp.zeros(2000, jnp.int32))
    moved = jittered(spikes, 0.03, key).times
    assert np.std(moved - spikes.times) == pytest.approx(0.03, rel=0.06)
    assert np.all(np.diff(moved) >= 0)


def reference(times, bus):
    """Each bus serves the first event that waits, at most every 8 ns."""
    free, passed, lost = {}, [], []
    for t, b in zip(times, bus, strict=True):
        wait = max(free.get(b, -np.inf) - t, 0)
        lost.append(wait > DEPTH * 0.008)
        passed.append(np.inf if lost[-1] else t + wait)
        if not lost[-1]:
            free[b] = t + wait + 0.008
    return np.array(passed), np.array(lost)


def test_buses_pass_one_event_per_8_ns(x64, rng):
    times = np.sort(np.round(rng.uniform(0, 1, 500), 2))
    bus = rng.integers(0, 2, 500)
    passed, lost = queued(jnp.append(jnp.asarray(times), jnp.inf), jnp.append(jnp.asarray(bus), 0), 2, hw.BSS2)
    expected, dropped = reference(times, bus)
    assert dropped.sum() > 5
    np.testing.assert_array_equal(lost[:-1], dropped)
    np.testing.assert_allclose(passed[:-1], expected, atol=1e-12)
    assert passed[-1] == np.inf


def test_sent_is_delivered_and_dropped():
    spikes = ep.Spikes(jnp.zeros(200), jnp.arange(200) % 5)
    passed, lost = through_bus(spikes, np.array([0, 1, 0, 1, 0]), 2, hw.BSS2)
    assert lost > 0 and passed.count() + lost == 200
    assert np.all(np.diff(passed.times[: passed.count()]) >= 0)


def test_events_in_order():
    spikes = in_order(ep.Spikes(jnp.array([3.0, jnp.inf, 1.0]), jnp.array([4, 2, 7])))
    np.testing.assert_array_equal(spikes.times, [1, 3, np.inf])
    np.testing.assert_array_equal(spikes.index, [7, 4, 0])
