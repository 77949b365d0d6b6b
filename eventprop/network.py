"""Populations of neurons and the projections between them."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from eventprop.connections.base import AbstractConnection
from eventprop.neurons.base import AbstractNeuron, sends_spikes
from eventprop.parameters import as_arrays, whole


class Projection(eqx.Module):
    """The synapses from one population to another; `source` None: from the input of the network.

    connection: an `AbstractConnection`, or what a mask put in its place.
    """

    source: int | None = eqx.field(static=True, converter=lambda x: None if x is None else whole("source", x))
    target: int = eqx.field(static=True, converter=partial(whole, "target"))
    connection: Any


class AbstractNetwork(eqx.Module):
    """Populations, numbered from 0, and projections between them and from the input: a directed graph of any form."""

    neurons: eqx.AbstractVar[tuple[AbstractNeuron, ...]]
    """The populations."""
    projections: eqx.AbstractVar[tuple[Projection, ...]]
    """The edges."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of neurons of each population."""
        number = {projection.target: projection.connection.neurons for projection in self.projections}
        return tuple(number[population] for population in range(len(self.neurons)))

    @property
    def inputs(self) -> int:
        """Number of input sources."""
        return next(p.connection.sources for p in self.projections if p.source is None)

    def into(self, population: int) -> tuple[tuple[int, Projection], ...]:
        """The projections that end on a population, with their numbers."""
        return tuple((number, p) for number, p in enumerate(self.projections) if p.target == population)

    def components(self) -> tuple[tuple[int, ...], ...]:
        """Groups of populations that reach each other (most often single ones), sources before their targets."""
        count = len(self.neurons)
        reaches = [{population} for population in range(count)]
        for _ in range(count):
            for p in self.projections:
                if p.source is not None:
                    reaches[p.source] |= reaches[p.target]
        groups = {tuple(j for j in range(count) if j in reaches[i] and i in reaches[j]) for i in range(count)}
        # Whoever reaches more stands before what it reaches.
        return tuple(sorted(groups, key=lambda group: (-len(reaches[group[0]]), group)))

    def is_recurrent(self, component: tuple[int, ...]) -> bool:
        """Whether some spikes of a component return to it."""
        return any(p.source in component and p.target in component for p in self.projections)


class Network(AbstractNetwork):
    """Any topology: several populations, mutually recurrent ones, self-connections, connections that skip.

        Network(
            [LIF(...), LIF(...), LI(...)],
            [(None, 0, Dense(...)), (0, 1, Dense(...)), (1, 0, Dense(...)), (1, 2, Dense(...))],
        )

    Projections are (source, target, connection): populations by number, the input as None. Raises ValueError where
    they do not fit together, and for a population that nothing reaches.
    """

    neurons: tuple[AbstractNeuron, ...]
    projections: tuple[Projection, ...]

    def __init__(self, neurons: Iterable[AbstractNeuron], projections: Iterable[Projection | Sequence[Any]]):
        self.neurons = tuple(neurons)
        self.projections = tuple(
            p if isinstance(p, Projection) else _projection(number, p) for number, p in enumerate(projections)
        )
        check_network(self)


class FeedForward(AbstractNetwork):
    """Layers of neurons, each driven by the spikes of the one before.

        FeedForward([(Dense.init(5, 200, ...), LIF(...)), (Dense.init(200, 3, ...), LIF(...))])

    Only the last layer may be without spikes (`LI`). Raises ValueError where layers do not fit together.
    """

    layers: tuple[tuple[AbstractConnection, AbstractNeuron], ...]

    def __init__(self, layers: Iterable[tuple[AbstractConnection, AbstractNeuron]]):
        self.layers = tuple(_layer(number, layer, 2) for number, layer in enumerate(layers))
        check_network(self)

    @property
    def neurons(self) -> tuple[AbstractNeuron, ...]:
        """One population per layer."""
        return tuple(layer[1] for layer in self.layers)

    @property
    def projections(self) -> tuple[Projection, ...]:
        """Each layer's connection, from the layer before."""
        return tuple(
            Projection(number - 1 if number else None, number, layer[0])
            for number, layer in enumerate(self.layers)
            if _is_whole(layer)
        )


