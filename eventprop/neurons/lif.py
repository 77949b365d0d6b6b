"""The leaky integrate-and-fire neuron with exponential synaptic currents."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from eventprop.neurons.base import AbstractNeuron, Event
from eventprop.parameters import Parameter, all_positive, check_positive, check_same_length, check_type, numeric


class LIFState(eqx.Module):
    """State of LIF neurons: membrane potential v, synaptic current i, and what is left of the refractory period."""

    v: Float[Array, " neurons"]
    i: Float[Array, " neurons"]
    refractory: Float[Array, " neurons"]


class AbstractReset(eqx.Module):
    """What a spike does to the membrane potential."""

    @abc.abstractmethod
    def __call__(self, v: Array, threshold: Array) -> Array:
        """The potential after a spike at potential `v`."""


class ResetBySubtraction(AbstractReset):
    """V+ = V- - threshold (Wunderlich & Pehle 2021, Table 1)."""

    def __call__(self, v: Array, threshold: Array) -> Array:
        return v - threshold


class ResetToValue(AbstractReset):
    """V+ = value, which must lie below the threshold."""

    value: Parameter = eqx.field(converter=numeric("value"))

    def __call__(self, v: Array, threshold: Array) -> Array:
        return jnp.broadcast_to(jnp.asarray(self.value, v.dtype), v.shape)


class FiresOnce(eqx.Module):
    """A refractory period without end: after its first spike a neuron is silent for good, as first-spike codes want it.

    A neuron that is known to fire once costs less than one whose refractory period happens to be infinite.
    """


class LIF(AbstractNeuron):
    """Current-based leaky integrate-and-fire neurons (Wunderlich & Pehle 2021, Table 1).

        tau_mem V' = -V + I + bias,    tau_syn I' = -I,
        V reaches threshold from below: spike, V is reset and held for the refractory period while I goes on,
        a presynaptic spike: I += w.

    The rest potential is 0 and all times share one unit (ms by convention). Every parameter is a scalar or an array
    [neurons]; pass arrays for those that gradients shall reach (Python floats are constants to `equinox.filter`).

    refractory: `None` for none; `FiresOnce()` for neurons that fire at most once. (`jnp.inf` is a number like any
        other: it leads to the same spikes, at the price of a search for more of them.)

    Raises ValueError for time constants or a refractory period that are not positive, a threshold or a reset value out
    of order, per-neuron parameters of different lengths, or precisions other than float32 and float64.
    """

    tau_mem: Parameter = eqx.field(converter=numeric("tau_mem"))
    tau_syn: Parameter = eqx.field(converter=numeric("tau_syn"))
    threshold: Parameter = eqx.field(converter=numeric("threshold"), default=1.0)
    reset: AbstractReset = ResetBySubtraction()
    refractory: Parameter | FiresOnce | None = eqx.field(converter=numeric("refractory"), default=None)
    bias: Parameter = eqx.field(converter=numeric("bias"), default=0.0)

    def __check_init__(self):
        check_type("reset", self.reset, AbstractReset)
        if isinstance(self.refractory, type):
            raise ValueError(f"refractory must be a number, None or FiresOnce(), but is {self.refractory!r}.")
        check_positive("tau_mem", self.tau_mem)
        check_positive("tau_syn", self.tau_syn)
        check_same_length(
            tau_mem=self.tau_mem,
            tau_syn=self.tau_syn,
            threshold=self.threshold,
            refractory=self.refractory,
            bias=self.bias,
        )
        if not (self.refractory is None or isinstance(self.refractory, FiresOnce)):
            check_positive("refractory", self.refractory, "use None for no refractory period")
        if isinstance(self.reset, ResetToValue):
            check_positive(
                "threshold - reset value", self.threshold, "reset below the threshold", minus=self.reset.value
            )
        else:
            check_positive("threshold", self.threshold, "a reset by subtraction needs a threshold above rest (0)")

    @property
    def period(self) -> Parameter:
        """The refractory period as a number: 0 for none, inf for neurons that fire once."""
        if isinstance(self.refractory, FiresOnce):
            return jnp.inf
        return 0.0 if self.refractory is None else self.refractory

    def init(self, neurons: int, dtype: Any = None) -> LIFState:
        """All potentials and currents zero, nobody refractory."""
        zeros = jnp.zeros(neurons, dtype)
        return LIFState(zeros, zeros, zeros)

    def flow(self, t: Any, y: LIFState, args: Any) -> LIFState:
        """The free dynamics; a refractory membrane is clamped while its clock runs down."""
        clamped = y.refractory > 0
        dv = jnp.where(clamped, 0, (y.i + self.bias - y.v) / self.tau_mem)
        return LIFState(dv, -y.i / self.tau_syn, jnp.where(clamped, -jnp.ones_like(y.v), 0))

    @property
    def events(self) -> tuple[Event, ...]:
        """The spike, and the end of the refractory period (the flow changes there, so it is an event too)."""
        spike = Event(lambda y: y.v - self.threshold, self._fire, emits=True)
        if self.refractory is None:
            return (spike,)
        recovery = Event(lambda y: -y.refractory, lambda y: LIFState(y.v, y.i, jnp.zeros_like(y.v)), emits=False)
        return (spike, recovery)

    def valid(self, y: LIFState) -> Bool[Array, ""]:
        """Times are positive, resets lie below the threshold, and so do potentials in the refractory period."""
        threshold = jnp.asarray(self.threshold, y.v.dtype)
        below = threshold - self.reset(threshold, threshold)
        positive = all_positive(self.tau_mem, self.tau_syn, below)
        if self.refractory is not None:
            positive &= all_positive(self.period)
        held_below = (y.refractory == 0) & (y.v >= threshold) | (y.refractory >= 0) & (y.v < threshold)
        return positive & jnp.all(held_below)

    def receive(self, y: LIFState, port: int, charge: Float[Array, " neurons"]) -> LIFState:
        """I += charge. There is one receptor, port 0; the sign of a synapse is that of its weight."""
        return LIFState(y.v, y.i + charge, y.refractory)

    def _fire(self, y: LIFState) -> LIFState:
        threshold = jnp.asarray(self.threshold, y.v.dtype)
        return LIFState(
            self.reset(y.v, threshold), y.i, jnp.broadcast_to(jnp.asarray(self.period, y.v.dtype), y.v.shape)
        )
