import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
import hardware as hw
from hardware.observe import (
    DEPTH,
    Converter,
    cadc,
    in_order,
    jittered,
    queued,
    stamped,
    through_bus,
    through_outputs,
)

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
    times = jnp.linspace(0, 1000, 2000)
    moved = jittered(jnp.append(times, jnp.inf), 0.03, key)
    assert np.std(moved[:-1] - times) == pytest.approx(0.03, rel=0.06)
    assert np.all(moved >= 0) and moved[-1] == np.inf


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


def trains(kind, rng):
    """Events of three buses, 300 each, ascending."""
    if kind == "sparse":
        return np.sort(rng.uniform(0, 50, (3, 300)))
    if kind == "ties":
        return np.sort(np.round(rng.uniform(0, 4, (3, 300)), 2))
    if kind == "full":
        return np.sort(np.round(rng.uniform(0, [[1.0], [0.01], [40.0]], (3, 300)), 3))
    return np.full((3, 300), 2.0)


@pytest.mark.parametrize("kind", ["sparse", "ties", "full", "at once"])
def test_buses_pass_one_event_per_8_ns(x64, rng, kind):
    times = trains(kind, rng)
    expected = [reference(row, np.zeros(300)) for row in times]
    passed, lost = QUEUED(jnp.asarray(times))
    np.testing.assert_array_equal(lost, [dropped for _, dropped in expected])
    np.testing.assert_allclose(passed, [row for row, _ in expected], atol=1e-12)
    assert (lost.sum() > 5) == (kind in ("full", "at once"))


QUEUED = jax.jit(lambda times: queued(times, hw.BSS2))


def test_rows_of_buses_may_have_holes(x64, rng):
    """None at any place; what waits nowhere keeps its time to the last bit, and its derivative."""
    times = np.where(rng.random((3, 300)) < 0.5, trains("ties", rng), np.inf)
    passed, lost = QUEUED(jnp.asarray(times))
    for row, own in zip(np.asarray(passed), times, strict=True):
        there = own < np.inf
        np.testing.assert_allclose(row[there], reference(own[there], np.zeros(there.sum()))[0], atol=1e-12)
        assert np.all(np.isinf(row[~there]))
    assert np.sum(np.asarray(passed) == times) > 600 and not lost.any()
    one = jnp.asarray(times[times < np.inf][:20])[None]
    np.testing.assert_array_equal(jax.grad(lambda t: jnp.sum(queued(t, hw.BSS2)[0]))(one), 1)


def test_outputs_serve_their_own_neurons(x64, rng):
    times = np.sort(np.where(rng.random((5, 40)) < 0.7, rng.uniform(0, 0.6, (5, 40)), np.inf))
    output = np.array([3, 0, 3, 3, 0])
    passed, lost = through_outputs(jnp.asarray(times), output, hw.BSS2)
    for number in (0, 3):
        order = np.argsort(times[output == number], axis=None)
        own = times[output == number].ravel()[order]
        expected, dropped = reference(own[own < np.inf], np.zeros_like(own[own < np.inf]))
        found = np.asarray(passed)[output == number].ravel()[order][own < np.inf]
        np.testing.assert_allclose(found, expected, atol=1e-12)
        lost -= dropped.sum()
    assert lost == 0


def test_sent_is_delivered_and_dropped():
    spikes = ep.Spikes(jnp.zeros(200), jnp.arange(200) % 5)
    passed, lost = through_bus(spikes, np.array([0, 1, 0, 1, 0]), 2, hw.BSS2)
    assert lost > 0 and passed.count() + lost == 200
    assert np.all(np.diff(passed.times[: passed.count()]) >= 0)


def test_events_in_order():
    spikes = in_order(ep.Spikes(jnp.array([3.0, jnp.inf, 1.0]), jnp.array([4, 2, 7])))
    np.testing.assert_array_equal(spikes.times, [1, 3, np.inf])
    np.testing.assert_array_equal(spikes.index, [7, 4, 0])
