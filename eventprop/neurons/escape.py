"""The escape-rate neuron: stochastic spikes in continuous time."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from eventprop.neurons.base import AbstractNeuron, Event, Stochastic
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
from eventprop.neurons.spiking import STEEPEST
from eventprop.neurons.synapses import AbstractSynapses, Receptors
from eventprop.parameters import (
    Parameter,
    all_positive,
    check_positive,
    check_same_lengths_in,
    check_type,
    numeric,
)


class AbstractEscape(eqx.Module):
    """How the membrane potential sets the rate of spikes."""

    tau: eqx.AbstractVar[Parameter]
    threshold: eqx.AbstractVar[Parameter]
    width: eqx.AbstractVar[Parameter]

    def __check_init__(self):
        check_positive("tau", self.tau)
        check_positive("width", self.width, "it is the range of potentials in which the rate changes")

    @abc.abstractmethod
    def __call__(self, v: Float[Array, " neurons"]) -> Float[Array, " neurons"]:
        """Spikes per time at the potential v."""


class ExponentialEscape(AbstractEscape):
    """r = exp((V - threshold) / width) / tau; the exponent is clipped at 40.

    With tau the refractory period, `sal`'s neurons in the limit of small time steps, exponential and logistic ones
    (there u is without unit: threshold 0, width 1).
    """

    tau: Parameter = eqx.field(converter=numeric("tau"))
    threshold: Parameter = eqx.field(converter=numeric("threshold"), default=0.0)
    width: Parameter = eqx.field(converter=numeric("width"), default=1.0)

    def __call__(self, v: Float[Array, " neurons"]) -> Float[Array, " neurons"]:
        return jnp.exp(jnp.minimum((v - self.threshold) / self.width, STEEPEST)) / self.tau


class SigmoidEscape(AbstractEscape):
    """r = 1 / (1 + exp(-(V - threshold) / width)) / tau: never more than 1 / tau."""

    tau: Parameter = eqx.field(converter=numeric("tau"))
    threshold: Parameter = eqx.field(converter=numeric("threshold"), default=0.0)
    width: Parameter = eqx.field(converter=numeric("width"), default=1.0)

    def __call__(self, v: Float[Array, " neurons"]) -> Float[Array, " neurons"]:
        return jax.nn.sigmoid((v - self.threshold) / self.width) / self.tau


class EscapeState(eqx.Module):
    """State of escape-rate neurons.

    v: membrane potential; synapses: what each receptor holds; hazard: H since the last spike, or the end of the
    refractory period after it; draw: the H at which the next spike comes (inf: not drawn); draws: how many there have
    been. `refractory` and `held`: the clock and the phase of the refractory period.
    """

    v: Float[Array, " neurons"]
    synapses: Receptors
    hazard: Float[Array, " neurons"]
    draw: Float[Array, " neurons"]
    draws: Float[Array, " neurons"]
    refractory: Float[Array, " neurons"]
    held: Float[Array, " neurons"]


class EscapeRate(AbstractNeuron, Stochastic):
    """Neurons that fire at random, at a rate that depends on their potential (Gerstner et al. 2014, chapter 9).

        tau_mem V' = -V + I + bias,    H' = r(V),    H reaches an Exp(1) draw: spike, H = 0, another draw.

    So the chance of a spike in dt is r(V) dt, whatever has happened. A spike leaves V alone, and in the refractory
    period H stands still while V goes on: the neurons of `sal` in the limit of small time steps, whose PSP is a double
    exponential here. I: `synapses`; r: `escape`.

        EscapeRate(20.0, CurrentSynapses(5.0), ExponentialEscape(10.0), refractory=10.0)

    Draws depend on the key of the trial, the number of the neuron and how many it has had: a trial that is cut in two
    and goes on with the same key is the whole. Spike times are smooth functions of V at fixed draws, with derivatives
    like those of any other neuron.

    Raises ValueError for time constants, a width or a refractory period that is not positive, or per-neuron parameters
    of different lengths.
    """

    tau_mem: Parameter = eqx.field(converter=numeric("tau_mem"))
    synapses: AbstractSynapses
    escape: AbstractEscape
    refractory: Refractory = eqx.field(converter=numeric("refractory"), default=None)
    bias: Parameter = eqx.field(converter=numeric("bias"), default=0.0)

    def __check_init__(self):
        check_type("synapses", self.synapses, AbstractSynapses, "CurrentSynapses(tau_syn), say")
        check_type("escape", self.escape, AbstractEscape)
        check_refractory(self.refractory)
        check_positive("tau_mem", self.tau_mem)
        check_same_lengths_in(self)

    def init(self, neurons: int, dtype: Any = None) -> EscapeState:
        """Potentials, currents and hazards zero, nobody refractory, nothing drawn."""
        zeros = jnp.zeros(neurons, dtype)
        synapses = self.synapses.init(neurons, zeros.dtype)
        return EscapeState(zeros, synapses, zeros, jnp.full_like(zeros, jnp.inf), zeros, zeros, zeros)

    def begin(self, y: EscapeState, key: PRNGKeyArray) -> EscapeState:
        """Whoever has no draw gets one."""
        missing = jnp.isinf(y.draw)
        draw = jnp.where(missing, _draw(key, y.draws), y.draw)
        draws = y.draws + missing.astype(y.draws.dtype)
        return EscapeState(y.v, y.synapses, y.hazard, draw, draws, y.refractory, y.held)

    def vector_field(self, t: Any, y: EscapeState, args: Any) -> EscapeState:
        """The free dynamics; a refractory neuron gathers no hazard while its clock runs down."""
        dv = (self.synapses.current(y.synapses, y.v) + self.bias - y.v) / self.tau_mem
        rate, zeros = (1 - y.held) * self.escape(y.v), jnp.zeros_like(y.held)
        return EscapeState(
            dv, self.synapses.decay(y.synapses), rate, zeros, zeros, tick(self.refractory, y.held), zeros
        )

    @property
    def events(self) -> tuple[Event, ...]:
        """The spike, and the end of the refractory period (the field changes there, so it is an event too)."""
        spike = Event(lambda t, y, args: y.hazard - y.draw, self._fire, emits=True, unit=lambda: self.escape.tau)
        if not has_end(self.refractory):
            return (spike,)
        release = Event(lambda t, y, args: release_guard(y.refractory, y.held), self._release, emits=False)
        return (spike, release)

    def _fire(self, t: Any, y: EscapeState, args: Any) -> EscapeState:
        if args is None:
            raise ValueError("args must be the key of the population: escape-rate neurons draw at random.")
        period = hold(self.refractory, y.refractory, y.held)
        return EscapeState(
            y.v, y.synapses, jnp.zeros_like(y.hazard), _draw(args, y.draws), jnp.round(y.draws) + 1, *period
        )

    def _release(self, t: Any, y: EscapeState, args: Any) -> EscapeState:
        zeros = jnp.zeros_like(y.held)
        return EscapeState(y.v, y.synapses, y.hazard, y.draw, y.draws, zeros, zeros)

    def receive(self, y: EscapeState, port: int, charge: Float[Array, " neurons"]) -> EscapeState:
        """Receptor `port` gathers the charge. Raises ValueError for a port that does not exist."""
        synapses = self.synapses.receive(y.synapses, port, charge)
        return EscapeState(y.v, synapses, y.hazard, y.draw, y.draws, y.refractory, y.held)

    def voltage(self, y: EscapeState) -> Float[Array, " neurons"]:
        """V."""
        return y.v

    def valid(self, y: EscapeState) -> Bool[Array, ""]:
        """Parameters are in range, V is finite, hazards have not gone beyond what was drawn."""
        in_range = all_positive(self.tau_mem, self.escape.tau, self.escape.width)
        in_range &= positive_period(self.refractory) & self.synapses.valid(y.synapses)
        phase = in_phase(self.refractory, y.refractory, y.held, y.hazard < y.draw)
        phase &= (y.held == 0) | (self.refractory is not None)  # nothing would release it
        waiting = (y.hazard >= 0) & (y.draw > 0) & (y.draws >= 0)
        return in_range & jnp.all(phase & waiting & jnp.isfinite(y.v) & jnp.isfinite(y.hazard))


def _draw(key: PRNGKeyArray, draws: Float[Array, " neurons"]) -> Float[Array, " neurons"]:
    """Exp(1), and not zero: by neuron and number of the draw (rounded: a solver's interpolant may be off by an ulp)."""

    def draw(neuron, number):
        own = jax.random.fold_in(jax.random.fold_in(key, neuron), number)
        return jax.random.exponential(own, dtype=draws.dtype)

    found = jax.vmap(draw)(jnp.arange(draws.shape[0], dtype=jnp.uint32), jnp.round(draws).astype(jnp.uint32))
    return jnp.maximum(found, jnp.finfo(draws.dtype).tiny)
