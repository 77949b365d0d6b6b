"""float32 is good enough: trials of 200 ms with tau_syn = 2 ms against the float64 reference.

A spike that crosses with tau_mem V' >= 0.05 threshold lies within 1e-3 ms of float64. A flatter one satisfies
|V64(t32) - threshold| <= 1e-5 threshold; a maximum within 1e-5 of the threshold may spike in one precision and not in
the other. What follows such a spike is compared with a float64 neuron that was reset when the float32 one was, so that
nothing is left out of the comparison.
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import numpy as np
import pytest

from tests.eventprop.reference import Neuron, Trajectory, bisect, flow, simulate_neuron, slope
from tests.eventprop.test_exact_forward import near_tangential_trials
from tests.eventprop.trials import SAMPLES, Trial, random_trial, solve

STEEP = 0.05
CLOSE_MS = 1e-3
CLOSE_V = 1e-5
TIMES = np.linspace(1.0, 199.0, SAMPLES)


@dataclass
class Tally:
    """How many spikes were steep, flat, and present in one precision only; the largest deviations."""

    steep: int = 0
    flat: int = 0
    unpaired: int = 0
    worst_ms: float = 0.0
    worst_v: float = 0.0


def potential(ahead: Trajectory, k: int, t: float) -> float:
    """V64 at `t` had spike `k` not reset the neuron."""
    return ahead.potential_without(k, t) if k < len(ahead.spikes) and t > ahead.spikes[k] else ahead.state(t)[0]


def overshoot(ahead: Trajectory, k: int, duration: float) -> float:
    """How far V64 would rise above the threshold within `duration` after spike `k`."""
    neuron, v, i = ahead.neuron, ahead.neuron.threshold, ahead.state(ahead.spikes[k])[1]
    falling = -slope(neuron, *flow(neuron, np.linspace(0.0, duration, 1001), v, i)) > 0.0
    top = duration if not falling[-1] else bisect(lambda s: -slope(neuron, *flow(neuron, s, v, i)), 0.0, duration)
    return float(flow(neuron, top, v, i)[0]) - neuron.threshold


def compare(times, charges, neuron: Neuron, t1: float, v: float, i: float, spikes32, tally: Tally) -> None:
    """Walk through one neuron's spikes in both precisions, asserting the criterion; `spikes32` holds finite times."""
    theta, remaining = neuron.threshold, list(spikes32)
    ahead, k = simulate_neuron(times, charges, neuron, t1, v, i), 0
    while k < len(ahead.spikes) or remaining:
        t64 = ahead.spikes[k] if k < len(ahead.spikes) else np.inf
        t32 = remaining[0] if remaining else np.inf
        steep = t64 < np.inf and neuron.tau_mem * ahead.slopes[k] >= STEEP * theta
        if steep and abs(t32 - t64) <= CLOSE_MS:
            tally.steep += 1
            tally.worst_ms = max(tally.worst_ms, abs(t32 - t64))
            remaining.pop(0)
            k += 1
        elif t32 < np.inf and abs(miss := potential(ahead, k, t32) - theta) <= CLOSE_V * theta:
            flat = neuron.tau_mem * slope(neuron, theta, ahead.state(t32)[1]) < STEEP * theta
            assert flat, f"steep spike at {t64} (float64) and {t32} (float32)"
            # One crossing in both precisions, or a maximum that float64 did not see pass the threshold?
            climb = np.array([ahead.state(t) for t in np.linspace(t32, min(t64, t1), 100)])
            paired = t64 <= t32 or (t64 < np.inf and np.all(slope(neuron, climb[:-1, 0], climb[:-1, 1]) > 0))
            tally.flat += paired
            tally.unpaired += not paired
            tally.worst_v = max(tally.worst_v, abs(miss) / theta)
            remaining.pop(0)
            i = ahead.state(t32)[1]
            ahead = simulate_neuron(times, charges, neuron, t1, neuron.reset(theta), i, t0=t32, held=neuron.refractory)
            k = 0
        else:
            assert t64 < np.inf, f"spike at {t32} in float32 only, V64 = {theta + miss}"
            until = min([t1, *times[times > t64]])
            excess = overshoot(ahead, k, until - t64)
            assert excess <= CLOSE_V * theta, f"spike at {t64} (float64), {t32} (float32), {excess=}"
            tally.unpaired += 1
            v, i = ahead.potential_without(k, until), ahead.state(t64)[1] * np.exp((t64 - until) / neuron.tau_syn)
            ahead, k = simulate_neuron(times, charges, neuron, t1, v, i, t0=until), 0


