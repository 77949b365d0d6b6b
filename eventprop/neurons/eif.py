"""The exponential integrate-and-fire neuron."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from eventprop.neurons.refractory import Refractory
from eventprop.neurons.spiking import STEEPEST, Above, AbstractSpiking
from eventprop.neurons.synapses import AbstractSynapses
from eventprop.parameters import Parameter, numeric


class EIF(AbstractSpiking):
    """Exponential integrate-and-fire neurons (Fourcaud-Trocmé et al. 2003).

        tau_mem V' = -(V - rest) + sharpness exp((V - onset) / sharpness) + I + bias,
        V reaches peak: spike, V = reset.

    `sharpness` is the slope factor Delta_T: as it goes to 0 the neuron becomes a leaky one with the threshold `onset`.
    The upstroke is over in no time, so that the peak hardly matters: from onset + 10 sharpness on it takes e^-10 of a
    time constant. The exponent is clipped at 40, where that is e^-40, so that the field is finite in float32 whatever
    the peak. I: `synapses`. In the refractory period V is held at `reset` while I goes on.

    V starts at `rest`. Raises ValueError for a tau_mem, sharpness or refractory period that is not positive,
    a peak that is not above onset, reset and rest, or per-neuron parameters of different lengths.
    """

    tau_mem: Parameter = eqx.field(converter=numeric("tau_mem"))
    synapses: AbstractSynapses
    sharpness: Parameter = eqx.field(converter=numeric("sharpness"))
    peak: Parameter = eqx.field(converter=numeric("peak"))
    onset: Parameter = eqx.field(converter=numeric("onset"), default=1.0)
    reset: Parameter = eqx.field(converter=numeric("reset"), default=0.0)
    rest: Parameter = eqx.field(converter=numeric("rest"), default=0.0)
    refractory: Refractory = eqx.field(converter=numeric("refractory"), default=None)
    bias: Parameter = eqx.field(converter=numeric("bias"), default=0.0)

    def conditions(self) -> tuple[Above, ...]:
        """tau_mem and sharpness are positive; onset, reset and rest lie below the peak."""
        return (
            Above("tau_mem", self.tau_mem),
            Above("sharpness", self.sharpness, 0.0, "a neuron with a sharp threshold is a LIF neuron"),
            Above("peak - onset", self.peak, self.onset, "a spike ends well above its onset"),
            Above("peak - reset", self.peak, self.reset, "reset below the peak"),
            Above("peak - rest", self.peak, self.rest, "a neuron at rest would fire"),
        )

    def start(self) -> tuple[Any, Any]:
        """V at the leak's reversal potential."""
        return self.rest, None

    def drift(self, v: Array, adaptation: None, current: Array) -> tuple[Array, None]:
        """The equation above."""
        return (self.rest - v + upstroke(v, self.onset, self.sharpness) + current + self.bias) / (self.tau_mem), None

    def threshold_now(self, adaptation: None) -> Parameter:
        """The peak."""
        return self.peak

    def spike(self, v: Array, adaptation: None) -> tuple[Parameter, None]:
        """V = reset."""
        return self.reset, None

    def unit(self) -> Parameter:
        """tau_mem / (peak - reset)."""
        return self.tau_mem / (self.peak - self.reset)


def upstroke(v: Array, onset: Any, sharpness: Any) -> Array:
    """sharpness exp((v - onset) / sharpness), the current of a spike; the exponent ends at `STEEPEST`."""
    return sharpness * jnp.exp(jnp.minimum((v - onset) / sharpness, STEEPEST))
