"""A trial as a list of items, steps of an integrator with what happens at their ends, and its derivatives."""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from eventprop.adjoint import AbstractAdjoint
from eventprop.events import event_delay
from eventprop.network import AbstractNetwork
from eventprop.solvers.dynamics import Dynamics, one_of

NOTHING, GUARD, ARRIVAL, SAVE = range(4)
"""What happens at the end of an item."""
BLOCK = 64
"""Items whose states are computed again, together, when derivatives go backwards."""


class Items(NamedTuple):
    """Steps of the length `h` from `start`, and what happens at their ends; unused ones have the length 0.

    guard: whose event it is; forced: it fires because of what happened at the same moment just before. moment: the
    moment that an arrival depends on or a spike becomes (out of range: neither); value: the time of that spike.
    projection, column, sender: by which synapses of whom something arrives. save: which of the times to save.
    """

    start: Float[Array, " items"]
    h: Float[Array, " items"]
    kind: Int[Array, " items"]
    guard: Int[Array, " items"]
    forced: Bool[Array, " items"]
    moment: Int[Array, " items"]
    value: Float[Array, " items"]
    projection: Int[Array, " items"]
    column: Int[Array, " items"]
    sender: Int[Array, " items"]
    save: Int[Array, " items"]


def no_items(number: int, dtype: Any) -> Items:
    """A list without anything on it."""
    zero, whole, beyond = (jnp.zeros(number, d) for d in (dtype, jnp.int32, bool))
    nowhere = jnp.full(number, jnp.iinfo(jnp.int32).max, jnp.int32)
    return Items(zero, zero, whole, whole, beyond, nowhere, zero, whole, whole - 1, whole, nowhere)


class Givens(NamedTuple):
    """What the course of a trial depends on smoothly.

    times: of the moments (those known from the start); delay, charges: of each item, by population and port; ts: times
    to save; t1: the end.
    """

    dynamics: Dynamics
    y: Any
    times: Float[Array, " moments"]
    delay: Float[Array, " items"]
    charges: dict[tuple[int, int], Float[Array, "items _"]]
    ts: Float[Array, " times"]
    t1: Float[Array, ""]


class Outcome(NamedTuple):
    """times of all moments; the state at the end; potentials of each population at the times saved."""

    times: Float[Array, " moments"]
    y: Any
    saved: tuple[Float[Array, "times _"], ...]


def delays_and_charges(
    network: AbstractNetwork, items: Items, known: int
) -> tuple[Float[Array, " items"], dict[tuple[int, int], Float[Array, "items _"]]]:
    """What the synapses have to say about each item. Arrivals at the first `known` moments travel no longer.

    Read here, for all items at once, so that the derivatives of all weights are one sum over items, also over those of
    all trials of a batch.
    """
    delay = jnp.zeros_like(items.h)
    charges: dict[tuple[int, int], Array] = {}
    for number, p in enumerate(network.projections):
        own = (items.kind == ARRIVAL) & (items.projection == number)
        sender = jnp.where(own, items.sender, 0)
        rows = p.connection.charges(sender)
        reached = (items.column[:, None] < 0) | (items.column[:, None] == jnp.arange(rows.shape[1])[None])
        place = (p.target, p.connection.port)
        charges[place] = charges.get(place, 0) + jnp.where(own[:, None] & reached, rows, 0)
        travel = p.connection.delays(sender)
        if travel is not None:
            column = jnp.clip(items.column, 0, travel.shape[1] - 1)
            own_delay = jnp.take_along_axis(travel, column[:, None], axis=1)[:, 0]
            delay += jnp.where(own & (items.moment >= known), own_delay, 0)
    return delay, charges


