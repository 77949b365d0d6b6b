"""The leaky integrate-and-fire neuron with exponential synaptic currents."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from eventprop.closed_form import LinearNeuron, Membrane
from eventprop.neurons.base import AbstractNeuron, ClosedForm, Event
from eventprop.neurons.refractory import (
    FiresOnce,
    Refractory,
    check_refractory,
    has_end,
    hold,
    in_phase,
    positive_period,
    release_guard,
    tick,
)
from eventprop.neurons.reset import AbstractReset, ResetBySubtraction, ResetToValue
from eventprop.neurons.synapses import check_port
from eventprop.parameters import Parameter, all_positive, check_positive, check_same_length, check_type, numeric


class LIFState(eqx.Module):
    """State of LIF neurons: membrane potential v, synaptic current i, and the phase.

    `held` is 1 in the refractory period, of which the time `refractory` is left, and 0 else. (Neurons that fire once
    have no clock: held for good, with `refractory` 0.)
    """

    v: Float[Array, " neurons"]
    i: Float[Array, " neurons"]
    refractory: Float[Array, " neurons"]
    held: Float[Array, " neurons"]

    @classmethod
    def free(cls, v: Float[Array, " neurons"], i: Float[Array, " neurons"]) -> "LIFState":
        """Nobody is refractory."""
        return cls(v, i, jnp.zeros_like(v), jnp.zeros_like(v))


class LIF(AbstractNeuron, ClosedForm):
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
    refractory: Refractory = eqx.field(converter=numeric("refractory"), default=None)
    bias: Parameter = eqx.field(converter=numeric("bias"), default=0.0)

    def __check_init__(self):
        check_type("reset", self.reset, AbstractReset)
        check_refractory(self.refractory)
        check_positive("tau_mem", self.tau_mem)
        check_positive("tau_syn", self.tau_syn)
        check_same_length(
            tau_mem=self.tau_mem,
            tau_syn=self.tau_syn,
            threshold=self.threshold,
            refractory=self.refractory,
            bias=self.bias,
        )
        if isinstance(self.reset, ResetToValue):
            check_positive(
                "threshold - reset value", self.threshold, "reset below the threshold", minus=self.reset.value
            )
        else:
            check_positive("threshold", self.threshold, "a reset by subtraction needs a threshold above rest (0)")

    def init(self, neurons: int, dtype: Any = None) -> LIFState:
        """All potentials and currents zero, nobody refractory."""
        zeros = jnp.zeros(neurons, dtype)
        return LIFState(zeros, zeros, zeros, zeros)

    def vector_field(self, t: Any, y: LIFState, args: Any) -> LIFState:
        """The free dynamics; a refractory membrane is held while its clock runs down."""
        dv = (1 - y.held) * (y.i + self.bias - y.v) / self.tau_mem
        return LIFState(dv, -y.i / self.tau_syn, tick(self.refractory, y.held), jnp.zeros_like(y.held))

    @property
    def events(self) -> tuple[Event, ...]:
        """The spike, and the end of the refractory period (the field changes there, so it is an event too)."""
        spike = Event(lambda t, y, args: y.v - self.threshold, self._fire, emits=True, unit=self._unit)
        if not has_end(self.refractory):
            return (spike,)
        release = Event(lambda t, y, args: release_guard(y.refractory, y.held), self._release, emits=False)
        return (spike, release)

    def _unit(self) -> Array:
        threshold = jnp.asarray(self.threshold)
        return self.tau_mem / (threshold - self.reset(threshold, threshold))

    def _fire(self, t: Any, y: LIFState, args: Any) -> LIFState:
        v = self.reset(y.v, jnp.asarray(self.threshold, y.v.dtype))
        return LIFState(v, y.i, *hold(self.refractory, y.refractory, y.held))

    def _release(self, t: Any, y: LIFState, args: Any) -> LIFState:
        return LIFState(y.v, y.i, jnp.zeros_like(y.refractory), jnp.zeros_like(y.held))

    def receive(self, y: LIFState, port: int, charge: Float[Array, " neurons"]) -> LIFState:
        """I += charge. There is one receptor, port 0; the sign of a synapse is that of its weight."""
        check_port(port, 1, "LIF")
        return LIFState(y.v, y.i + charge, y.refractory, y.held)

    def voltage(self, y: LIFState) -> Float[Array, " neurons"]:
        """V."""
        return y.v

    def valid(self, y: LIFState) -> Bool[Array, ""]:
        """Times are positive, all is finite, resets and potentials in the refractory period lie below the threshold."""
        threshold = jnp.asarray(self.threshold, y.v.dtype)
        in_range = all_positive(self.tau_mem, self.tau_syn, threshold - self.reset(threshold, threshold))
        in_range &= positive_period(self.refractory)
        phase = in_phase(self.refractory, y.refractory, y.held, y.v < threshold)
        return in_range & jnp.all(phase & jnp.isfinite(y.v) & jnp.isfinite(y.i))

    def closed_form(self, dtype: Any) -> LinearNeuron:
        """The same numbers in one precision."""
        tau_mem, tau_syn, bias, threshold = (
            jnp.asarray(x, dtype) for x in (self.tau_mem, self.tau_syn, self.bias, self.threshold)
        )
        once = isinstance(self.refractory, FiresOnce)
        period = jnp.inf if once else self.refractory
        refractory = None if period is None else jnp.asarray(period, dtype)
        reset = self.reset(threshold, threshold)
        return LinearNeuron(Membrane(tau_mem, tau_syn), bias, threshold, reset, refractory, once)

    def coordinates(self, y: LIFState) -> tuple[Array, Array, Array]:
        """V, I, and what is left of the refractory period."""
        if isinstance(self.refractory, FiresOnce):
            return y.v, y.i, jnp.where(y.held > 0, jnp.inf, jnp.zeros_like(y.refractory))
        return y.v, y.i, y.refractory

    def from_coordinates(self, v: Array, i: Array, held: Array) -> LIFState:
        """The state, with its phase."""
        phase = (held > 0).astype(v.dtype)
        clock = jnp.zeros_like(held) if isinstance(self.refractory, FiresOnce) else held
        return LIFState(v, i, clock, phase)
