"""One step of a population on a grid: its motion, and the events within."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from eventprop.adjoint import AbstractAdjoint, Implicit
from eventprop.events import event_time
from eventprop.neurons.base import AbstractNeuron, Event
from eventprop.neurons.noise import Diffusive
from eventprop.surrogate import AbstractPseudoDerivative, Surrogate


class Stepped(NamedTuple):
    """A population after a step: its state, who has fired (0 or 1), when (as a part of the step), and who twice.

    The moment of those that have not fired is the end of the step, where a surrogate spike would be.
    """

    y: Any
    spikes: Float[Array, " neurons"]
    moment: Float[Array, " neurons"]
    twice: Bool[Array, " neurons"]


class Step(NamedTuple):
    """The step from t to t + h, the key of the population, and the noise on its membranes, standard normal numbers.

    one: 1, which no compiler knows. XLA keeps quotients; on CPU whatever is cheaper is computed once more for each
        array that depends on it. So what much depends on is divided by 1.
    """

    t: Float[Array, ""]
    h: Float[Array, ""]
    args: PRNGKeyArray | None
    one: Float[Array, ""]
    noise: Float[Array, " neurons"] | None


class WhiteNoise(diffrax.AbstractTerm):
    """diffusion(t, y) dW with the increment `dw` over the whole step, one for each value of the state."""

    neuron: Diffusive
    dw: Any

    def vf(self, t: Any, y: Any, args: Any) -> Any:
        """The amplitudes."""
        return self.neuron.diffusion(t, y, args)

    def contr(self, t0: Any, t1: Any, **kwargs: Any) -> Any:
        """The increment, drawn before."""
        return self.dw

    def prod(self, vf: Any, control: Any) -> Any:
        """Value by value."""
        return jax.tree.map(
            lambda dw, amplitude: jnp.zeros_like(dw) if amplitude is None else amplitude * dw, control, vf
        )


def step(
    neuron: AbstractNeuron, y: Any, at: Step, *, solver: diffrax.AbstractSolver, adjoint: AbstractAdjoint
) -> Stepped:
    """Move a population by one step, from just after the arrivals at its beginning to just before those at its end."""
    terms, zero = _terms(neuron, y, at), jnp.zeros_like(at.h)
    state = solver.init(terms, zero, at.h, y, at.args)
    end, *_ = solver.step(terms, zero, at.h, y, at.args, state, made_jump=False)
    end = jax.tree.map(lambda x: x / at.one, end)
    spikes = twice = jnp.zeros_like(neuron.voltage(y))
    moment, twice = jnp.ones_like(spikes), twice > 0
    # Releases come first: a neuron may fire in the same step.
    for event in sorted(neuron.events, key=lambda event: event.emits):
        end, happened, when = _happen(neuron, event, y, end, terms, at, adjoint)
        if event.emits:
            again = lax.stop_gradient(event.guard(at.t + at.h, end, at.args)) >= 0
            spikes, moment, twice = spikes + happened, jnp.where(happened > 0, when, moment), (happened > 0) & again
    return Stepped(end, spikes, moment, twice)


def _terms(neuron: AbstractNeuron, y: Any, at: Step) -> diffrax.AbstractTerm:
    """What moves the population, counted from the beginning of the step: differences of late times are rounded."""
    drift = diffrax.ODETerm(lambda t, y, args: neuron.vector_field(at.t + t, y, args))
    if not isinstance(neuron, Diffusive):
        return drift
    assert at.noise is not None
    dw = jnp.sqrt(at.h) * at.noise
    return diffrax.MultiTerm(drift, WhiteNoise(neuron, jax.tree.map(lambda _: dw, y)))


def _happen(
    neuron: AbstractNeuron,
    event: Event,
    begin: Any,
    end: Any,
    terms: diffrax.AbstractTerm,
    at: Step,
    adjoint: AbstractAdjoint,
) -> tuple[Any, Float[Array, " neurons"], Float[Array, " neurons"]]:
    """The state at the end of the step with its event, to whom it happened (0 or 1), and when.

    The guard's chord tells the moment, the state then lies on the chord too, jumps, and is carried on by one Euler step
    over the rest: an error of second order once per event, as small as that of a method of second order as a whole.
    What neither jumps nor moves differently afterwards stays as it is. The rates of that step are those of the membrane
    (an upstroke may have moved it far) and of what jumps after the jump, of the rest at the beginning of the step:
    another error of second order, and what does not depend on these has been computed already.
    """
    low, high = event.guard(at.t, begin, at.args), event.guard(at.t + at.h, end, at.args)
    # A guard that ends at zero is an event of the next step, or of the next window.
    due = low >= 0
    within = ~due & (high > 0)
    # One quotient, which XLA keeps, tells who and when: it is -1 where nothing happens.
    quotient = jnp.where(within, low, jnp.where(due, 0, 1)) / jnp.where(within, low - high, jnp.where(due, 1, -1))
    found = quotient >= 0
    if isinstance(adjoint, Implicit):
        chord = jnp.where(within, low, -1), jnp.where(within, high, 0)
        moment = event_time(quotient, chord, event.unit() / at.h, guard=_on_chord, finite=found, adjoint=adjoint)
    else:
        assert isinstance(adjoint, Surrogate)
        moment = lax.stop_gradient(quotient)
        if not adjoint.detach_reset:
            moment = jnp.where(found, moment, 1)  # a spike that only its derivative knows would be at the end
    before = jax.tree.map(lambda a, b: a + moment * (b - a), begin, end)
    after = event.jump(at.t + moment * at.h, before, at.args)
    membrane = neuron.voltage(after)
    rested = jax.tree.map(
        lambda new, old, begin: begin if new is old and new is not membrane else new, after, before, begin
    )
    zero = jnp.zeros_like(at.h)

    def change(y):
        return terms.vf_prod(zero, y, at.args, terms.contr(zero, at.h))

    carried = jax.tree.map(
        lambda affected, old, y, change: y + (1 - moment) * change if affected else old,
        _affected(change, before, after),
        end,
        after,
        change(rested),
    )
    y = jax.tree.map(lambda new, old: old if new is old else jnp.where(found, new, old) / at.one, carried, end)
    happened = found.astype(moment.dtype)
    if isinstance(adjoint, Surrogate) and event.emits:
        happened = _spiking(happened, high, adjoint.derivative)
        if not adjoint.detach_reset:
            surrogate = happened - lax.stop_gradient(happened)  # is zero, and has a derivative
            y = jax.tree.map(
                lambda y, new, old: y if new is old else y + surrogate * lax.stop_gradient(new - old), y, carried, end
            )
    return y, happened, moment


def _affected(change: Callable[[Any], Any], before: Any, after: Any) -> Any:
    """Which arrays of the state a jump changes, directly or in their rates of change."""
    program = jax.make_jaxpr(change)(before).jaxpr
    jumps = [new is not old for old, new in zip(*map(jax.tree.leaves, (before, after)), strict=True)]
    changed = {number for number, jump in zip(map(id, program.invars), jumps, strict=True) if jump}
    for equation in program.eqns:
        if changed.intersection(map(id, equation.invars)):
            changed.update(map(id, equation.outvars))
    found = [jump or id(x) in changed for jump, x in zip(jumps, program.outvars, strict=True)]
    return jax.tree.unflatten(jax.tree.structure(before), found)


def _on_chord(moment: Array, chord: tuple[Array, Array]) -> Array:
    low, high = chord
    return low + moment * (high - low)


@eqx.filter_custom_jvp
def _spiking(spikes: Array, guard: Array, derivative: AbstractPseudoDerivative) -> Array:
    """The spikes, with the pseudo-derivative in the guard."""
    del guard, derivative
    return spikes


@_spiking.def_jvp
def _spiking_jvp(primals, tangents):
    (spikes, guard, derivative), (_, change, _) = primals, tangents
    return spikes, jnp.zeros_like(spikes) if change is None else derivative(lax.stop_gradient(guard)) * change
