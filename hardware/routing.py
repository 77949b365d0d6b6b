"""Finding circuits, row pairs, buses and labels for a network: the chip's constraints, from shapes alone."""

import dataclasses
import itertools
import math
from typing import Any

import numpy as np

from eventprop import AbstractNetwork
from eventprop.neurons.base import sends_spikes
from eventprop.parameters import check_type, whole
from hardware.limits import BSS2, Limits
from hardware.placement import Placement, Route


class _NeedsMoreCircuits(Exception):
    """The neurons of a population have to be made of more circuits each."""

    def __init__(self, population: int, reason: str):
        super().__init__(reason)
        self.population, self.reason = population, reason


def place(network: AbstractNetwork, limits: Limits = BSS2, input_repetitions: int = 1, avoid: Any = ()) -> Placement:
    """Circuits for the neurons of a network, row pairs for its synapses, labels for its events.

    - A neuron is made of the fewest circuits that hold its inputs: one, or an even number of them, in both rows of
      circuits and neighbouring columns of one half of the chip. Each circuit offers 128 signed inputs.
    - Row pair d of an array listens to its bus d mod 4. The spikes of a neuron in column c come out at output c // 32,
      which reaches the buses (c // 32) mod 4; inputs from outside reach all of them.
    - A synapse tells 64 labels apart, so a bus carries at most 64 sources.

    input_repetitions: row pairs of each input synapse, whose weights then reach 63 times that.
    avoid: numbers of circuits that no neuron shall have, as those whose calibration failed,
    `np.flatnonzero(~calibration.success)`.

    Only shapes matter, so that one placement serves all chips; connections of any kind are placed as if they were
    dense. Raises ValueError for what the chip cannot route, and names the constraint; for delays, which it has not.
    """
    check_type("network", network, AbstractNetwork)
    check_type("limits", limits, Limits)
    input_repetitions = whole("input_repetitions", input_repetitions, 1)
    usable = _usable(avoid, limits)
    for p in network.projections:
        if p.connection.delay is not None:
            raise ValueError(f"the projection {p.source} -> {p.target} has a delay, which the chip has not: use None.")
    fan_in = [
        sum(p.connection.sources * (input_repetitions if p.source is None else 1) for _, p in network.into(population))
        for population in range(len(network.neurons))
    ]
    merged = [_even(math.ceil(inputs / limits.fan_in)) for inputs in fan_in]
    reason = f"fan-in: {max(fan_in)} signed inputs per neuron, of which one circuit holds {limits.fan_in}"
    while True:
        circuits = _circuits(network.sizes, merged, usable.copy(), reason)
        try:
            return _Router(network, circuits, limits, input_repetitions).placement()
        except _NeedsMoreCircuits as need:
            merged[need.population] = _even(merged[need.population] + 1)
            reason = need.reason


def _even(number: int) -> int:
    return number if number == 1 else number + number % 2


def _usable(avoid: Any, limits: Limits) -> np.ndarray:
    """[arrays, columns]: whether a neuron may have this circuit."""
    avoided = np.asarray(avoid)
    numbers = avoided.size == 0 or np.issubdtype(avoided.dtype, np.integer)
    if not numbers or avoided.ndim != 1 or np.any((avoided < 0) | (avoided >= limits.circuits)):
        raise ValueError(
            f"avoid must be a list of circuits, whole numbers from 0 to {limits.circuits - 1}, but is {avoid}."
        )
    usable = np.ones(limits.circuits, bool)
    usable[avoided.astype(int)] = False
    return usable.reshape(limits.arrays, limits.columns)


