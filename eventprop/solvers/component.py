"""Populations that hear each other, side by side as one, and what arrives at them."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from eventprop.closed_form import LinearNeuron, Membrane
from eventprop.connections.base import AbstractConnection
from eventprop.solvers.afferents import Afferents, InFlight
from eventprop.solvers.trial import LayerTrial, layer_trial


class Pathway(eqx.Module):
    """A projection onto a component: its synapses end on the neurons from `first` on.

    source: the first of the neurons that it comes from, and None if it comes from outside. known: what is on its way
    from the start, or what comes from outside.
    """

    connection: AbstractConnection
    known: InFlight
    source: int | None = eqx.field(static=True)
    first: int = eqx.field(static=True)

    def place(
        self, values: Float[Array, "events columns"], neurons: int, fill: float
    ) -> Float[Array, "events neurons"]:
        """Values at the synapses, one column for all or one for each neuron, as columns of the component's neurons."""
        own = self.connection.neurons
        values = jnp.broadcast_to(values, (values.shape[0], own))
        behind = neurons - self.first - own
        return jnp.pad(values, ((0, 0), (self.first, behind)), constant_values=fill)


class Component(eqx.Module):
    """Neurons of several populations, one after the other, and the pathways between them and from outside.

    trial: the neurons and their initial state, without input; its end is that of the window, which may be infinite.
    sizes: numbers of neurons of the populations.
    """

    trial: LayerTrial
    pathways: tuple[Pathway, ...]
    sizes: tuple[int, ...] = eqx.field(static=True)

    @property
    def neurons(self) -> int:
        """Number of neurons of all populations."""
        return sum(self.sizes)

    @property
    def columns(self) -> int:
        """An event reaches all neurons at once, 1, or each at its own time, as many as there are neurons."""
        return self.neurons if any(p.connection.per_synapse for p in self.pathways) else 1

    @property
    def inner(self) -> tuple[Pathway, ...]:
        """The pathways that begin within the component."""
        return tuple(p for p in self.pathways if p.source is not None)

    def split(self, values: Array) -> tuple[Array, ...]:
        """Values of all neurons, the last axis, population by population."""
        starts = [sum(self.sizes[:k]) for k in range(1, len(self.sizes))]
        return tuple(jnp.split(values, starts, axis=-1))


def component_of(
    neurons: Sequence[LinearNeuron],
    coordinates: Sequence[tuple[Array, Array, Array]],
    pathways: Sequence[Pathway],
    t1: Array,
    *,
    at_rest: bool,
) -> tuple[Component, LinearNeuron]:
    """Put populations and their coordinates (V, I, time held) at 0 side by side. The neurons are returned as well."""
    sizes = tuple(v.shape[0] for v, _, _ in coordinates)
    neuron = _side_by_side(neurons, sizes)
    v, i, held = (jnp.concatenate(x) for x in zip(*coordinates, strict=True))
    nothing = Afferents(jnp.zeros((0, 1), v.dtype), jnp.zeros(0, jnp.int32), jnp.zeros((1, v.shape[0]), v.dtype))
    trial = layer_trial(neuron, (v, i, held), nothing, t1, at_rest=at_rest)
    return Component(eqx.tree_at(lambda trial: trial.end, trial, t1), tuple(pathways), sizes), neuron


def _side_by_side(neurons: Sequence[LinearNeuron], sizes: Sequence[int]) -> LinearNeuron:
    """One population with the parameters of all. Without refractory period where others have one is a period of 0."""

    def join(values):
        if len(values) == 1:
            return values[0]
        return jnp.concatenate([jnp.broadcast_to(x, (size,)) for x, size in zip(values, sizes, strict=True)])

    def parameter(name, default):
        values = [getattr(neuron, name) for neuron in neurons]
        if all(value is None for value in values):
            return None
        like = neurons[0].bias
        return join([jnp.asarray(default, like.dtype) if value is None else value for value in values])

    membranes = [neuron.membrane for neuron in neurons]
    membrane = jax.tree.map(lambda *values: join(values), *membranes)
    assert isinstance(membrane, Membrane)
    return LinearNeuron(
        membrane,
        join([neuron.bias for neuron in neurons]),
        parameter("threshold", jnp.inf),
        parameter("reset", 0),
        parameter("refractory", 0),
    )


def arrivals_within(pathway: Pathway, times: Float[Array, " events"], neuron: Int[Array, " events"]) -> InFlight:
    """When spikes of neurons of the component arrive by a pathway that begins in it; those of others never do."""
    assert pathway.source is not None
    index = neuron - pathway.source
    own = (index >= 0) & (index < pathway.connection.sources)
    index = jnp.clip(index, 0, pathway.connection.sources - 1)
    delay = pathway.connection.delays(index)
    arriving = times[:, None] if delay is None else times[:, None] + delay
    return InFlight(jnp.where(own[:, None], arriving, jnp.inf), index)
