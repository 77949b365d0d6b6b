"""Leaky integrate-and-fire neurons by brute force: the slow, obvious float64 NumPy reference of the closed-form solver.

    tau_mem V' = -V + I + bias,    tau_syn I' = -I,    an event from source i adds weights[i, j] to I_j

A neuron is followed from event to event. In each stretch V is evaluated on a grid, sign changes of V' are bisected to
find the maxima, and the first grid point or maximum at or above threshold is bisected to the crossing time. Nothing is
assumed about the shape of V except that it turns at most once between two grid points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

GRID = 200
SETTLED = 60.0  # time constants after which V has reached its limit to float64 precision
MOST_SPIKES = 1000


@dataclass(frozen=True)
class Neuron:
    """Parameters of one neuron. `reset_value=None` subtracts the threshold; `refractory` 0 is none, inf is for ever."""

    tau_mem: float = 20.0
    tau_syn: float = 5.0
    threshold: float = 1.0
    reset_value: float | None = None
    refractory: float = 0.0
    bias: float = 0.0

    def reset(self, v: float) -> float:
        return v - self.threshold if self.reset_value is None else self.reset_value


def flow(neuron: Neuron, t, v, i):
    """(V, I) a time `t` after the state (v, i), without input, threshold and reset; broadcasts over `t`."""
    rate_mem, rate_syn = 1.0 / neuron.tau_mem, 1.0 / neuron.tau_syn
    half_difference = 0.5 * (rate_mem - rate_syn)
    x = np.asarray(half_difference * t)
    near = np.where(np.abs(x) < 1.0, x, 1.0)
    shape = np.where(near == 0.0, 1.0, np.sinh(near) / np.where(near == 0.0, 1.0, near))
    near_equal = t * rate_mem * np.exp(-0.5 * (rate_mem + rate_syn) * t) * shape
    far = np.where(np.abs(x) < 1.0, 1.0, 2.0 * half_difference)
    apart = rate_mem * (np.exp(-rate_syn * t) - np.exp(-rate_mem * t)) / far
    kernel = np.where(np.abs(x) < 1.0, near_equal, apart)
    voltage = neuron.bias + (v - neuron.bias) * np.exp(-rate_mem * t) + i * kernel
    return voltage, i * np.exp(-rate_syn * t)


def slope(neuron: Neuron, v, i):
    """V' in the state (v, i)."""
    return (-v + i + neuron.bias) / neuron.tau_mem


def bisect(function: Callable, left: float, right: float) -> float:
    """The sign change of `function` between `left` and `right` to the last bits: its first point past the change.

    Each round splits the bracket into 64 parts, which NumPy does as fast as into two.
    """
    positive = function(left) > 0.0
    for _ in range(10):
        points = np.linspace(left, right, 65)
        changed = (function(points) > 0.0) != positive
        assert changed[-1], "no sign change"
        left, right = points[np.argmax(changed) - 1], points[np.argmax(changed)]
    return right


def first_crossing(neuron: Neuron, v: float, i: float, duration: float) -> float | None:
    """Time after the state (v, i) at which V first reaches the threshold, if it does so within `duration`."""
    end = min(duration, SETTLED * max(neuron.tau_mem, neuron.tau_syn))
    grid = np.linspace(0.0, end, GRID)
    rising = slope(neuron, *flow(neuron, grid, v, i)) > 0.0
    tops = np.flatnonzero(rising[:-1] & ~rising[1:])
    maxima = [bisect(lambda t: slope(neuron, *flow(neuron, t, v, i)), grid[k], grid[k + 1]) for k in tops]
    points = np.sort(np.concatenate([grid, maxima]))
    above = np.flatnonzero(flow(neuron, points, v, i)[0] >= neuron.threshold)
    if above.size == 0 or above[0] == 0:
        return None
    left, right = points[above[0] - 1], points[above[0]]
    return bisect(lambda t: flow(neuron, t, v, i)[0] - neuron.threshold, left, right)


