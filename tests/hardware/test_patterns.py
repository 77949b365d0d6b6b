"""Firing patterns of AdEx neurons (the set of Naud et al. 2008) from 10-bit codes on an ideal chip."""

import jax
import numpy as np
import pytest

import hardware as hw

LSB_PER_MV, REFRACTORY = 2.0, 0.6
# C pF, g nS, E mV, a nS, tau_w ms, b pA, V_r mV, I pA; V_T -50 mV, D 2 mV, peak 0 mV; and the spikes within 500 ms
PATTERNS = {
    "tonic": ((200, 10, -70, 2, 30, 0, -58, 500), 51),
    "adapting": ((200, 12, -70, 2, 300, 60, -58, 500), 10),
    "initial burst": ((130, 18, -58, 4, 150, 120, -50, 400), 10),
    "delayed accelerating": ((200, 12, -70, -10, 300, 0, -58, 300), 36),
    "irregular": ((100, 12, -60, -11, 130, 30, -48, 160), 28),
}


def lsb(v):
    return 80 + LSB_PER_MV * (v + 70)


def codes():
    """One pattern on each of the first circuits, 1 ms as 1 µs and 1 mV as 2 LSB.

    The clamp takes the membrane from the peak towards the reset for 0.6 µs only; the reset lies so low that it comes to
    V_r.
    """
    c, g, e, a, tau_w, b, v_r, current = np.array([p for p, _ in PATTERNS.values()], float).T
    left = np.exp(-REFRACTORY / 0.5)
    reset = (lsb(v_r) - left * lsb(0)) / (1 - left)
    found = {
        "leak": 2.4 * lsb(e) + 22,
        "reset": 2.4 * reset + 22,
        "threshold": np.full(5, 2.4 * lsb(0) + 22),
        "onset": np.full(5, 2.4 * lsb(-50) + 22),
        "sharpness": np.full(5, 2 * LSB_PER_MV / 0.01),
        "tau_mem": 3000 * g / c,
        "adaptation_a": np.abs(a) / c / 5e-4,
        "sign_a": np.sign(a),
        "adaptation_b": LSB_PER_MV * b / c / 4e-3,
        "tau_adaptation": 6000 / tau_w,
        "offset": LSB_PER_MV * current / c / 0.01,
        "refractory_counter": np.full(5, REFRACTORY / 0.008),
    }
    padded = {name: np.round(np.resize(value, 512)) for name, value in found.items()}
    return hw.Codes.default(**padded)


@pytest.fixture(scope="module")
def trains():
    stimulus = hw.Stimulus(500.0, max_spikes=64, features=hw.Features(exponential=True, adaptation=True))
    found = hw.Emulated(hw.Chip.ideal()).measure(codes(), stimulus, jax.random.key(0))
    assert found.lost == 0
    times = np.asarray(found.spikes.times[:5])
    return {name: train[np.isfinite(train)] for name, train in zip(PATTERNS, times, strict=True)}


@pytest.mark.parametrize("name", PATTERNS)
def test_counts(trains, name):
    assert len(trains[name]) == pytest.approx(PATTERNS[name][1], rel=0.1)


def test_patterns(trains):
    intervals = {name: np.diff(train) for name, train in trains.items()}
    tonic = intervals["tonic"]
    assert tonic.std() / tonic.mean() < 0.03
    np.testing.assert_allclose(tonic[-1], 9.585 + REFRACTORY, rtol=0.05)
    adapting = intervals["adapting"]
    assert np.all(np.diff(adapting) > 0)
    np.testing.assert_allclose(adapting[[0, 1, 2, 3, 4, 8]], [11.27, 14.38, 19.61, 29.42, 47.74, 75.90], rtol=0.05)
    burst = intervals["initial burst"]
    np.testing.assert_allclose(burst, [3.4, 7.3, 54.7] + [63.95] * 6, rtol=0.05, atol=2.2)
    delayed = intervals["delayed accelerating"]
    assert trains["delayed accelerating"][0] == pytest.approx(33.57, rel=0.05)
    assert np.all(np.diff(delayed[::5]) < 0) and delayed[0] > 1.7 * delayed[-1]
    irregular = intervals["irregular"]
    assert irregular.std() / irregular.mean() > 0.25