def retrace(items: Items, givens: Givens, solver: diffrax.AbstractSolver, adjoint: AbstractAdjoint) -> Outcome:
    """The same trial again, as a smooth function of what is given.

    Between events the state is integrated to the recorded times, which are fixed. An event takes place a time delta
    after that, which is 0, but has the derivatives of its cause: by the implicit function theorem (`event_delay`) for a
    guard that crosses zero; those of the moment and the delay for an arrival, and for what it lifts over its threshold.
    """
    number = items.h.shape[0]
    blocks = -(-number // BLOCK)

    def pad(x):
        x = jnp.pad(x, [(0, blocks * BLOCK - number)] + [(0, 0)] * (x.ndim - 1))
        return x.reshape(blocks, BLOCK, *x.shape[1:])

    def one(carry, x):
        return _one_item(givens, carry, x, solver, adjoint)

    @jax.checkpoint
    def block(carry, xs):
        return lax.scan(one, carry, xs)

    xs = jax.tree.map(pad, (items, givens.delay, givens.charges))
    carry = (givens.y, givens.times, jnp.zeros_like(givens.t1))
    (y, times, _), voltages = lax.scan(block, carry, xs)
    y = givens.dynamics.shift(lax.stop_gradient(givens.t1), y, _zero(givens.t1))
    return Outcome(times, y, _saved(items, voltages, givens.ts))


def _one_item(givens: Givens, carry: Any, x: Any, solver: Any, adjoint: Any) -> Any:
    (item, delay, charges), (y, times, delta) = x, carry
    dynamics = givens.dynamics
    y, t = advance(solver, dynamics, item.start, item.h, y)[0], item.start + item.h
    happening = one_of(item.guard, dynamics.guards(t, y).shape[0], item.kind == GUARD)
    crossing = _crossing(dynamics, t, y, happening, ~item.forced, adjoint)
    moment = times.at[item.moment].get(mode="fill", fill_value=0)
    save = givens.ts.at[item.save].get(mode="fill", fill_value=0) if givens.ts.size else jnp.zeros_like(t)
    cause = [
        (item.kind == GUARD, jnp.where(item.forced, delta, crossing)),
        (item.kind == ARRIVAL, _zero(moment + delay)),
        (item.kind == SAVE, _zero(save)),
    ]
    delta = sum(jnp.where(is_it, d, 0) for is_it, d in cause)
    spike = jnp.where(item.kind == GUARD, item.moment, times.shape[0])
    times = times.at[spike].set(item.value + delta, mode="drop")
    y = jax.tree.map(
        lambda new, old: jnp.where((item.kind == GUARD) | (item.kind == ARRIVAL), new, old),
        dynamics.happen(t, y, happening, charges, delta),
        y,
    )
    seen = dynamics.voltages(dynamics.shift(t, y, jnp.where(item.kind == SAVE, delta, 0)))
    return (y, times, delta), seen


def _crossing(dynamics, t, y, happening, finite, adjoint):
    """How much later a guard crosses zero: 0, with derivatives."""
    exists = jnp.any(happening)
    unit = jnp.sum(jnp.where(happening, dynamics.units(t.dtype), 0)) + jnp.where(exists, 0, 1)
    args = (dynamics, y, t, happening)
    return event_delay(args, unit, guard=_guard_after, finite=finite & exists, adjoint=adjoint)


def _guard_after(delta: Array, args: Any) -> Array:
    """The guard of whom an event happens to, a time `delta` later."""
    dynamics, y, t, happening = args
    return jnp.sum(jnp.where(happening, dynamics.guards(t + delta, dynamics.shift(t, y, delta)), 0))


def _zero(x: Array) -> Array:
    """0 with the derivatives of x."""
    return x - lax.stop_gradient(x)


def _saved(items: Items, voltages: tuple[Array, ...], ts: Array) -> tuple[Array, ...]:
    """What was seen at the times to save."""
    number = items.save.shape[0]
    place = jnp.zeros(ts.shape[0], jnp.int32).at[items.save].set(jnp.arange(number, dtype=jnp.int32), mode="drop")
    return tuple(v.reshape(-1, v.shape[-1])[place] for v in voltages)


def advance(solver: diffrax.AbstractSolver, dynamics: Dynamics, t: Array, h: Array, y: Any) -> tuple[Any, ...]:
    """One step of the length `h`: the new state, its error, and what its interpolant needs.

    Times within the step are counted from its beginning: it may be shorter than times at `t` can tell apart.
    """
    terms = diffrax.ODETerm(lambda s, y, args: dynamics.field(t + s, y))
    zero = jnp.zeros_like(h)
    state = solver.init(terms, zero, h, y, None)
    y1, error, dense, _, _ = solver.step(terms, zero, h, y, None, state, made_jump=False)
    return y1, error, dense


@eqx.filter_custom_jvp
def follow(found: Outcome, items: Items, givens: Givens, *, solver: Any, adjoint: AbstractAdjoint) -> Outcome:
    """What a search has `found`, with the derivatives of the trial that it went through."""
    del items, givens, solver, adjoint
    return found


@follow.def_jvp
def _follow_jvp(primals, tangents, *, solver, adjoint):
    found, items, givens = primals
    d_givens = tangents[2]
    out = follow(found, items, givens, solver=solver, adjoint=adjoint)
    perturbed = eqx.filter(givens, jax.tree.map(lambda d: d is not None, d_givens, is_leaf=lambda d: d is None))
    if not jax.tree.leaves(perturbed):
        return out, jax.tree.map(jnp.zeros_like, out)
    _, d_out = jax.jvp(lambda p: retrace(items, eqx.combine(p, givens), solver, adjoint), (perturbed,), (d_givens,))
    return out, d_out