@dataclass
class Trajectory:
    """One neuron's trial: pieces (start, V, I, held) between events, spike times, and V' just before each spike."""

    neuron: Neuron
    pieces: list[tuple[float, float, float, bool]]
    spikes: list[float]
    slopes: list[float]

    def state(self, t: float) -> tuple[float, float]:
        """(V, I) at time `t`, after the events at `t`."""
        starts = [piece[0] for piece in self.pieces]
        start, v, i, held = self.pieces[int(np.searchsorted(starts, t, side="right")) - 1]
        later_v, later_i = flow(self.neuron, t - start, v, i)
        return (v if held else float(later_v)), float(later_i)

    def potential(self, times) -> np.ndarray:
        return np.array([self.state(t)[0] for t in times])

    def potential_without(self, spike: int, t: float) -> float:
        """V at `t` near spike number `spike`, had that spike not reset it (and no later one happened)."""
        before = [piece for piece in self.pieces if piece[0] < self.spikes[spike]]
        start, v, i, held = before[-1]
        assert not held
        return float(flow(self.neuron, t - start, v, i)[0])


def simulate_neuron(
    times,
    charges,
    neuron: Neuron,
    t1: float = np.inf,
    v0: float = 0.0,
    i0: float = 0.0,
    *,
    t0: float = 0.0,
    held: float = 0.0,
) -> Trajectory:
    """Follow one neuron from `t0` to `t1`; `times` are sorted; `held` is the refractory time that is left at `t0`."""
    times, charges = np.asarray(times, float), np.asarray(charges, float)
    t, v, i, free_at, k = t0, v0, i0, t0 + held, int(np.searchsorted(times, t0))
    trajectory = Trajectory(neuron, [(t, v, i, free_at > t)], [], [])
    while t < t1:
        is_held = free_at > t
        until = min(times[k] if k < len(times) else np.inf, t1, free_at if is_held else np.inf)
        wait = None if is_held else first_crossing(neuron, v, i, until - t)
        if wait is not None:
            v, i = (float(x) for x in flow(neuron, wait, v, i))
            t += wait
            trajectory.spikes.append(t)
            trajectory.slopes.append(float(slope(neuron, v, i)))
            if len(trajectory.spikes) > MOST_SPIKES:
                raise RuntimeError(f"more than {MOST_SPIKES} spikes")
            v = neuron.reset(neuron.threshold)
            free_at = t + neuron.refractory
        elif until == np.inf:
            break
        else:
            later_v, later_i = flow(neuron, until - t, v, i)
            t, v, i = until, v if is_held else float(later_v), float(later_i)
            while k < len(times) and times[k] == t:
                i += charges[k]
                k += 1
        trajectory.pieces.append((t, v, i, free_at > t))
    return trajectory


def simulate_layer(
    times, sources, weights, neurons: Neuron | Sequence[Neuron], t1: float = np.inf, v0=0.0, i0=0.0
) -> list[Trajectory]:
    """One trajectory per column of `weights` [inputs, neurons]; events (times, sources) need not be sorted."""
    times, sources, weights = np.asarray(times, float), np.asarray(sources, int), np.asarray(weights, float)
    order = np.argsort(times, kind="stable")
    order = order[np.isfinite(times[order])]
    size = weights.shape[1]
    neurons = [neurons] * size if isinstance(neurons, Neuron) else neurons
    v0, i0 = np.broadcast_to(v0, size), np.broadcast_to(i0, size)
    return [
        simulate_neuron(times[order], weights[sources[order], j], neurons[j], t1, float(v0[j]), float(i0[j]))
        for j in range(size)
    ]


def events(layer: Sequence[Trajectory]) -> tuple[np.ndarray, np.ndarray]:
    """All spikes of a layer as (times, sources), sorted."""
    times = np.concatenate([np.asarray(trajectory.spikes, float) for trajectory in layer])
    sources = np.concatenate([np.full(len(trajectory.spikes), j) for j, trajectory in enumerate(layer)])
    order = np.argsort(times, kind="stable")
    return times[order], sources[order].astype(int)


def simulate_network(times, sources, layers, t1: float = np.inf) -> list[list[Trajectory]]:
    """Feed-forward chain; `layers` is a list of (weights [inputs, neurons], neuron or neurons)."""
    result = []
    for weights, neurons in layers:
        result.append(simulate_layer(times, sources, weights, neurons, t1))
        times, sources = events(result[-1])
    return result


def trains(layer: Sequence[Trajectory], capacity: int) -> np.ndarray:
    """Spike times padded with inf: [neurons, capacity]."""
    padded = np.full((len(layer), capacity), np.inf)
    for row, trajectory in zip(padded, layer, strict=True):
        row[: len(trajectory.spikes)] = trajectory.spikes
    return padded
