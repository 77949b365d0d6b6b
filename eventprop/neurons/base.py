"""What a spiking neuron has to say about itself, whichever solver runs it."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from eventprop.closed_form import LinearNeuron


def _one() -> float:
    return 1.0


class Event(NamedTuple):
    """Something that happens to single neurons when a guard of their state rises through zero.

    guard(t, y, args) -> [neurons]: crosses zero from below at the event, and stays below where it cannot happen;
    jump(t, y, args) -> y: the state after it (applied to the neurons concerned);
    emits: whether it sends a spike to the neurons downstream;
    unit() -> the time in which a guard of a typical slope rises by 1, tau_mem / (threshold - reset) of a LIF neuron:
        an `AbstractTangential` judges slopes per unit.
    """

    guard: Callable[[Any, Any, Any], Float[Array, " neurons"]]
    jump: Callable[[Any, Any, Any], Any]
    emits: bool
    unit: Callable[[], Any] = _one


class AbstractNeuron(eqx.Module):
    """A population of identical or heterogeneous point neurons: a vector field, events that interrupt it, and input.

    Parameters are scalars or one value per neuron; the state is a pytree of arrays [neurons]. The vector field is the
    definition: `diffrax.ODETerm(neuron.vector_field)` is what happens between events. Phases of a neuron (refractory or
    not) are part of its state, and change in jumps, so that the field is smooth between events. Between events no
    neuron depends on any other. `args` is the key of the population in this trial, or None (`Stochastic`).
    """

    @abc.abstractmethod
    def init(self, neurons: int, dtype: Any = None) -> PyTree[Float[Array, " neurons"]]:
        """The resting state of `neurons` neurons."""

    @abc.abstractmethod
    def vector_field(self, t: Any, y: Any, args: Any) -> Any:
        """dy/dt between events."""

    @property
    @abc.abstractmethod
    def events(self) -> tuple[Event, ...]:
        """The events that the state itself brings about."""

    @abc.abstractmethod
    def receive(self, y: Any, port: int, charge: Float[Array, " neurons"]) -> Any:
        """The state after a presynaptic spike has delivered `charge` at receptor `port`."""

    @abc.abstractmethod
    def voltage(self, y: Any) -> Float[Array, " neurons"]:
        """The membrane potential."""

    @abc.abstractmethod
    def valid(self, y: Any) -> Bool[Array, ""]:
        """Whether parameters are in range and `y` is a state to start from (what only values can tell)."""


def sends_spikes(neuron: AbstractNeuron) -> bool:
    """Whether these neurons spike; readouts do not."""
    return any(event.emits for event in neuron.events)


class Stochastic(eqx.Module):
    """What neurons offer on top that draw at random, from the key of the trial.

    Jumps draw from the key that they find in `args`, folded with the number of draws so far, a part of the state.
    """

    @abc.abstractmethod
    def begin(self, y: Any, key: PRNGKeyArray) -> Any:
        """The state at the beginning of a trial: what a resting state lacks is drawn."""


class ClosedForm(eqx.Module):
    """What neurons offer on top whose motion between events is that of a `LinearNeuron`, which `Exact` can solve."""

    @abc.abstractmethod
    def closed_form(self, dtype: Any) -> LinearNeuron:
        """The parameters of that motion."""

    @abc.abstractmethod
    def coordinates(self, y: Any) -> tuple[Array, Array, Array]:
        """(V, I, time for which V is still held) [neurons] of a state."""

    @abc.abstractmethod
    def from_coordinates(self, v: Array, i: Array, held: Array) -> Any:
        """The state with these coordinates."""
