"""The circuits of a fabricated chip beside the same equations in plain NumPy: Euler steps of 1 ns.

By the facts about the chip a spike is followed by a refractory period of whole clocks, at whose end the clamp is open
already for the hold-off, an odd number of clocks: one at least.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardware as hw

LIMITS = dataclasses.replace(hw.BSS2, circuits=8, columns=4, outputs=2)
CLOCK = 2 / 250
NS = 0.001


def by_hand(p, counts, holdoff, times, charges, t1):
    """Spike times of each circuit. p: what its codes make, as NumPy arrays."""
    refractory, clamped = counts * CLOCK, (counts - holdoff) * CLOCK
    v, since = p.reset, np.full(8, np.inf)
    currents, w = np.zeros((2, 8)), np.zeros(8)
    spikes = [[] for _ in range(8)]
    taus = np.stack([p.tau_syn_exc, p.tau_syn_inh])
    arrivals = [{round(t / NS): None for t in each} for each in times]
    for step in range(round(t1 / NS)):
        for end in (0, 1):
            if step in arrivals[end]:
                currents[end] += charges[end]
        held = since < clamped
        inhibited = currents[1] / (1 + np.exp((53 - v) / 16))
        upstroke = p.sharpness * np.exp(np.minimum((v - p.onset) / p.sharpness, 40))
        dv = (p.leak - v + np.where(held, 0, upstroke)) / p.tau_mem + p.offset - w
        dv = dv + p.strength_exc * currents[0] - p.strength_inh * inhibited
        dv = dv + np.where(held, (p.reset - v) / p.tau_reset, 0)
        w = w + NS * (p.adaptation_a * (v - p.leak) - w) / p.tau_adaptation
        v, currents, since = v + NS * dv, currents - NS * currents / taus, since + NS
        fires = (v >= p.threshold) & (since >= refractory)
        v = np.where(fires, p.threshold, v)  # an upstroke goes far beyond it within a step
        w, since = np.where(fires, w + p.adaptation_b, w), np.where(fires, 0.0, since)
        for circuit in np.flatnonzero(fires):
            spikes[circuit].append((step + 1) * NS)
    return spikes


@pytest.mark.slow
def test_spikes_are_those_of_the_equations(key):
    """Eight circuits, both inputs, exponential and adaptation, the fixed pattern, no noise."""
    made = hw.Chip.fabricate(jax.random.key(1), hw.CALIBRATED, hw.QUIET, LIMITS)
    on = {"leak": 400, "threshold": 430, "onset": 330, "sharpness": 300, "adaptation_a": 20, "adaptation_b": 40}
    codes = hw.Codes.default(LIMITS, **on, holdoff_time=0)
    times = np.array([3.0, 9.0, 21.0]), np.array([6.0, 15.0])
    features = hw.Features(exponential=True, adaptation=True)
    found = hw.Emulated(made, dt=0.01).measure(codes, hw.Stimulus(50.0, times, weight=30.0, features=features), key)
    p = jax.tree.map(lambda x: np.asarray(x, float), made.parameters(codes))
    at = jnp.zeros(8, int), jnp.arange(8)
    charges = [30 * np.asarray(made.synapse_gain(*at, end), float) for end in (0, 1)]
    expected = by_hand(p, 250, 31, times, charges, 50.0)
    assert found.spikes is not None
    counts = np.array([len(train) for train in expected])
    np.testing.assert_array_equal(found.spikes.count(), counts)
    assert counts.min() >= 2 and counts.max() >= 5
    for train, by_equations in zip(np.asarray(found.spikes.times), expected, strict=True):
        np.testing.assert_allclose(train[: len(by_equations)], by_equations, atol=0.04)
