"""What a spiking neuron has to say about itself, whichever solver runs it."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
from jaxtyping import Array, Bool, Float, PyTree


class Event(NamedTuple):
    """Something that happens to single neurons when a guard of their state rises through zero.

    guard(y) -> [neurons]: crosses zero from below at the event;
    jump(y) -> y: the state after it (applied to the neurons concerned);
    emits: whether it sends a spike to the neurons downstream.
    """

    guard: Callable[[Any], Float[Array, " neurons"]]
    jump: Callable[[Any], Any]
    emits: bool


class AbstractNeuron(eqx.Module):
    """A population of identical or heterogeneous point neurons: a flow, events that interrupt it, and input.

    Parameters are scalars or one value per neuron; the state is a pytree of arrays [neurons].
    """

    @abc.abstractmethod
    def init(self, neurons: int, dtype: Any = None) -> PyTree[Float[Array, " neurons"]]:
        """The resting state of `neurons` neurons."""

    @abc.abstractmethod
    def flow(self, t: Any, y: Any, args: Any) -> Any:
        """dy/dt between events: a diffrax vector field."""

    @property
    @abc.abstractmethod
    def events(self) -> tuple[Event, ...]:
        """The events that the state itself brings about."""

    @abc.abstractmethod
    def valid(self, y: Any) -> Bool[Array, ""]:
        """Whether parameters are in range and `y` is a state to start from (what only values can tell)."""

    @abc.abstractmethod
    def receive(self, y: Any, port: int, charge: Float[Array, " neurons"]) -> Any:
        """The state after a presynaptic spike has delivered `charge` at receptor `port`."""
