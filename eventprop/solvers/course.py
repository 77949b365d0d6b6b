"""A trial as a list of items, steps of an integrator with what happens at their ends, and its derivatives."""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from eventprop.adjoint import AbstractAdjoint
from eventprop.events import event_delay
from eventprop.network import AbstractNetwork
from eventprop.solvers.dynamics import Dynamics, one_of

NOTHING, GUARD, ARRIVAL, SAVE = range(4)
"""What happens at the end of an item."""
NOWHERE = np.iinfo(np.int32).max
"""Out of range of every list."""
BLOCK = 64
"""Items whose states are computed again, together, when derivatives go backwards."""


class Items(NamedTuple):
    """Steps of the length `h` from `start`, and what happens at their ends; unused ones have the length 0.

    guard: whose event it is; moment: which one a spike becomes; value: the time of that spike. forced: something at
    the same moment has lifted the guard to zero, which makes the event as late as what that goes back to: an `arrival`
    or the crossing of a guard, its `cause`. For what arrives, `arrival` is its own number. save: which of the times to
    save. All are out of range where there is none.
    """

    start: Float[Array, " items"]
    h: Float[Array, " items"]
    kind: Int[Array, " items"]
    guard: Int[Array, " items"]
    forced: Bool[Array, " items"]
    moment: Int[Array, " items"]
    value: Float[Array, " items"]
    arrival: Int[Array, " items"]
    cause: Int[Array, " items"]
    save: Int[Array, " items"]


class Arrivals(NamedTuple):
    """What has arrived, in order: a delay after which moment, by which synapses of whom (column -1: all neurons)."""

    moment: Int[Array, " arrivals"]
    projection: Int[Array, " arrivals"]
    column: Int[Array, " arrivals"]
    sender: Int[Array, " arrivals"]


def no_items(number: int, dtype: Any) -> Items:
    """A list without anything on it."""
    zero, kind, forced = (jnp.zeros(number, d) for d in (dtype, jnp.int32, bool))
    nowhere = jnp.full(number, NOWHERE, jnp.int32)
    return Items(zero, zero, kind, nowhere, forced, nowhere, zero, nowhere, nowhere, nowhere)


def no_arrivals(number: int) -> Arrivals:
    """A list without anything on it."""
    nowhere, nobody = jnp.full(number, NOWHERE, jnp.int32), jnp.zeros(number, jnp.int32)
    return Arrivals(nowhere, nowhere, nobody, nobody)


class Givens(NamedTuple):
    """What the course of a trial depends on smoothly.

    times: of the moments (those known from the start); delay, charges: of each arrival, by population and port; ts:
    times to save; t1: the end.
    """

    dynamics: Dynamics
    y: Any
    times: Float[Array, " moments"]
    delay: Float[Array, " arrivals"]
    charges: dict[tuple[int, int], Float[Array, "arrivals _"]]
    ts: Float[Array, " times"]
    t1: Float[Array, ""]


class Outcome(NamedTuple):
    """times of all moments; the state at the end; potentials of each population at the times saved."""

    times: Float[Array, " moments"]
    y: Any
    saved: tuple[Float[Array, "times _"], ...]


def delays_and_charges(
    network: AbstractNetwork, arrived: Arrivals, known: int, dtype: Any
) -> tuple[Float[Array, " arrivals"], dict[tuple[int, int], Float[Array, "arrivals _"]]]:
    """What the synapses have to say about each arrival. Those of the first `known` moments travel no longer.

    Read here, for all arrivals at once, so that the derivatives of all weights are one sum over arrivals, also over
    those of all trials of a batch.
    """
    delay = jnp.zeros(arrived.moment.shape, dtype)
    charges: dict[tuple[int, int], Array] = {}
    for number, p in enumerate(network.projections):
        own = arrived.projection == number
        sender = jnp.where(own, arrived.sender, 0)
        rows = p.connection.charges(sender)
        reached = (arrived.column[:, None] < 0) | (arrived.column[:, None] == jnp.arange(rows.shape[1])[None])
        place = (p.target, p.connection.port)
        charges[place] = charges.get(place, 0) + jnp.where(own[:, None] & reached, rows, 0)
        travel = p.connection.delays(sender)
        if travel is not None:
            column = jnp.clip(arrived.column, 0, travel.shape[1] - 1)
            own_delay = jnp.take_along_axis(travel, column[:, None], axis=1)[:, 0]
            delay += jnp.where(own & (arrived.moment >= known), own_delay, 0)
    return delay, charges


