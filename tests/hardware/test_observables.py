"""What is read from traces that are written down by hand, with a converter's noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eventprop import SpikeTrains
from hardware import observables
from hardware.device import Measurement

TIMES = np.arange(0, 56, 1 / 29.4)
NOISE = 1.65


def measured(potentials, spikes=None, samples=None):
    """A measurement of potentials [samples, circuits] in LSB."""
    trace = np.floor(2.5 * potentials + np.random.default_rng(0).normal(0, NOISE, potentials.shape) + 0.5)
    slow = np.arange(0, 56, 1.7)
    cadc = np.zeros((len(slow), potentials.shape[1])) if samples is None else samples
    trains = None if spikes is None else SpikeTrains(jnp.asarray(spikes, jnp.float32))
    fast = jnp.asarray(trace, jnp.float32), jnp.asarray(TIMES, jnp.float32)
    lost = jnp.zeros((), jnp.int32)
    return Measurement(trains, lost, jnp.asarray(cadc, jnp.float32), jnp.asarray(slow, jnp.float32), *fast)


def psp(tau_mem, tau_syn, begin=6.0):
    """Response to a current that begins with a slope of 1 LSB/µs."""
    t = np.maximum(TIMES[:, None] - begin, 0)
    return (np.exp(-t / tau_syn) - np.exp(-t / tau_mem)) / (1 / tau_mem - 1 / tau_syn)


@pytest.mark.parametrize("guess", [10.0, 1.0])
def test_membranes(guess):
    """Near the guess to first order, and on the right side of it everywhere."""
    tau = guess * np.array([0.03, 0.2, 0.5, 0.8, 0.97, 1.0, 1.03, 1.2, 2.0, 6.0, 40.0])
    potentials = 130 - 80 * np.exp(-np.maximum(TIMES[:, None] - 2.1, 0) / tau)
    found = np.asarray(observables.membrane_time(measured(potentials), jnp.full(len(tau), guess), 2.1)) / guess
    np.testing.assert_allclose(found[4:7], [0.97, 1.0, 1.03], atol=0.03)
    assert np.all(found[:4] < 0.85) and np.all(found[7:] > 1.15)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("guess, within", [(10.0, 0.025), (3.0, 0.06)])
def test_synapses(sign, guess, within):
    tau = guess * np.array([0.1, 0.3, 0.7, 0.97, 1.001, 1.03, 1.4, 3.01, 10.0, 40.0])
    found = observables.synaptic_time(
        measured(150 + sign * 2.7 * psp(10.0, tau)), jnp.full(len(tau), guess), 10.0, 6.0, sign
    )
    found = np.asarray(found) / guess
    np.testing.assert_allclose(found[3:6], [0.97, 1.0, 1.03], atol=within)
    assert np.all(found[:3] < 0.85) and np.all(found[6:] > 1.2)


def test_strengths():
    strengths = np.array([0.5, 1.0, 4.0])
    found = observables.strength(measured(150 - strengths * psp(10.0, 5.0)), jnp.full(3, 5.0), 10.0, 6.0, -1)
    np.testing.assert_allclose(found, strengths, atol=0.05)


def test_thresholds_are_extrapolated():
    """Potentials that rise by 5 and 10 LSB/µs up to 100 and 130; a circuit that is silent has none."""
    begin, slopes, tops = 5.013, np.array([5.0, 10.0, 0.0]), np.array([100.0, 130.0, 90.0])
    spikes = np.where(slopes > 0, begin, np.inf)
    potentials = tops + slopes * (np.mod(TIMES[:, None], begin) - begin)
    trains = np.stack([spikes + begin * k for k in range(8)] + [np.full(3, np.inf)], axis=1)
    found = np.asarray(observables.threshold(measured(potentials, trains)))
    np.testing.assert_allclose(found[:2], [100, 130], atol=0.5)
    assert found[2] == np.inf


def after_spikes(b, tau, spike=17.0, clamp=4.0, rest=100.0):
    """Membranes at rest that spike once, are held 3 LSB too high, and adapt: Euler, tau_mem 10 µs."""
    fine, steps = 0.002, round(56 / 0.002)
    v, w, found = np.full(len(tau), rest), np.zeros(len(tau)), []
    for step in range(steps):
        found.append(v)
        now = step * fine
        w = w * np.exp(-fine / tau) + b * (spike <= now < spike + fine)
        held = spike <= now < spike + clamp or now < clamp
        v = np.full(len(tau), rest + 3) if held else v + fine * ((rest - v) / 10 - w)
    return np.stack(found)[(TIMES / fine).astype(int)]


def test_adaptation_after_a_spike():
    """Around the right time constant, half and twice that; and circuits that are silent, which have none."""
    tau, b = np.tile([12.0, 30, 30, 60, 60], 3), np.tile([2.0, 1.0, 2.5, 0.4, 2.0], 3)
    guess = np.repeat([1.0, 0.5, 2.0], 5) * tau
    potentials = np.concatenate([after_spikes(b, tau), np.full((len(TIMES), 2), 100.0)], axis=1)
    spikes = np.full((17, 2), np.inf)
    spikes[:15, 0] = 17.0

    @jax.jit
    def both(seen, guess):
        how = guess, 10.0, 16.0, 4.0
        return observables.adaptation_time(seen, *how), observables.adaptation_strength(seen, *how)

    found, strength = map(np.asarray, both(measured(potentials, spikes), jnp.asarray([*guess, 30, 30])))
    np.testing.assert_allclose(found[[0, 2, 4]], tau[[0, 2, 4]], rtol=0.06)
    np.testing.assert_allclose(found[:5], tau[:5], rtol=0.25)
    assert np.all(found[5:10] > 0.6 * tau[:5]) and np.all(found[10:15] < 1.6 * tau[:5])
    np.testing.assert_allclose(strength[:5], b[:5], atol=0.06)
    assert np.all(np.isfinite(found))
    np.testing.assert_allclose(strength[15:], 0, atol=0.02)


def test_potentials_before_spikes_that_stand_alone():
    """Ramps of 5 LSB/µs that end at 90: 2 to 4 µs before their ends at 75, but for spikes that come early."""
    trains = np.array([[10.0, 20.0, 22.0, np.inf], [np.inf] * 4, [3.0, 6.0, 9.0, 12.0]])
    potentials = 90 - 5 * np.mod(-TIMES[:, None] + np.zeros(3), 10)
    found, number = observables.potential_before(measured(potentials, trains), (2.0, 4.0), 8.0)
    np.testing.assert_array_equal(number, [2, 0, 0])
    np.testing.assert_allclose(found, [75, 0, 0], atol=0.3)


def test_samples_are_averaged_from_a_moment_on():
    samples = np.where(np.arange(0, 56, 1.7)[:, None] < 10, 200, [80, 90])
    found = observables.mean_sample(measured(np.zeros((len(TIMES), 2)), samples=samples), 10.0)
    np.testing.assert_allclose(found, [80, 90])