def _circuits(sizes: tuple[int, ...], merged: list[int], usable: np.ndarray, reason: str) -> tuple[np.ndarray, ...]:
    """The circuits [neurons, merged] of each population, column by column. The wide ones come first."""
    there, found = int(np.sum(usable)), {}
    try:
        for population in sorted(range(len(sizes)), key=lambda number: (merged[number] == 1, number)):
            size, number = sizes[population], merged[population]
            found[population] = _single(size, usable) if number == 1 else _blocks(size, number // len(usable), usable)
    except IndexError:
        wanted = sum(size * number for size, number in zip(sizes, merged, strict=True))
        raise ValueError(
            f"the network does not fit: populations of {list(sizes)} neurons with {merged} circuits each are {wanted} "
            f"circuits, and the chip has {there}, of which a neuron takes those of one half ({reason}). Fewer inputs "
            "per neuron need fewer circuits."
        ) from None
    return tuple(found[population] for population in range(len(sizes)))


def _single(size: int, usable: np.ndarray) -> np.ndarray:
    """One circuit per neuron, in one row where there is room; they are used up."""
    roomy = [row for row, free in enumerate(usable) if np.sum(free) >= size]
    rows, columns = roomy[:1] or range(len(usable)), usable.shape[1]
    found = [row * columns + int(column) for row in rows for column in np.flatnonzero(usable[row])][:size]
    if len(found) < size:
        raise IndexError
    usable.flat[found] = False
    return np.asarray(found)[:, None]


def _blocks(size: int, width: int, usable: np.ndarray) -> np.ndarray:
    """Neurons of `width` columns and all rows, which are used up; none lies across the middle."""
    (rows, columns), start, found = usable.shape, 0, []
    while len(found) < size:
        if start + width > columns:
            raise IndexError
        block = slice(start, start + width)
        across = start < columns // 2 < start + width
        if across or not np.all(usable[:, block]):
            start += 1
            continue
        usable[:, block] = False
        found.append([row * columns + column for column in range(start, start + width) for row in range(rows)])
        start += width
    return np.asarray(found)


@dataclasses.dataclass
class _Router:
    """Row pairs and labels, handed out one source after the other."""

    network: AbstractNetwork
    circuits: tuple[np.ndarray, ...]
    limits: Limits
    repetitions: int

    def __post_init__(self):
        limits = self.limits
        # For each population and merged circuit of its neurons: the arrays that they are in.
        self.arrays = [
            [sorted({int(c) // limits.columns for c in column}) for column in each.T] for each in self.circuits
        ]
        self.pairs = [[set() for _ in parts] for parts in self.arrays]
        # What each label means on each bus of each array.
        self.taken: dict[tuple[int, int], dict[int, object]] = {
            (array, bus): {} for array in range(limits.arrays) for bus in range(limits.buses)
        }
        self.inputs: dict[tuple[int, int], set[int]] = {at: set() for at in self.taken}
        self.full: set[tuple[int, int]] = set()
        self.label: dict[object, int] = {}
        self.at: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for number, p in enumerate(self.network.projections):
            shape = (p.connection.sources, self.repetitions if p.source is None else 1)
            self.at[number] = (np.zeros(shape, int), np.zeros(shape, int))

    def placement(self) -> Placement:
        """Internal sources first, whose buses are given; inputs where there is room left."""
        self.route_internal()
        self.label_internal()
        self.route_external()
        self.label_external()
        routes = []
        for number, p in enumerate(self.network.projections):
            labels = [self.label[p.source, i] for i in range(p.connection.sources)]
            routes.append(Route(*self.at[number], np.asarray(labels)))
        return Placement(self.circuits, tuple(routes))

    def output(self, population: int, neuron: int) -> int:
        return int(self.limits.output()[self.circuits[population][neuron, 0]])

    def allowed(self, source: int, array: int, bus: int) -> bool:
        return (source, self.limits.buses * array + bus) not in self.limits.disabled

    def free_pair(self, population: int, part: int, bus: int) -> int | None:
        """The first row pair of a bus that this circuit has not used."""
        used = self.pairs[population][part]
        free = (d for d in range(bus, self.limits.fan_in, self.limits.buses) if d not in used)
        return next(free, None)

    def take(self, number: int, source: int, copy: int, part: int, pair: int) -> None:
        self.pairs[self.network.projections[number].target][part].add(pair)
        pairs, slots = self.at[number]
        pairs[source, copy], slots[source, copy] = pair, part

    def route_internal(self) -> None:
        limits = self.limits
        for number, p in enumerate(self.network.projections):
            if p.source is None:
                continue
            for neuron in range(p.connection.sources):
                k = self.output(p.source, neuron)
                bus, home = k % limits.buses, k // limits.buses
                parts = [
                    part
                    for part, arrays in enumerate(self.arrays[p.target])
                    if all(self.allowed(k, array, bus) for array in arrays)
                ]
                if not parts:
                    raise ValueError(
                        f"output {k} of population {p.source} cannot reach bus {bus} of the arrays of population "
                        f"{p.target}: the routes are disabled ({limits.disabled})."
                    )
                parts.sort(key=lambda part: (self.arrays[p.target][part] != [home % limits.arrays], part))
                at = [(part, pair) for part in parts if (pair := self.free_pair(p.target, part, bus)) is not None]
                if not at:
                    raise _NeedsMoreCircuits(
                        p.target,
                        f"buses: more than {len(parts) * limits.fan_in // limits.buses} neurons of population "
                        f"{p.source} send to population {p.target} on bus {bus}, which has "
                        f"{limits.fan_in // limits.buses} row pairs per circuit",
                    )
                self.take(number, neuron, 0, *at[0])

    def label_internal(self) -> None:
        """A label for every neuron that spikes, its own on all buses that its output reaches."""
        limits, reached = self.limits, {k: set() for k in range(self.limits.outputs)}
        for number, p in enumerate(self.network.projections):
            if p.source is not None:
                for neuron in range(p.connection.sources):
                    k = self.output(p.source, neuron)
                    arrays = self.arrays[p.target][self.at[number][1][neuron, 0]]
                    reached[k] |= {(array, k % limits.buses) for array in arrays}
        width = limits.columns // limits.outputs
        for population, neuron in enumerate(self.network.neurons):
            if not sends_spikes(neuron):
                continue
            for i in range(self.network.sizes[population]):
                circuit = int(self.circuits[population][i, 0])
                first = circuit % width + width * (circuit // limits.columns)
                buses = reached[self.output(population, i)]
                label = self.find_label(buses, first)
                if label is None:
                    raise ValueError(self.too_many_labels(f"neuron {i} of population {population}", buses))
                self.assign((population, i), label, buses)

    def route_external(self) -> None:
        """On the bus i mod 4 if there is room, so that repetitions need one event; else on the next one."""
        limits, copies = self.limits, range(self.repetitions)
        for number, p in enumerate(self.network.projections):
            if p.source is not None:
                continue
            for i, copy in itertools.product(range(p.connection.sources), copies):
                found = self.input_pair(p.target, i)
                if found is None:
                    if self.full:
                        raise ValueError(self.too_many_labels(f"input {i}", self.full))
                    raise _NeedsMoreCircuits(
                        p.target, f"buses: those that inputs reach have no row pairs left for population {p.target}"
                    )
                part, pair = found
                self.take(number, i, copy, part, pair)
                for array in self.arrays[p.target][part]:
                    self.inputs[array, pair % limits.buses].add(i)

    def input_pair(self, target: int, i: int) -> tuple[int, int] | None:
        """A merged circuit and a row pair of it for input i."""
        limits = self.limits
        self.full = set()
        for bus in [(i + step) % limits.buses for step in range(limits.buses)]:
            for part, arrays in enumerate(self.arrays[target]):
                open_ = all(any(self.allowed(8 + link, array, bus) for link in range(4)) for array in arrays)
                pair = self.free_pair(target, part, bus) if open_ else None
                full = {
                    at
                    for at in ((array, bus) for array in arrays)
                    if i not in self.inputs[at] and len(self.inputs[at]) + len(self.taken[at]) >= limits.addresses
                }
                if pair is not None and not full:
                    return part, pair
                if pair is not None:
                    self.full |= full
        return None

    def label_external(self) -> None:
        """A label for every input, its own on all buses that it is sent to."""
        for i in range(self.network.inputs):
            buses = {at for at, sources in self.inputs.items() if i in sources}
            label = self.find_label(buses, i // self.limits.buses % 32 + 32)
            if label is None:
                raise ValueError(self.too_many_labels(f"input {i}", buses))
            self.assign((None, i), label, buses)

    def find_label(self, buses: set[tuple[int, int]], first: int) -> int | None:
        """The first label that is free on these buses."""
        names = range(self.limits.addresses)
        free = (n for n in [first, *names] if n in names and not any(n in self.taken[bus] for bus in buses))
        return next(free, None)

    def assign(self, source: object, label: int, buses: set[tuple[int, int]]) -> None:
        self.label[source] = label
        for bus in buses:
            self.taken[bus][label] = source

    def too_many_labels(self, who: str, buses: set[tuple[int, int]]) -> str:
        return (
            f"labels: {who} finds no label on the buses (array, bus) {sorted(buses)}: a synapse tells "
            f"{self.limits.addresses} sources of a bus apart, and all of them are taken. All inputs, and all neurons "
            f"that have targets, share {self.limits.buses} buses of each row of circuits: take fewer."
        )
