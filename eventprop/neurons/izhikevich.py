"""Izhikevich's neuron."""

from typing import Any

import equinox as eqx
from jaxtyping import Array

from eventprop.neurons.refractory import Refractory
from eventprop.neurons.spiking import Above, AbstractSpiking
from eventprop.neurons.synapses import AbstractSynapses
from eventprop.parameters import Parameter, numeric

START = -65.0
"""The potential from which the neurons start, as in the 2003 paper: the resting one depends on b."""


class Izhikevich(AbstractSpiking):
    """Izhikevich's simple model (2003, Eqs. 1-3), in mV and ms.

        V' = 0.04 V² + 5 V + 140 - u + I + bias,    u' = a (b V - u),
        V reaches peak (30): spike, V = c, u += d.

    u is `adaptation` in the state. (a, b, c, d) = (.02, .2, -65, 8) spikes regularly, (.02, .2, -50, 2) chatters. V
    starts at -65 and u at -65 b (derivatives by b know it; start from a `state` to hold it fixed). I: `synapses`. In
    the refractory period V is held at c while I and u go on.

    Raises ValueError for an a or refractory period that is not positive, a c that is not below the peak, or per-neuron
    parameters of different lengths.
    """

    synapses: AbstractSynapses
    a: Parameter = eqx.field(converter=numeric("a"))
    b: Parameter = eqx.field(converter=numeric("b"))
    c: Parameter = eqx.field(converter=numeric("c"))
    d: Parameter = eqx.field(converter=numeric("d"))
    peak: Parameter = eqx.field(converter=numeric("peak"), default=30.0)
    refractory: Refractory = eqx.field(converter=numeric("refractory"), default=None)
    bias: Parameter = eqx.field(converter=numeric("bias"), default=0.0)

    def conditions(self) -> tuple[Above, ...]:
        """The rate a is positive; the reset and where V starts lie below the peak."""
        return (
            Above("a", self.a, 0.0, "1 / a is the time constant of u"),
            Above("peak - c", self.peak, self.c, "reset below the peak"),
            Above("peak + 65", self.peak, START, "V starts at -65"),
        )

    def start(self) -> tuple[Any, Any]:
        """V = -65, u = b V."""
        return START, START * self.b

    def drift(self, v: Array, adaptation: Array, current: Array) -> tuple[Array, Array]:
        """The equations above."""
        return (0.04 * v + 5) * v + 140 - adaptation + current + self.bias, self.a * (self.b * v - adaptation)

    def threshold_now(self, adaptation: Array) -> Parameter:
        """The peak."""
        return self.peak

    def spike(self, v: Array, adaptation: Array) -> tuple[Any, Any]:
        """V = c, u += d."""
        return self.c, adaptation + self.d

    def unit(self) -> Parameter:
        """1 ms / (peak - c)."""
        return 1 / (self.peak - self.c)
