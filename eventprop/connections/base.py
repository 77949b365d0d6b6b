"""What synapses have to say about themselves, whichever solver reads them."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from eventprop.parameters import check_not_negative


class AbstractConnection(eqx.Module):
    """Synapses from `sources` to `neurons`, each with a weight and a delay, that end on one receptor.

    A spike of source i at t reaches neuron j at t + delay, and adds the weight of that synapse to what the receptor
    `port` gathers (`AbstractNeuron.receive`).

    delay: None for none; one number; one per source (axonal), [sources]; or one per synapse, of the weight's shape.
        Not negative; zero is allowed. An array is learned like a weight; `optax.projections` or `keep_not_negative`
        keep it in range.
    """

    weight: eqx.AbstractVar[Array]
    delay: eqx.AbstractVar[Any]
    port: eqx.AbstractVar[int]

    @property
    @abc.abstractmethod
    def sources(self) -> int:
        """Number of presynaptic neurons."""

    @property
    @abc.abstractmethod
    def neurons(self) -> int:
        """Number of postsynaptic neurons."""

    @abc.abstractmethod
    def spread(self, synapses: Float[Array, "..."], index: Int[Array, " events"]) -> Float[Array, "events neurons"]:
        """What each neuron gets of an event of each of these sources: `synapses` holds one value per weight.

        0 where there is no synapse.
        """

    @abc.abstractmethod
    def table(self, index: Int[Array, " events"]) -> tuple[Float[Array, "rows neurons"], Int[Array, " events"]]:
        """The charges that events of these sources deliver, as rows of a table, and each event's row."""

    @abc.abstractmethod
    def project(self, spikes: Float[Array, "*batch sources"]) -> Float[Array, "*batch neurons"]:
        """What each neuron gets of so many spikes of every source: linear, all sources at once."""

    @abc.abstractmethod
    def check_shapes(self, name: str) -> None:
        """Raise ValueError if the weight has not the shape of one network; `name` tells whose it is."""

    @property
    def per_synapse(self) -> bool:
        """Whether one event reaches different neurons at different times."""
        return self.delay is not None and np.shape(self.delay) == np.shape(self.weight)

    def charges(self, index: Int[Array, " events"]) -> Float[Array, "events neurons"]:
        """What a spike of each of these sources delivers to each neuron."""
        return self.spread(self.weight, index)

    def delays(self, index: Int[Array, " events"]) -> Float[Array, "events _"] | None:
        """How long events of these sources travel: None, [events, 1], or [events, neurons] with a delay per synapse."""
        if self.delay is None:
            return None
        delay = jnp.asarray(self.delay, self.weight.dtype)
        if self.per_synapse:
            return self.spread(delay, index)
        return jnp.broadcast_to(delay, (self.sources,)).at[index].get(mode="clip")[:, None]


def check_delay(connection: AbstractConnection) -> None:
    """Raise ValueError for a delay below zero or of a shape that means nothing."""
    weight, delay, sources = connection.weight, connection.delay, connection.sources
    if delay is None or not isinstance(delay, float | int | np.ndarray | jax.Array):
        return
    if np.shape(delay) not in ((), (sources,), np.shape(weight)):
        raise ValueError(
            f"delay must be one number, one per source, ({sources},), or one per synapse, {np.shape(weight)}, but has "
            f"the shape {np.shape(delay)}."
        )
    check_not_negative("delay", delay, "a spike cannot arrive before it was sent")


def check_dimensions(name: str, weight: Array, dimensions: int, axes: str) -> None:
    """Raise ValueError unless the weight has this many axes."""
    if weight.ndim != dimensions:
        raise ValueError(
            f"the weight of {name} must be {axes}, but has the shape {weight.shape}; use jax.vmap for a batch of "
            "networks."
        )
