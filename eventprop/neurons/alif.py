"""Leaky integrate-and-fire neurons that adapt, by their threshold or by a current."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from eventprop.neurons.refractory import Refractory
from eventprop.neurons.reset import AbstractReset, ResetBySubtraction, ResetToValue
from eventprop.neurons.spiking import Above, AbstractSpiking
from eventprop.neurons.synapses import AbstractSynapses
from eventprop.parameters import Parameter, check_type, numeric


class AbstractAdaptation(eqx.Module):
    """What the trace A of a neuron's own spikes does to it: tau A' = -A, a spike: A += 1."""

    beta: eqx.AbstractVar[Parameter]
    tau: eqx.AbstractVar[Parameter]

    @abc.abstractmethod
    def threshold(self, trace: Array) -> Array:
        """What is added to the threshold."""

    @abc.abstractmethod
    def current(self, trace: Array) -> Array:
        """What is taken from the synaptic current."""


class AdaptiveThreshold(AbstractAdaptation):
    """A spike raises the threshold by beta: threshold + beta A (Bellec et al. 2018).

    While A decays the threshold falls, and may fall onto a potential that stands still.
    """

    beta: Parameter = eqx.field(converter=numeric("beta"))
    tau: Parameter = eqx.field(converter=numeric("tau"))

    def threshold(self, trace: Array) -> Array:
        """beta A."""
        return self.beta * trace

    def current(self, trace: Array) -> Array:
        """None."""
        return jnp.zeros_like(trace)


class AdaptiveCurrent(AbstractAdaptation):
    """A spike lets a hyperpolarising current flow: -beta A (spike-triggered adaptation)."""

    beta: Parameter = eqx.field(converter=numeric("beta"))
    tau: Parameter = eqx.field(converter=numeric("tau"))

    def threshold(self, trace: Array) -> Array:
        """Nothing."""
        return jnp.zeros_like(trace)

    def current(self, trace: Array) -> Array:
        """beta A."""
        return self.beta * trace


class ALIF(AbstractSpiking):
    """Adaptive leaky integrate-and-fire neurons.

        tau_mem V' = -V + I + bias - [beta A],    tau A' = -A,
        V reaches threshold + [beta A]: spike, V is reset as from there, A += 1,

    with one of the two brackets: `AdaptiveThreshold(beta, tau)` or `AdaptiveCurrent(beta, tau)`. The rest potential
    is 0. I: `synapses`. In the refractory period V is held while I and A go on.

        ALIF(20.0, CurrentSynapses(5.0), AdaptiveThreshold(0.4, 100.0))

    Raises ValueError for time constants or a refractory period that are not positive, a negative beta, a threshold or a
    reset value out of order, per-neuron parameters of different lengths, or precisions other than float32 and float64.
    """

    tau_mem: Parameter = eqx.field(converter=numeric("tau_mem"))
    synapses: AbstractSynapses
    adaptation: AbstractAdaptation
    threshold: Parameter = eqx.field(converter=numeric("threshold"), default=1.0)
    reset: AbstractReset = ResetBySubtraction()
    refractory: Refractory = eqx.field(converter=numeric("refractory"), default=None)
    bias: Parameter = eqx.field(converter=numeric("bias"), default=0.0)

    def __check_init__(self):
        check_type("adaptation", self.adaptation, AbstractAdaptation)
        check_type("reset", self.reset, AbstractReset)

    def conditions(self) -> tuple[Above, ...]:
        """Time constants are positive, and the reset lies below the threshold."""
        order = Above("threshold", self.threshold, 0.0, "a reset by subtraction needs a threshold above rest (0)")
        if isinstance(self.reset, ResetToValue):
            order = Above("threshold - reset value", self.threshold, self.reset.value, "reset below the threshold")
        excited = "a neuron that its own spikes excite need not stop"
        return (
            Above("tau_mem", self.tau_mem),
            Above("adaptation.tau", self.adaptation.tau),
            Above("adaptation.beta", self.adaptation.beta, 0.0, excited, or_equal=True),
            order,
        )

    def start(self) -> tuple[Any, Any]:
        """V = 0, A = 0."""
        return 0.0, 0.0

    def drift(self, v: Array, adaptation: Array, current: Array) -> tuple[Array, Array]:
        """The equations above."""
        drive = current + self.bias - self.adaptation.current(adaptation)
        return (drive - v) / self.tau_mem, -adaptation / self.adaptation.tau

    def threshold_now(self, adaptation: Array) -> Array:
        """threshold + beta A (`AdaptiveThreshold`)."""
        return self.threshold + self.adaptation.threshold(adaptation)

    def spike(self, v: Array, adaptation: Array) -> tuple[Array, Array]:
        """V is reset as from the threshold, A += 1."""
        threshold = self.threshold_now(adaptation)
        return self.reset(threshold, threshold), adaptation + 1

    def unit(self) -> Array:
        """tau_mem / (threshold - reset), without adaptation."""
        threshold = jnp.asarray(self.threshold)
        return self.tau_mem / (threshold - self.reset(threshold, threshold))
