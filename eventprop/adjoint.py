"""How gradients pass through spikes."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool

from eventprop.failures import error_if
from eventprop.parameters import Parameter, check_positive, check_type, numeric, whole


class AbstractTangential(eqx.Module):
    """What to do where a potential touches its threshold: dt/dp = -(dV/dp) / V' diverges as V' goes to zero.

    Slopes are given in thresholds per membrane time constant (tau_mem V' over threshold minus reset).
    """

    minimum: eqx.AbstractVar[Parameter]

    def __check_init__(self):
        check_positive("minimum", self.minimum, "it is a slope")

    @abc.abstractmethod
    def reciprocal(self, slope: Array, finite: Bool[Array, "..."]) -> Array:
        """1 / slope, kept finite; `finite` marks the slots that hold a spike."""


class ClipSlope(AbstractTangential):
    """Treat smaller slopes as `minimum`: the gradient keeps its direction and stays finite."""

    minimum: Parameter = eqx.field(converter=numeric("minimum"), default=1e-3)

    def reciprocal(self, slope: Array, finite: Bool[Array, "..."]) -> Array:
        return 1 / jnp.maximum(slope, self.minimum)


class ZeroGradient(AbstractTangential):
    """No gradient passes through spikes with smaller slopes."""

    minimum: Parameter = eqx.field(converter=numeric("minimum"), default=1e-3)

    def reciprocal(self, slope: Array, finite: Bool[Array, "..."]) -> Array:
        steep = slope >= self.minimum
        return jnp.where(steep, 1 / jnp.where(steep, slope, 1), 0)


class RaiseTangential(AbstractTangential):
    """Stop with an error at smaller slopes."""

    minimum: Parameter = eqx.field(converter=numeric("minimum"), default=1e-3)

    def reciprocal(self, slope: Array, finite: Bool[Array, "..."]) -> Array:
        slope = error_if(
            slope,
            finite & (slope < self.minimum),
            "A spike crosses its threshold almost tangentially (slope below RaiseTangential.minimum), so its "
            "derivative is unbounded. Remedies: an adjoint with `ClipSlope()` or `ZeroGradient()`, other weights.",
        )
        return 1 / jnp.maximum(slope, self.minimum)


class AbstractAdjoint(eqx.Module):
    """How derivatives pass through spikes; each solver says which of them it can follow."""


class Implicit(AbstractAdjoint):
    """Differentiate spike times by the implicit function theorem on V(t, p) = threshold.

    Forward and reverse mode; exact wherever the number of spikes does not change. In reverse mode the same sums are
    EventProp's adjoint (Wunderlich & Pehle 2021, Table 2 and Eq. 2). Spikes that appear or vanish are invisible to it;
    see `weight_bump` and `spike_count_regulariser` for remedies.

    tangential: what to do at spikes with hardly any slope (`ClipSlope`, `ZeroGradient`, `RaiseTangential`).
    """

    tangential: AbstractTangential = ClipSlope()

    def __check_init__(self):
        check_type("tangential", self.tangential, AbstractTangential)


class EventProp(AbstractAdjoint):
    """The adjoint system, integrated backwards from event to event: EventProp for any neuron (Wunderlich & Pehle 2021).

        lambda' = -f_y^T lambda between events, lambda = dL/dy at the end,
        lambda- = R_y^T lambda+ - g_y^T [lambda+ . (R_y f- + R_t - f+) + dL/dt] / (g_y f- + g_t) at an event,

    for a flow f, and an event with the guard g and the reset R, that takes place at t: a spike, the end of a refractory
    period, a guard that moves by itself. An arrival has no guard: what stands in brackets is the derivative by its
    time. Between events each step is transposed, so that the gradient is that of the steps taken, as `Implicit`'s.

    Reverse mode only, and once. The state is kept before one in `interval` of the steps and events, and the states in
    between are computed again, one interval at a time.

    tangential: what to do at spikes with hardly any slope.
    """

    tangential: AbstractTangential = ClipSlope()
    interval: int = eqx.field(static=True, default=64)

    def __check_init__(self):
        check_type("tangential", self.tangential, AbstractTangential)
        whole("interval", self.interval, least=1)