class Recurrent(AbstractNetwork):
    """Layers of neurons as in `FeedForward`, some with a connection from their own spikes to themselves as well.

        Recurrent([(Dense(...), LIF(...), Dense(..., delay=1.5)), (Dense(...), LIF(...))])

    A layer is (connection, neuron) or (connection, neuron, lateral connection).
    """

    layers: tuple[tuple[Any, ...], ...]

    def __init__(self, layers: Iterable[Sequence[Any]]):
        self.layers = tuple(_layer(number, layer, 3) for number, layer in enumerate(layers))
        check_network(self)

    @property
    def neurons(self) -> tuple[AbstractNeuron, ...]:
        """One population per layer."""
        return tuple(layer[1] for layer in self.layers)

    @property
    def projections(self) -> tuple[Projection, ...]:
        """Layer by layer, the connection from below and then the lateral one."""
        found = []
        for number, layer in enumerate(self.layers):
            if not _is_whole(layer):
                continue
            found.append(Projection(number - 1 if number else None, number, layer[0]))
            found += [Projection(number, number, lateral) for lateral in layer[2:]]
        return tuple(found)


def network_as_arrays(network: AbstractNetwork, dtype: Any) -> AbstractNetwork:
    """The network with all its numbers as arrays of one dtype; whole numbers that name neurons stay what they are."""
    targets, numbers = eqx.partition(network, lambda x: eqx.is_array(x) and jnp.issubdtype(x.dtype, jnp.integer))
    return eqx.combine(as_arrays("network", numbers, dtype), targets)


def check_network(network: AbstractNetwork) -> None:
    """Raise ValueError where populations and projections do not fit together."""
    count = len(network.neurons)
    if not count:
        raise ValueError("a network needs at least one layer (connection, neuron).")
    if not any(p.source is None for p in network.projections):
        raise ValueError("no projection comes from the input: one with the source None is needed.")
    for p in network.projections:
        if not (0 <= p.target < count and (p.source is None or 0 <= p.source < count)):
            raise ValueError(f"the projection {p.source} -> {p.target} names one of {count} populations that is none.")
        if 0 in (p.connection.sources, p.connection.neurons):
            raise ValueError(
                f"the weight of layer {p.target} has the shape {p.connection.weight.shape}: it needs at least one "
                "neuron and one source (which may be silent)."
            )
    for number, neuron in enumerate(network.neurons):
        into = [p.connection for _, p in network.into(number)]
        if not into:
            raise ValueError(f"no projection ends on layer {number}: it would never change.")
        sizes = {connection.neurons for connection in into}
        if len(sizes) > 1:
            raise ValueError(f"projections onto layer {number} have different numbers of neurons: {sorted(sizes)}.")
        for parameter in jax.tree.leaves(neuron):
            if jnp.ndim(parameter) == 1 and jnp.shape(parameter)[0] not in sizes:
                raise ValueError(
                    f"layer {number} has {into[0].neurons} neurons, but a parameter of its "
                    f"{type(neuron).__name__} has {jnp.shape(parameter)[0]} values."
                )
    for p in network.projections:
        _check_port(network.neurons[p.target], p)
        if p.source is None:
            if p.connection.sources != network.inputs:
                raise ValueError(
                    f"projections from the input have different numbers of sources: {network.inputs} and "
                    f"{p.connection.sources} (onto layer {p.target})."
                )
        elif not sends_spikes(network.neurons[p.source]):
            name = type(network.neurons[p.source]).__name__
            raise ValueError(f"layer {p.source} ({name}) does not spike, so layer {p.target} is silent.")
        elif network.sizes[p.source] != p.connection.sources:
            raise ValueError(
                f"layer {p.source} has {network.sizes[p.source]} neurons, but layer {p.target} has "
                f"{p.connection.sources} sources."
            )


def _check_port(neuron: AbstractNeuron, p: Projection) -> None:
    """Raise ValueError if a projection ends on a receptor that its target says it has not."""
    size = p.connection.neurons

    def receive():
        return neuron.receive(neuron.init(size), p.connection.port, jnp.zeros(size))

    try:
        jax.eval_shape(receive)
    except ValueError as error:
        raise ValueError(f"the projection {p.source} -> {p.target} cannot end where it says: {error}") from error


def _projection(number: int, given: Sequence[Any]) -> Projection:
    if len(given) != 3 or not isinstance(given[2], AbstractConnection):
        raise ValueError(f"projection {number} must be (source, target, connection), but is {given!r}.")
    return Projection(*given)


def _is_whole(layer: Any) -> bool:
    """Whether a layer is there: masks (`optax.masked`) put other things in its place."""
    return isinstance(layer, tuple) and len(layer) > 1


def _layer(number: int, layer: Any, most: int) -> tuple[Any, ...]:
    parts = tuple(layer) if isinstance(layer, list | tuple) else (layer,)
    kinds = (AbstractConnection, AbstractNeuron, AbstractConnection)[: len(parts)]
    if not 2 <= len(parts) <= most or not all(map(isinstance, parts, kinds)):
        wanted = "(connection, neuron)" if most == 2 else "(connection, neuron) or (connection, neuron, connection)"
        raise ValueError(f"layer {number} must be {wanted}, but is {layer!r}.")
    return parts
