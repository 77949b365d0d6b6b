"""Networks of LIF neurons of any topology by brute force: the slow, obvious float64 NumPy reference.

Every neuron is followed from arrival to arrival with its next crossing (bisected, see `reference`) in mind. The
earliest moment of all, an arrival or a crossing, comes next. At one moment all that reach their threshold fire first,
and then all that arrives acts, so that a spike without delay is felt by those only that have not fired with it.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tests.eventprop.reference import Neuron, first_crossing, flow


@dataclass(frozen=True)
class Projection:
    """Synapses weight [post, pre] from a population (None: the input) to another; delay: one, [pre], or [post, pre]."""

    source: int | None
    target: int
    weight: np.ndarray
    delay: float | np.ndarray = 0.0

    def delays(self) -> np.ndarray:
        return np.broadcast_to(np.asarray(self.delay, float), self.weight.shape)


@dataclass
class Cell:
    """One neuron at time t: its state, when it is released, its spikes, and the integral of its potential."""

    neuron: Neuron
    t: float = 0.0
    v: float = 0.0
    i: float = 0.0
    free_at: float = 0.0
    fires_at: float = np.inf
    spikes: list[float] = field(default_factory=list)
    slopes: list[float] = field(default_factory=list)
    integral: float = 0.0

    def look_ahead(self) -> None:
        """When it fires if nothing arrives before."""
        begin = max(self.t, self.free_at)
        if begin == np.inf:
            self.fires_at = np.inf
            return
        i = self.i * np.exp(-(begin - self.t) / self.neuron.tau_syn)
        wait = first_crossing(self.neuron, self.v, i, np.inf)
        self.fires_at = np.inf if wait is None else begin + wait

    def at(self, t: float) -> tuple[float, float]:
        """(V, I) at a later time, if nothing happens before."""
        begin = min(max(self.t, self.free_at), t)
        i = self.i * np.exp(-(begin - self.t) / self.neuron.tau_syn)
        return tuple(float(x) for x in flow(self.neuron, t - begin, self.v, i))

    def advance(self, t: float) -> None:
        """To time t. The integral of V follows from those of tau_mem V' = -V + I + bias and tau_syn I' = -I."""
        begin = min(max(self.t, self.free_at), t)
        released = self.i * np.exp(-(begin - self.t) / self.neuron.tau_syn)
        v, i = self.at(t)
        free = (
            self.neuron.tau_syn * (released - i) + self.neuron.bias * (t - begin) - self.neuron.tau_mem * (v - self.v)
        )
        self.integral += self.v * (begin - self.t) + free
        self.t, self.v, self.i = t, v, i

    def fire(self, t: float) -> None:
        self.advance(t)
        self.spikes.append(t)
        self.slopes.append((self.i + self.neuron.bias - self.v) / self.neuron.tau_mem)
        self.v = self.neuron.reset(self.neuron.threshold)
        self.free_at = t + self.neuron.refractory
        self.look_ahead()


@dataclass
class Run:
    """What became of a trial: the neurons at its end, potentials [times, neurons], and what is still under way.

    `in_flight`: (time counted from the end, projection, source, neuron).
    """

    cells: list[list[Cell]]
    potentials: list[np.ndarray]
    in_flight: list[tuple[float, int, int, int]]

    def trains(self, population: int, capacity: int) -> np.ndarray:
        """Spike times padded with inf: [neurons, capacity]."""
        padded = np.full((len(self.cells[population]), capacity), np.inf)
        for row, cell in zip(padded, self.cells[population], strict=True):
            row[: len(cell.spikes)] = cell.spikes
        return padded

    def values(self, population: int, name: str) -> np.ndarray:
        """One number of each neuron, e.g. its `v`."""
        return np.array([getattr(cell, name) for cell in self.cells[population]])

    def slopes(self) -> np.ndarray:
        """V' at all spikes."""
        return np.array([slope for cells in self.cells for cell in cells for slope in cell.slopes])


def simulate(
    populations: Sequence[Sequence[Neuron]],
    projections: Sequence[Projection],
    times: Sequence[float],
    sources: Sequence[int],
    t1: float,
    *,
    start: Sequence[Sequence[tuple[float, float, float]]] | None = None,
    in_flight: Sequence[tuple[float, int, int, int]] = (),
    ts: Sequence[float] = (),
    most_spikes: int = 100_000,
) -> Run:
    """The window [0, t1). `start`: (V, I, time held) of each neuron; one at its threshold fires at 0."""
    cells = [[Cell(neuron) for neuron in population] for population in populations]
    agenda: list[tuple[float, int, int, int]] = sorted(in_flight)

    def send(source: int | None, index: int, t: float) -> None:
        for number, p in enumerate(projections):
            if p.source == source:
                for neuron, delay in enumerate(p.delays()[:, index]):
                    heapq.heappush(agenda, (t + float(delay), number, index, neuron))

    for t, source in zip(times, sources, strict=True):
        if t < t1:
            send(None, int(source), float(t))
    for number, population in enumerate(cells):
        for neuron, cell in enumerate(population):
            if start is not None:
                cell.v, cell.i, cell.free_at = start[number][neuron]
            cell.look_ahead()
            if cell.v >= cell.neuron.threshold:
                cell.fires_at = 0.0
    samples = sorted(range(len(ts)), key=lambda k: ts[k])
    potentials = [np.zeros((len(ts), len(population))) for population in populations]
    count = 0
    while True:
        due = min((cell.fires_at for population in cells for cell in population), default=np.inf)
        now = min(due, agenda[0][0] if agenda else np.inf)
        while samples and (ts[samples[0]] < now or now >= t1):
            at = samples.pop(0)
            for row, population in zip(potentials, cells, strict=True):
                row[at] = [cell.at(min(ts[at], t1))[0] for cell in population]
        if now >= t1:
            break
        for number, population in enumerate(cells):
            for index, cell in enumerate(population):
                if cell.fires_at == now:
                    cell.fire(now)
                    send(number, index, now)
                    count += 1
        if count > most_spikes:
            raise RuntimeError(f"more than {most_spikes} spikes")
        touched = {}
        while agenda and agenda[0][0] == now:
            _, number, index, neuron = heapq.heappop(agenda)
            cell = cells[projections[number].target][neuron]
            cell.advance(now)
            cell.i += projections[number].weight[neuron, index]
            touched[id(cell)] = cell
        for cell in touched.values():
            cell.look_ahead()
    for population in cells:
        for cell in population:
            cell.advance(t1)
    return Run(cells, potentials, sorted((t - t1, *rest) for t, *rest in agenda))
