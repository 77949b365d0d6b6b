"""The quadratic integrate-and-fire neuron."""

from typing import Any

import equinox as eqx
from jaxtyping import Array

from eventprop.neurons.refractory import Refractory
from eventprop.neurons.spiking import Above, AbstractSpiking
from eventprop.neurons.synapses import AbstractSynapses
from eventprop.parameters import Parameter, numeric


class QIF(AbstractSpiking):
    """Quadratic integrate-and-fire neurons: the normal form of a neuron that begins to fire at rate zero.

        tau_mem V' = (V - rest) (V - critical) + I + bias,
        V reaches peak: spike, V = reset.

    Without input V returns to `rest` from below `critical`, and runs away from above. With rest = critical = 0 and a
    bias c > 0 the time from reset to peak is tau_mem / sqrt(c) (atan(peak / sqrt(c)) - atan(reset / sqrt(c))); it stays
    finite as the peak goes to infinity. I: `synapses`. In the refractory period V is held at `reset` while I goes on.

    V starts at `rest`. Raises ValueError for a tau_mem or refractory period that is not positive, a reset or rest that
    is not below the peak, or per-neuron parameters of different lengths.
    """

    tau_mem: Parameter = eqx.field(converter=numeric("tau_mem"))
    synapses: AbstractSynapses
    peak: Parameter = eqx.field(converter=numeric("peak"), default=10.0)
    reset: Parameter = eqx.field(converter=numeric("reset"), default=-1.0)
    rest: Parameter = eqx.field(converter=numeric("rest"), default=0.0)
    critical: Parameter = eqx.field(converter=numeric("critical"), default=1.0)
    refractory: Refractory = eqx.field(converter=numeric("refractory"), default=None)
    bias: Parameter = eqx.field(converter=numeric("bias"), default=0.0)

    def conditions(self) -> tuple[Above, ...]:
        """tau_mem is positive, reset and rest lie below the peak."""
        return (
            Above("tau_mem", self.tau_mem),
            Above("peak - reset", self.peak, self.reset, "reset below the peak"),
            Above("peak - rest", self.peak, self.rest, "a neuron at rest would fire"),
        )

    def start(self) -> tuple[Any, Any]:
        """V at rest."""
        return self.rest, None

    def drift(self, v: Array, adaptation: None, current: Array) -> tuple[Array, None]:
        """The equation above."""
        return ((v - self.rest) * (v - self.critical) + current + self.bias) / self.tau_mem, None

    def threshold_now(self, adaptation: None) -> Parameter:
        """The peak."""
        return self.peak

    def spike(self, v: Array, adaptation: None) -> tuple[Parameter, None]:
        """V = reset."""
        return self.reset, None

    def unit(self) -> Parameter:
        """tau_mem / (peak - reset)."""
        return self.tau_mem / (self.peak - self.reset)
