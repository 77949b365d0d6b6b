"""Where the neurons and synapses of a network sit on a chip."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from eventprop import AbstractNetwork


@dataclasses.dataclass(frozen=True, eq=False)
class Route:
    """The synapses of one projection: source i drives `row_pairs[i]`, whose synapses end on a part of every neuron.

    A signed weight takes a pair of rows, 2 p for excitation and 2 p + 1 for inhibition. Several pairs per source (input
    repetitions) hold larger weights: the first takes up to 63, the next what is left.

    row_pairs: [sources, repetitions], 0 to 127, of the array that serves the circuit.
    slots: [sources, repetitions], which of a neuron's merged circuits it is.
    labels: [sources], the labels of their events, 0 to 63, each bus its own.
    """

    row_pairs: np.ndarray
    slots: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        if self.row_pairs.ndim != 2 or self.row_pairs.shape != self.slots.shape:
            raise ValueError(
                f"row_pairs and slots must both be [sources, repetitions], but have the shapes {self.row_pairs.shape} "
                f"and {self.slots.shape}."
            )


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Placement:
    """A network on a chip: static data, made of shapes only.

    circuits: of each population [neurons, merged circuits]; the first one of a neuron has the spikes.
    routes: of each projection, in the order of the network's.
    """

    circuits: tuple[np.ndarray, ...]
    routes: tuple[Route, ...]

    def __repr__(self) -> str:
        neurons, merged = zip(*(circuits.shape for circuits in self.circuits), strict=True)
        sources = [len(route.row_pairs) for route in self.routes]
        return (
            f"Placement(neurons={[*neurons]}, circuits_per_neuron={[*merged]}, sources={sources}, "
            f"repetitions={[*self.repetitions]})"
        )

    @property
    def repetitions(self) -> tuple[int, ...]:
        """Row pairs per synapse of each projection: weights reach 63 times that."""
        return tuple(route.row_pairs.shape[1] for route in self.routes)

    def check(self, network: AbstractNetwork) -> None:
        """Raise ValueError if this is the placement of another network."""
        needed = [*network.sizes], [p.connection.sources for p in network.projections]
        placed = [len(circuits) for circuits in self.circuits], [len(route.row_pairs) for route in self.routes]
        if placed != needed:
            raise ValueError(
                f"this is the placement of another network, of {placed[0]} neurons and {placed[1]} sources, but this "
                f"one has {needed[0]} and {needed[1]}: place(network) anew."
            )

    def check_madc(self, neurons: Sequence[tuple[int, int]]) -> None:
        """Raise ValueError if the MADC is to see two even circuits at once, or two odd ones."""
        parity = [int(self.circuits[population][neuron, 0]) % 2 for population, neuron in neurons]
        if len(set(parity)) < len(parity):
            raise ValueError(
                f"record.madc = {neurons} are both on {'odd' if parity[0] else 'even'} circuits, but the MADC sees one "
                "of each: record one after the other."
            )

    def _key(self) -> tuple:
        arrays = [*self.circuits, *(x for r in self.routes for x in (r.row_pairs, r.slots, r.labels))]
        return len(self.circuits), tuple((x.shape, np.asarray(x, np.int64).tobytes()) for x in arrays)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Placement) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())
