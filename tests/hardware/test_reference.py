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
CLOCK = 1 / 250
NS = 0.001


def by_hand(p, counts, clock, holdoff, times, charges, t1):
    """Spike times of each circuit. p: what its codes make, as NumPy arrays."""
    period = CLOCK * 2 ** (clock + 1)
    refractory, clamped = counts * period, (counts - holdoff) * period
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
        inhibited = p.largest_inh * (1 - np.exp(-currents[1] / p.largest_inh))
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


@pytest.mark.parametrize(("holdoff_time", "clocks"), [(15, 1), (0, 31)])
def test_spikes_are_those_of_the_equations(holdoff_time, clocks, key):
    """Eight circuits, both inputs, exponential and adaptation, the fixed pattern, no noise: five spikes and more."""
    made = hw.Chip.fabricate(jax.random.key(1), hw.CALIBRATED, hw.QUIET, LIMITS)
    chip = hw.Emulated(made, dt=0.01)
    codes = hw.Codes.default(
        LIMITS,
        leak=320,
        threshold=400,
        onset=330,
        sharpness=300,
        adaptation_a=20,
        adaptation_b=40,
        holdoff_time=holdoff_time,
    )
    times = np.array([3.0, 9.0, 21.0]), np.array([6.0, 15.0])
    features = hw.Features(exponential=True, adaptation=True)
    stimulus = hw.Stimulus(60.0, times, weight=30.0, features=features)
    found = chip.measure(codes, stimulus, key).spikes
    assert found is not None
    p = jax.tree.map(lambda x: np.asarray(x, float), made.parameters(codes))
    at = jnp.zeros(8, int), jnp.arange(8)
    charges = [30 * np.asarray(made.synapse_gain(*at, end), float) for end in (0, 1)]
    expected = by_hand(p, 250, 0, clocks, times, charges, 60.0)
    counts = np.array([len(train) for train in expected])
    np.testing.assert_array_equal(found.count(), counts)
    assert counts.min() >= 4
    for train, by_equations in zip(np.asarray(found.times), expected, strict=True):
        np.testing.assert_allclose(train[: len(by_equations)], by_equations, atol=0.02)
    # A clamp that stays shut to the end of the refractory period is not the chip's: spikes come later and later.
    shut = by_hand(p, 250, 0, 0, times, charges, 60.0)
    assert all(one[3] - other[3] > 0.02 for one, other in zip(shut, expected, strict=True))
