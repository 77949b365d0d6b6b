"""The adaptive exponential integrate-and-fire neuron."""

from typing import Any

import equinox as eqx
from jaxtyping import Array

from eventprop.neurons.eif import upstroke
from eventprop.neurons.refractory import Refractory
from eventprop.neurons.spiking import Above, AbstractSpiking
from eventprop.neurons.synapses import AbstractSynapses
from eventprop.parameters import Parameter, numeric


class AdEx(AbstractSpiking):
    """Adaptive exponential integrate-and-fire neurons (Brette & Gerstner 2005; Naud et al. 2008).

        C V' = -g (V - E) + g D exp((V - V_T) / D) - w + I + bias,    tau_w w' = a (V - E) - w,
        V reaches peak: spike, V = V_r, w += b.

    With pF, nS, mV, ms and pA, as there, units fit. D is the slope factor Delta_T, w is `adaptation` in the state; the
    exponent is clipped at 40 (see `EIF`). V starts at E (derivatives by E know it; start from a `state` to hold it
    fixed) and w at 0. I: `synapses`, in pA, or with `ConductanceSynapses` in nS. In the refractory period V is held at
    V_r while I and w go on.

    Raises ValueError for C, g, D, tau_w or a refractory period that is not positive, a peak that is not above V_T, V_r
    and E, or per-neuron parameters of different lengths. (V_r may lie above V_T: the neuron bursts.)
    """

    synapses: AbstractSynapses
    C: Parameter = eqx.field(converter=numeric("C"))
    g: Parameter = eqx.field(converter=numeric("g"))
    E: Parameter = eqx.field(converter=numeric("E"))
    V_T: Parameter = eqx.field(converter=numeric("V_T"))
    D: Parameter = eqx.field(converter=numeric("D"))
    a: Parameter = eqx.field(converter=numeric("a"))
    tau_w: Parameter = eqx.field(converter=numeric("tau_w"))
    b: Parameter = eqx.field(converter=numeric("b"))
    V_r: Parameter = eqx.field(converter=numeric("V_r"))
    peak: Parameter = eqx.field(converter=numeric("peak"), default=0.0)
    refractory: Refractory = eqx.field(converter=numeric("refractory"), default=None)
    bias: Parameter = eqx.field(converter=numeric("bias"), default=0.0)

    def conditions(self) -> tuple[Above, ...]:
        """C, g, D and tau_w are positive; V_T, V_r and E lie below the peak."""
        return (
            Above("C", self.C),
            Above("g", self.g),
            Above("D", self.D, 0.0, "a neuron with a sharp threshold is a LIF neuron"),
            Above("tau_w", self.tau_w),
            Above("peak - V_T", self.peak, self.V_T, "a spike ends well above its onset"),
            Above("peak - V_r", self.peak, self.V_r, "reset below the peak"),
            Above("peak - E", self.peak, self.E, "a neuron at rest would fire"),
        )

    def start(self) -> tuple[Any, Any]:
        """V = E, w = 0."""
        return self.E, 0.0

    def drift(self, v: Array, adaptation: Array, current: Array) -> tuple[Array, Array]:
        """The equations above."""
        dv = self.g * (self.E - v + upstroke(v, self.V_T, self.D)) - adaptation + current + self.bias
        return dv / self.C, (self.a * (v - self.E) - adaptation) / self.tau_w

    def threshold_now(self, adaptation: Array) -> Parameter:
        """The peak."""
        return self.peak

    def spike(self, v: Array, adaptation: Array) -> tuple[Any, Any]:
        """V = V_r, w += b."""
        return self.V_r, adaptation + self.b

    def unit(self) -> Parameter:
        """C / g / (peak - V_r)."""
        return self.C / self.g / (self.peak - self.V_r)