def entry(rows: Array, place: Int[Array, "..."]) -> Array:
    """rows[place]; 0 where there is no such row."""
    if not rows.shape[0]:
        return jnp.zeros((*place.shape, *rows.shape[1:]), rows.dtype)
    return rows.at[place].get(mode="fill", fill_value=0)


def retrace(
    items: Items, arrived: Arrivals, givens: Givens, solver: diffrax.AbstractSolver, adjoint: AbstractAdjoint
) -> Outcome:
    """The same trial again, as a smooth function of what is given.

    Between events the state is integrated to the recorded times, which are fixed. An event takes place a time delta
    after that, which is 0, but has the derivatives of its cause: by the implicit function theorem (`event_delay`) for a
    guard that crosses zero; those of the moment and the delay for an arrival; and for a guard that is lifted, those of
    what has lifted it.
    """
    number = items.h.shape[0]
    blocks = -(-number // BLOCK)

    def pad(x):
        x = jnp.pad(x, [(0, blocks * BLOCK - number)] + [(0, 0)] * (x.ndim - 1))
        return x.reshape(blocks, BLOCK, *x.shape[1:])

    def one(carry, x):
        return _one_item(givens, carry, x, solver, adjoint)

    @jax.checkpoint
    def block(carry, block):
        here, moment = block
        delay = entry(givens.delay, here.arrival)
        charges = jax.tree.map(lambda rows: entry(rows, arriving(here)), givens.charges)
        return lax.scan(one, carry, (here, moment, delay, charges))

    def arriving(here):
        return jnp.where(here.kind == ARRIVAL, here.arrival, NOWHERE)

    moment = arrived.moment.at[items.arrival].get(mode="fill", fill_value=NOWHERE)
    crossed = jnp.zeros(max(1, givens.dynamics.number), givens.t1.dtype)
    carry = (givens.y, givens.times, crossed)
    (y, times, _), voltages = lax.scan(block, carry, jax.tree.map(pad, (items, moment)))
    y = givens.dynamics.shift(lax.stop_gradient(givens.t1), y, _zero(givens.t1))
    return Outcome(times, y, _saved(items, voltages, givens.ts))


def _one_item(givens: Givens, carry: Any, x: Any, solver: Any, adjoint: Any) -> Any:
    """crossed: how much later each guard has crossed zero, 0 with derivatives."""
    (item, moment, delay, charges), (y, times, crossed) = x, carry
    dynamics = givens.dynamics
    y, t = advance(solver, dynamics, item.start, item.h, y)[0], item.start + item.h
    is_event, is_arrival, is_save = (item.kind == kind for kind in (GUARD, ARRIVAL, SAVE))
    happening = one_of(item.guard, dynamics.number, is_event)
    crosses = is_event & ~item.forced
    crossing = _crossing(dynamics, t, y, happening, crosses, adjoint)
    caused = _zero(entry(times, moment) + delay) + entry(crossed, item.cause)
    cause = [
        (crosses, crossing),
        (is_arrival | (is_event & item.forced), caused),
        (is_save, _zero(entry(givens.ts, item.save))),
    ]
    delta = sum(jnp.where(is_it, d, 0) for is_it, d in cause)
    crossed = crossed.at[jnp.where(crosses, item.guard, NOWHERE)].set(delta, mode="drop")
    spike = jnp.where(is_event, item.moment, NOWHERE)
    times = times.at[spike].set(item.value + delta, mode="drop")
    y = jax.tree.map(
        lambda new, old: jnp.where(is_event | is_arrival, new, old),
        dynamics.happen(t, y, happening, charges, delta),
        y,
    )
    seen = dynamics.voltages(dynamics.shift(t, y, jnp.where(is_save, delta, 0)))
    return (y, times, crossed), seen


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
def follow(
    found: Outcome, items: Items, arrived: Arrivals, givens: Givens, *, solver: Any, adjoint: AbstractAdjoint
) -> Outcome:
    """What a search has `found`, with the derivatives of the trial that it went through."""
    del items, arrived, givens, solver, adjoint
    return found


@follow.def_jvp
def _follow_jvp(primals, tangents, *, solver, adjoint):
    found, items, arrived, givens = primals
    d_givens = tangents[3]
    out = follow(found, items, arrived, givens, solver=solver, adjoint=adjoint)
    perturbed = eqx.filter(givens, jax.tree.map(lambda d: d is not None, d_givens, is_leaf=lambda d: d is None))
    if not jax.tree.leaves(perturbed):
        return out, jax.tree.map(jnp.zeros_like, out)

    def outcome(perturbed):
        return retrace(items, arrived, eqx.combine(perturbed, givens), solver, adjoint)

    return out, jax.jvp(outcome, (perturbed,), (d_givens,))[1]
