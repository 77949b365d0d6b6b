"""Populations of neurons and projections between them, and what makes them fit together."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
from jaxtyping import Array, ArrayLike, Float

from gle.activations import as_activation
from gle.connections import AbstractConnection
from gle.feedback import AbstractFeedback, Transpose
from gle.gates import AbstractGate, Derivative
from gle.neurons import AbstractNeurons, per_neuron, smallest


class Population(AbstractNeurons):
    """`size` neurons without their synapses; the rest as in `gle.Layer`."""

    size: int = eqx.field(static=True)
    tau_m: Float[Array, " neurons"]
    tau_r: Float[Array, " neurons"]
    activation: Any
    gate: AbstractGate

    def __init__(
        self,
        size: int,
        tau_m: ArrayLike | Sequence[float | int],
        tau_r: ArrayLike | Sequence[float | int],
        activation: Any,
        *,
        gate: AbstractGate = Derivative(),
    ):
        if size < 1:
            raise ValueError(f"size must be at least 1, the number of neurons, but is {size}.")
        self.size = size
        self.tau_m, self.tau_r = per_neuron("tau_m", tau_m, size), per_neuron("tau_r", tau_r, size)
        self.activation, self.gate = as_activation(activation, size), gate


class Projection(eqx.Module):
    """The synapses from one population to another, or to itself.

    source, target: numbers of the populations; source None: from the input.
    feedback: how errors reach the source.
    """

    source: int | None = eqx.field(static=True)
    target: int = eqx.field(static=True)
    connection: AbstractConnection
    feedback: AbstractFeedback

    def __init__(
        self,
        source: int | None,
        target: int,
        connection: AbstractConnection,
        *,
        feedback: AbstractFeedback | None = None,
    ):
        if not isinstance(connection, AbstractConnection):
            raise ValueError(f"connection must be one such as gle.Dense.init(3, 2), but is {connection}.")
        self.source, self.target, self.connection = source, target, connection
        self.feedback = Transpose() if feedback is None else feedback
        self.feedback.check(connection)

    @property
    def returns(self) -> bool:
        """Whether it leads to the population that it comes from, or to one before that."""
        return self.source is not None and self.target <= self.source


def check_populations(populations: tuple[Population, ...], projections: tuple[Projection, ...]) -> None:
    """Refuses populations and projections that no graph can be made of."""
    if not populations or not all(isinstance(x, Population) for x in populations):
        raise ValueError(f"populations must be at least one gle.Population, but are {populations}.")
    if not all(isinstance(x, Projection) for x in projections):
        raise ValueError(f"projections must be gle.Projection objects, but are {projections}.")
    numbers, inputs = range(len(populations)), set()
    for p in projections:
        name = f"the projection {p.source} -> {p.target}"
        if p.target not in numbers or not (p.source is None or p.source in numbers):
            raise ValueError(f"{name} names one of {len(numbers)} populations that is none.")
        if p.connection.neurons != populations[p.target].size:
            raise ValueError(
                f"{name} leads to {p.connection.neurons} neurons, but the population has {populations[p.target].size}."
            )
        if p.source is None:
            inputs.add(p.connection.sources)
        elif p.connection.sources != populations[p.source].size:
            raise ValueError(
                f"{name} has {p.connection.sources} sources, but the population has {populations[p.source].size}."
            )
    if len(inputs) != 1:
        found = f"they have {sorted(inputs)} sources" if inputs else "none does"
        raise ValueError(f"projections with source None must come from one and the same input, but {found}.")
    idle = [number for number in numbers if not any(p.target == number for p in projections)]
    if idle:
        raise ValueError(f"no projection ends in population {idle[0]}: give it one, or leave it out.")
    for number, population in enumerate(populations):
        for name, tau in (("tau_m", population.tau_m), ("tau_r", population.tau_r)):
            if not smallest(tau) > 0:
                raise ValueError(
                    f"{name} of population {number} must be positive, but is {smallest(tau)} at least once."
                )
