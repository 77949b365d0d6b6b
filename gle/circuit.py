"""What a dendritic microcircuit consists of: conductances, state, signals, and what makes its parts fit together."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from gle.arrays import as_number, concrete
from gle.connections import Dense
from gle.feedback import AbstractFeedback

Rates = Float[Array, "... _"]


def positive(name: str) -> Callable[[ArrayLike], Any]:
    """A converter of settings: one number above zero."""

    def convert(value: ArrayLike) -> Any:
        if concrete(value) and not np.all(np.asarray(value) > 0):
            raise ValueError(f"{name} must be positive, but is {value}.")
        return as_number(name, value)

    return convert


class Conductances(eqx.Module):
    """Of the leak, and from the compartments to the soma, per unit of time; capacitances are 1.

    `basal` and `apical` of pyramidal cells, `dendritic` of interneurons, `somatic`: of the nudging of interneurons by
    the layer above, and of the outputs by their target.
    """

    leak: float | Array = eqx.field(default=0.03, converter=positive("leak"))
    basal: float | Array = eqx.field(default=0.1, converter=positive("basal"))
    apical: float | Array = eqx.field(default=0.06, converter=positive("apical"))
    dendritic: float | Array = eqx.field(default=0.1, converter=positive("dendritic"))
    somatic: float | Array = eqx.field(default=0.06, converter=positive("somatic"))


class CircuitState(NamedTuple):
    """Somatic potentials u of the pyramidal cells of each layer and of the interneurons below the top, and the
    prospective potentials of both as they have arrived at the neighbours.
    """

    pyramidal: tuple[Rates, ...]
    inter: tuple[Rates, ...]
    sent: tuple[Rates, ...]
    sent_inter: tuple[Rates, ...]


class CircuitSignals(NamedTuple):
    """Of a moment: what arrives at the layers, prospective potentials, compartments, and mismatches of each synapse.

    - `below`, `sent`, `sent_inter`: presynaptic rates: of the layer below, of each layer, and of its interneurons;
    - `potential`, `inter`: prospective potentials, `rate`, `inter_rate`: their phi;
    - `basal`, `apical`, `dendritic`: potentials of the compartments;
    - `error`, `inter_error`: phi(u~) - phi(what the dendrite predicts) of pyramidal cells and interneurons;
    - `noise`, `filtered`: of `Exploring`, the noise of the apical compartments and the high-passed rates of each layer.
    """

    derivative: CircuitState
    below: tuple[Rates, ...]
    sent: tuple[Rates, ...]
    sent_inter: tuple[Rates, ...]
    potential: tuple[Rates, ...]
    inter: tuple[Rates, ...]
    rate: tuple[Rates, ...]
    inter_rate: tuple[Rates, ...]
    basal: tuple[Rates, ...]
    apical: tuple[Rates, ...]
    dendritic: tuple[Rates, ...]
    error: tuple[Rates, ...]
    inter_error: tuple[Rates, ...]
    target: Rates | None = None
    noise: tuple[Rates, ...] | None = None
    filtered: tuple[Rates, ...] | None = None

    @property
    def output(self) -> Rates:
        """The prospective potentials of the output neurons."""
        return self.potential[-1]


def check_circuit(
    up: Sequence[Dense], to_inter: Sequence[Dense], from_inter: Sequence[Dense], feedback: Sequence[AbstractFeedback]
) -> None:
    """Refuses connections that no microcircuit can be made of."""
    if not up or not all(isinstance(connection, Dense) for connection in up):
        raise ValueError(f"up must be gle.Dense connections, at least one, but is {up}.")
    for number, (lower, upper) in enumerate(itertools.pairwise(up)):
        if lower.neurons != upper.sources:
            raise ValueError(f"up[{number}] has {lower.neurons} neurons, but up[{number + 1}] {upper.sources} sources.")
    for name, found in (("to_inter", to_inter), ("from_inter", from_inter), ("feedback", feedback)):
        if len(found) != len(up) - 1:
            raise ValueError(f"{name} needs {len(up) - 1} entries, one between any two layers.")
    for number, upper in enumerate(up[1:]):
        feedback[number].check(upper)
        wanted = (upper.neurons, upper.sources)
        to, back = to_inter[number], from_inter[number]
        for name, found in (("to_inter", (to.neurons, to.sources)), ("from_inter", (back.sources, back.neurons))):
            if found != wanted:
                raise ValueError(
                    f"{name}[{number}] must connect {upper.sources} pyramidal cells with {upper.neurons} interneurons, "
                    f"one for each cell of the layer above, but {name}[{number}] connects {found[1]} with {found[0]}."
                )
