"""Leaky neurons with delta synapses: a presynaptic spike moves the membrane itself, at once."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from eventprop.neurons.base import AbstractNeuron, Event
from eventprop.neurons.reset import AbstractReset, ResetBySubtraction, ResetToValue
from eventprop.neurons.synapses import check_port
from eventprop.parameters import Parameter, all_positive, check_positive, check_same_length, check_type, numeric


class DeltaState(eqx.Module):
    """State of neurons with delta synapses: the membrane potential v alone."""

    v: Float[Array, " neurons"]


class _AbstractDelta(AbstractNeuron):
    """What both kinds do between their events, and at those of others."""

    tau_mem: eqx.AbstractVar[Any]
    bias: eqx.AbstractVar[Any]

    def init(self, neurons: int, dtype: Any = None) -> DeltaState:
        """All potentials zero."""
        return DeltaState(jnp.zeros(neurons, dtype))

    def vector_field(self, t: Any, y: DeltaState, args: Any) -> DeltaState:
        """The leak."""
        return DeltaState((self.bias - y.v) / self.tau_mem)

    def receive(self, y: DeltaState, port: int, charge: Float[Array, " neurons"]) -> DeltaState:
        """V += charge. There is one receptor, port 0; the sign of a synapse is that of its weight."""
        check_port(port, 1, type(self).__name__)
        return DeltaState(y.v + charge)

    def voltage(self, y: DeltaState) -> Float[Array, " neurons"]:
        """V."""
        return y.v


class DeltaLI(_AbstractDelta):
    """Leaky integrators with delta synapses, a readout that does not spike.

        tau_mem V' = -V + bias,    a presynaptic spike: V += w.

    The limit tau_syn -> 0 of `LI` with weights w tau_mem / tau_syn; NIR's LI. Parameters and errors as for `DeltaLIF`.
    """

    tau_mem: Parameter = eqx.field(converter=numeric("tau_mem"))
    bias: Parameter = eqx.field(converter=numeric("bias"), default=0.0)

    def __check_init__(self):
        check_positive("tau_mem", self.tau_mem)
        check_same_length(tau_mem=self.tau_mem, bias=self.bias)

    @property
    def events(self) -> tuple[Event, ...]:
        """None: an integrator only listens."""
        return ()

    def valid(self, y: DeltaState) -> Bool[Array, ""]:
        """Time constants are positive, potentials finite."""
        return all_positive(self.tau_mem) & jnp.all(jnp.isfinite(y.v))


class DeltaLIF(_AbstractDelta):
    """Leaky integrate-and-fire neurons with delta synapses.

        tau_mem V' = -V + bias,    a presynaptic spike: V += w,
        V reaches threshold from below, or is lifted over it by a spike: spike, V is reset.

    The limit tau_syn -> 0 of `LIF` with weights w tau_mem / tau_syn; NIR's LIF, snnTorch's Leaky. `Hybrid` and `Grid`
    run it. A spike that an arrival has brought about happens at that moment, and its time depends on that of the
    arrival alone. Every parameter is a scalar or an array [neurons]; pass arrays for those that gradients shall reach.

    Raises ValueError for time constants that are not positive, a threshold or a reset value out of order, per-neuron
    parameters of different lengths, or precisions other than float32 and float64.
    """

    tau_mem: Parameter = eqx.field(converter=numeric("tau_mem"))
    threshold: Parameter = eqx.field(converter=numeric("threshold"), default=1.0)
    reset: AbstractReset = ResetBySubtraction()
    bias: Parameter = eqx.field(converter=numeric("bias"), default=0.0)

    def __check_init__(self):
        check_type("reset", self.reset, AbstractReset)
        check_positive("tau_mem", self.tau_mem)
        check_same_length(tau_mem=self.tau_mem, threshold=self.threshold, bias=self.bias)
        if isinstance(self.reset, ResetToValue):
            check_positive(
                "threshold - reset value", self.threshold, "reset below the threshold", minus=self.reset.value
            )
        else:
            check_positive("threshold", self.threshold, "a reset by subtraction needs a threshold above rest (0)")

    @property
    def events(self) -> tuple[Event, ...]:
        """The spike."""
        return (Event(lambda t, y, args: y.v - self.threshold, self._fire, emits=True, unit=self._unit),)

    def _unit(self) -> Array:
        threshold = jnp.asarray(self.threshold)
        return self.tau_mem / (threshold - self.reset(threshold, threshold))

    def _fire(self, t: Any, y: DeltaState, args: Any) -> DeltaState:
        return DeltaState(self.reset(y.v, jnp.asarray(self.threshold, y.v.dtype)))

    def valid(self, y: DeltaState) -> Bool[Array, ""]:
        """Time constants are positive, all is finite, and resets lie below the threshold."""
        threshold = jnp.asarray(self.threshold, y.v.dtype)
        in_range = all_positive(self.tau_mem, threshold - self.reset(threshold, threshold))
        return in_range & jnp.all(jnp.isfinite(y.v))