def to_float32(trial: Trial) -> Trial:
    return jax.tree.map(lambda leaf: leaf.astype(np.float32 if leaf.dtype == float else np.int32), trial)


def random_trials(inputs: int, trials: int) -> list[Trial]:
    """Poisson-like trials of 200 ms with tau_syn = 2 ms; weights in units of the PSP that reaches the threshold."""
    rng = np.random.default_rng(32 + inputs)
    mean, deviation = (0.1, 0.35) if inputs == 50 else (0.01, 0.08)
    tau_mem = 2.0 * np.tile([1.0, 2.0, 4.0, 10.0, 1.0000001], 4)
    psp = [flow(Neuron(tau, 2.0), np.linspace(0, 40, 1000), 0.0, 1.0)[0].max() for tau in tau_mem]
    batch = []
    for _ in range(trials):
        trial = random_trial(rng, inputs, duration=200.0, t1=200.0)
        weights = rng.normal(mean, deviation, (inputs, 20)) / np.array(psp)
        replaced = weights, tau_mem, np.full(20, 2.0), 0.4 * trial.bias
        trial = eqx.tree_at(lambda t: (t.weights, t.tau_mem, t.tau_syn, t.bias), trial, replaced)
        batch.append(to_float32(trial))
    return batch


@pytest.mark.parametrize(("inputs", "trials"), [(50, 12), pytest.param(500, 1, marks=pytest.mark.slow)])
def test_float32_spikes(inputs, trials):
    batch = random_trials(inputs, trials)
    tally = Tally()
    for trial, solution in zip(batch, solve(batch, TIMES), strict=True):
        rows = solution.spikes[0].times
        assert rows.dtype == np.float32
        for j, neuron in enumerate(trial.neurons()):
            times, charges = trial.times.astype(float), trial.weights[trial.index, j].astype(float)
            spikes = rows[j][rows[j] < np.inf].astype(float)
            compare(times, charges, neuron, 200.0, float(trial.v[j]), float(trial.i[j]), spikes, tally)
    print(tally)
    assert tally.steep > 50
    assert tally.unpaired <= 0.01 * (tally.steep + tally.flat)


def test_float32_near_tangential():
    """Excesses of +-1e-2 to +-1e-12: nothing missed above 1e-5, nothing invented below -1e-5, all crossings on V64."""
    batch = [to_float32(trial) for trial in near_tangential_trials()]
    for trial, solution in zip(batch, solve(batch, TIMES), strict=True):
        for j, spike in enumerate(solution.spikes[0].times[:, 0].astype(float)):
            neuron = Neuron(float(trial.tau_mem[j]), float(trial.tau_syn[j]), np.inf)
            path = simulate_neuron(trial.times.astype(float), trial.weights[:, j].astype(float), neuron)
            _, v, i, _ = path.pieces[-1]
            top = bisect(lambda t, n=neuron, v=v, i=i: -slope(n, *flow(n, t, v, i)), 0.0, 500.0)
            excess = float(flow(neuron, top, v, i)[0]) - 1.0
            if spike < np.inf:
                assert excess > -CLOSE_V and abs(path.state(spike)[0] - 1.0) <= CLOSE_V
            else:
                assert excess < CLOSE_V
