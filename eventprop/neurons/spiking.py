"""What the neurons have in common that integrate synaptic input up to a spike and a reset."""

import abc
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from eventprop.neurons.base import AbstractNeuron, Event
from eventprop.neurons.refractory import (
    Refractory,
    check_refractory,
    has_end,
    hold,
    in_phase,
    positive_period,
    release_guard,
    tick,
)
from eventprop.neurons.synapses import AbstractSynapses, Receptors
from eventprop.parameters import check_not_negative, check_positive, check_same_lengths_in, check_type

STEEPEST = 40.0
"""Exponents end here: beyond it an upstroke takes e^-40 of a time constant, and e^40 is far from float32's largest."""


class SpikingState(eqx.Module):
    """State of neurons with receptors and, some of them, a variable of adaptation.

    v: membrane potential; synapses: what each receptor holds; adaptation: one variable per neuron, None for neurons
    that have none. `held` is 1 in the refractory period, of which the time `refractory` is left, and 0 else (neurons
    that fire once have no clock: held for good, with `refractory` 0).
    """

    v: Float[Array, " neurons"]
    synapses: Receptors
    adaptation: Float[Array, " neurons"] | None
    refractory: Float[Array, " neurons"]
    held: Float[Array, " neurons"]


class Above(NamedTuple):
    """The condition value > minus (or_equal: >=) on parameters, its name, and why it has to hold."""

    name: str
    value: Any
    minus: Any = 0.0
    remedy: str = ""
    or_equal: bool = False

    def check(self) -> None:
        """Raise ValueError where the numbers are known and it does not hold."""
        if self.or_equal:
            check_not_negative(self.name, self.value, self.remedy)
        else:
            check_positive(self.name, self.value, self.remedy, self.minus)

    def holds(self) -> Bool[Array, ""]:
        """The same for traced numbers."""
        difference = jnp.asarray(self.value) - self.minus
        return jnp.all(difference >= 0 if self.or_equal else difference > 0)


class AbstractSpiking(AbstractNeuron):
    """A membrane V with receptors, perhaps an adaptation, a spike where V reaches `threshold`, and a reset.

    Concrete neurons are these pieces; all else is the same for all of them. In the refractory period V is held at its
    reset while receptors and adaptation go on. Parameters are scalars or one value per neuron [neurons]; pass arrays
    for those that gradients shall reach (Python floats are constants to `equinox.filter`).
    """

    if TYPE_CHECKING:  # as fields they would stand before those of every neuron

        @property
        @abc.abstractmethod
        def synapses(self) -> AbstractSynapses:
            """The receptors."""

        @property
        @abc.abstractmethod
        def refractory(self) -> Refractory:
            """The refractory period."""

    else:
        synapses: eqx.AbstractVar[AbstractSynapses]
        refractory: eqx.AbstractVar[Refractory]

    def __check_init__(self):
        check_type("synapses", self.synapses, AbstractSynapses, "CurrentSynapses(tau_syn), say")
        check_refractory(self.refractory)
        for condition in self.conditions():
            condition.check()
        check_same_lengths_in(self)

    @abc.abstractmethod
    def conditions(self) -> tuple[Above, ...]:
        """What parameters have to fulfil."""

    @abc.abstractmethod
    def start(self) -> tuple[Any, Any]:
        """(V, adaptation) at the beginning, as numbers or [neurons]; None without adaptation."""

    @abc.abstractmethod
    def drift(self, v: Array, adaptation: Any, current: Array) -> tuple[Array, Any]:
        """(dV/dt, d adaptation/dt) of a neuron that is not held."""

    @abc.abstractmethod
    def threshold_now(self, adaptation: Any) -> Any:
        """The potential at which a neuron spikes."""

    @abc.abstractmethod
    def spike(self, v: Array, adaptation: Any) -> tuple[Any, Any]:
        """(V, adaptation) right after a spike, as numbers or [neurons]."""

    @abc.abstractmethod
    def unit(self) -> Any:
        """The time of a typical rise of V by 1 at its threshold (`Event`)."""

    def init(self, neurons: int, dtype: Any = None) -> SpikingState:
        """At rest: nothing has arrived, nobody is refractory."""
        dtype = jnp.result_type(float) if dtype is None else dtype
        v, adaptation = jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x, dtype), (neurons,)), self.start())
        return SpikingState(v, self.synapses.init(neurons, v.dtype), adaptation, jnp.zeros_like(v), jnp.zeros_like(v))

    def vector_field(self, t: Any, y: SpikingState, args: Any) -> SpikingState:
        """The free dynamics; a refractory membrane is held while its clock runs down."""
        dv, adapting = self.drift(y.v, y.adaptation, self.synapses.current(y.synapses, y.v))
        clock = tick(self.refractory, y.held)
        return SpikingState((1 - y.held) * dv, self.synapses.decay(y.synapses), adapting, clock, jnp.zeros_like(y.held))

    @property
    def events(self) -> tuple[Event, ...]:
        """The spike, and the end of the refractory period (the field changes there, so it is an event too)."""
        spike = Event(self._distance, self._fire, emits=True, unit=self.unit)
        if not has_end(self.refractory):
            return (spike,)
        release = Event(lambda t, y, args: release_guard(y.refractory, y.held), self._release, emits=False)
        return (spike, release)

    def _distance(self, t: Any, y: SpikingState, args: Any) -> Array:
        return y.v - self.threshold_now(y.adaptation)

    def _fire(self, t: Any, y: SpikingState, args: Any) -> SpikingState:
        v, adaptation = jax.tree.map(
            lambda x: jnp.broadcast_to(jnp.asarray(x, y.v.dtype), y.v.shape), self.spike(y.v, y.adaptation)
        )
        return SpikingState(v, y.synapses, adaptation, *hold(self.refractory, y.refractory, y.held))

    def _release(self, t: Any, y: SpikingState, args: Any) -> SpikingState:
        zeros = jnp.zeros_like(y.held)
        return SpikingState(y.v, y.synapses, y.adaptation, zeros, zeros)

    def receive(self, y: SpikingState, port: int, charge: Float[Array, " neurons"]) -> SpikingState:
        """Receptor `port` gathers the charge. Raises ValueError for a port that does not exist."""
        return SpikingState(y.v, self.synapses.receive(y.synapses, port, charge), y.adaptation, y.refractory, y.held)

    def voltage(self, y: SpikingState) -> Float[Array, " neurons"]:
        """V."""
        return y.v

    def valid(self, y: SpikingState) -> Bool[Array, ""]:
        """Parameters are in range, all is finite, and refractory neurons are below their threshold.

        (There they are idle; who is not refractory may start at the threshold, and fires.)
        """
        in_range = positive_period(self.refractory) & self.synapses.valid(y.synapses)
        in_range &= jnp.all(jnp.stack([condition.holds() for condition in self.conditions()]))
        phase = in_phase(self.refractory, y.refractory, y.held, self._distance(0.0, y, None) < 0)
        phase &= (y.held == 0) | (self.refractory is not None)  # nothing would release it
        adaptation = jnp.zeros_like(y.v) if y.adaptation is None else y.adaptation
        return in_range & jnp.all(phase & jnp.isfinite(y.v) & jnp.isfinite(adaptation))
