"""EventProp's backward pass for any neuron: the adjoint system, from event to event."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from eventprop.adjoint import EventProp
from eventprop.loops import anywhere
from eventprop.solvers.course import ARRIVAL, GUARD, NOWHERE, SAVE, Arrivals, Givens, Items, Outcome, advance, entry
from eventprop.solvers.kept import Window, behind, charges_at, forward_item, happening_in, item_at, keep, window_of


@eqx.filter_custom_jvp
def _once(tree: Any) -> Any:
    """The same, which cannot be differentiated: recorded times are constants of the backward pass."""
    return tree


@_once.def_jvp
def _twice(primals: Any, tangents: Any) -> Any:
    del primals
    if any(isinstance(d, jax.Array) for d in jax.tree.leaves(tangents)):
        raise ValueError("EventProp has first derivatives only: take adjoint=Implicit() for second ones.")


class Adjoint(NamedTuple):
    """Derivatives of the loss, when the backward pass stands before an item.

    state: lambda = dL/dy; neurons: those with respect to parameters; times, delay, charges, ts: as in `Givens`; cause:
    with respect to the time at which each guard crosses, by what it has forced at the same moment.
    """

    item: Int[Array, ""]
    window: Window
    state: Any
    neurons: Any
    times: Float[Array, " moments"]
    delay: Float[Array, " arrivals"]
    charges: dict[tuple[int, int], Float[Array, "arrivals _"]]
    ts: Float[Array, " times"]
    cause: Float[Array, " guards"]


@eqx.filter_custom_vjp
def follow_backwards(
    givens: Givens, found: Outcome, items: Items, arrived: Arrivals, number: Array, *, solver: Any, adjoint: EventProp
) -> Outcome:
    """What a search has `found` by its `number` items; see `EventProp`.

    Between the two passes nothing is kept but the items and the state at the beginning.
    """
    del givens, items, arrived, number, solver, adjoint
    return found


@follow_backwards.def_fwd
def _forward(perturbed, givens, found, items, arrived, number, *, solver, adjoint):
    del perturbed, givens, items, arrived, number, solver, adjoint
    return found, None


@follow_backwards.def_bwd
def _backward(residuals, d_found, perturbed, givens, found, items, arrived, number, *, solver, adjoint):
    del residuals, perturbed
    givens, d_found = _once((givens, d_found))
    d = eqx.combine(d_found, jax.tree.map(jnp.zeros_like, found))
    forward, interval = forward_item(givens, items, solver), adjoint.interval
    kept, y_end = keep(forward, givens.y, number, items.h.shape[0], interval)
    start = Adjoint(
        item=number,
        window=behind(givens.y, interval),
        state=d.y,
        neurons=jax.tree.map(jnp.zeros_like, eqx.filter(givens.dynamics, eqx.is_inexact_array)),
        times=d.times,
        delay=jnp.zeros_like(givens.delay),
        charges=jax.tree.map(jnp.zeros_like, givens.charges),
        ts=jnp.zeros_like(givens.ts),
        cause=jnp.zeros(max(1, givens.dynamics.number), givens.t1.dtype),
    )

    def turn(a: Adjoint) -> Adjoint:
        active = a.item > 0
        a = a._replace(item=a.item - active)
        a = a._replace(window=window_of(a.window, a.item, active, forward, kept, interval))
        return _item_backward(a, active, givens, items, arrived, d.saved, solver, adjoint)

    a = lax.while_loop(lambda a: anywhere(a.item > 0), turn, start)
    d_t1 = _dot(d.y, givens.dynamics.field(givens.t1, y_end))
    return Givens(a.neurons, a.state, a.times, a.delay, a.charges, a.ts, d_t1)


def _item_backward(
    a: Adjoint,
    active: Bool[Array, ""],
    givens: Givens,
    items: Items,
    arrived: Arrivals,
    d_saved: Any,
    solver: Any,
    adjoint: EventProp,
) -> Adjoint:
    """From after an item to before it: first what happens at its end, then its step."""
    k, item = a.item, item_at(items, a.item)
    smooth, fixed = eqx.partition(givens.dynamics, eqx.is_inexact_array)
    t, saves = item.start + item.h, item.kind == SAVE

    def flow(smooth, y):
        return advance(solver, eqx.combine(smooth, fixed), item.start, item.h, y)[0]

    def look(smooth, y):
        return eqx.combine(smooth, fixed).voltages(y)

    y = jax.tree.map(lambda rows: rows[k - a.window.begin], a.window.y)
    y, flow_back = jax.vjp(flow, smooth, y)
    state, neurons, d_charges, d_event = _event_backward(a, item, charges_at(givens, item), y, smooth, fixed, adjoint)
    d_seen = tuple(jnp.where(saves, entry(rows, item.save), 0) for rows in d_saved)
    d_neurons, d_state = jax.vjp(look, smooth, y)[1](d_seen)
    d_ts = _dot(d_state, givens.dynamics.field(t, y))
    state, neurons = _add(state, d_state), _add(neurons, d_neurons)
    d_neurons, state = flow_back(state)
    neurons = _add(neurons, d_neurons)
    arrives, fires = active & (item.kind == ARRIVAL), active & (item.kind == GUARD)
    forced = fires & item.forced
    arrival = jnp.where(arrives | forced, item.arrival, NOWHERE)
    moment = arrived.moment.at[arrival].get(mode="fill", fill_value=NOWHERE)
    here = jnp.where(arrives, arrival, NOWHERE)
    crossed = jnp.where(fires & ~item.forced, item.guard, NOWHERE)
    saved = jnp.where(active & saves, item.save, NOWHERE)
    return a._replace(
        state=_where(active, state, a.state),
        neurons=_add(a.neurons, jax.tree.map(lambda x: jnp.where(active, x, 0), neurons)),
        times=a.times.at[moment].add(d_event, mode="drop"),
        delay=a.delay.at[arrival].add(d_event, mode="drop"),
        charges=jax.tree.map(lambda rows, x: rows.at[here].set(x, mode="drop"), a.charges, d_charges),
        ts=a.ts.at[saved].set(d_ts, mode="drop") if a.ts.size else a.ts,
        cause=a.cause.at[crossed]
        .set(0, mode="drop")
        .at[jnp.where(forced, item.cause, NOWHERE)]
        .add(d_event, mode="drop"),
    )


def _event_backward(
    a: Adjoint, item: Items, charges: Any, before: Any, smooth: Any, fixed: Any, adjoint: EventProp
) -> tuple[Any, Any, Any, Array]:
    """The jump of the adjoint at an event with guard g and reset R, between the flows f- and f+:

        lambda- = R_y^T lambda+ - g_y^T b / (g_y f- + g_t),    b = lambda+ . (R_y f- + R_t - f+) + dL/dt,

    where dL/dt is that with respect to the event's time, of the loss and by what depends on this time (Wunderlich &
    Pehle 2021, Table 2, for the LIF neuron; its multipliers are -lambda / tau). What arrives at a given time has no
    guard: b is the derivative by that time. Returned are those of state, parameters, charges, and b.
    """
    t, dynamics = item.start + item.h, eqx.combine(smooth, fixed)
    happening = happening_in(dynamics, item)

    def reset(smooth, y, charges):
        return eqx.combine(smooth, fixed).jump(t, y, happening, charges)

    def guard(smooth, y):
        return jnp.sum(jnp.where(happening, eqx.combine(smooth, fixed).guards(t, y), 0))

    flow = dynamics.field(t, before)
    after, reset_back = jax.vjp(reset, smooth, before, charges)
    moves = jax.jvp(lambda t, y: dynamics.jump(t, y, happening, charges), (t, before), (jnp.ones_like(t), flow))[1]
    jump = jax.tree.map(jnp.subtract, moves, dynamics.field(t, after))
    is_spike = item.kind == GUARD
    crosses = is_spike & ~item.forced
    d_time = jnp.where(is_spike, entry(a.times, item.moment), 0) + jnp.where(crosses, entry(a.cause, item.guard), 0)
    b = jnp.where(is_spike | (item.kind == ARRIVAL), _dot(a.state, jump) + d_time, 0)

    slope = jnp.sum(jnp.where(happening, dynamics.guards_and_slopes(t, before)[1], 0))
    unit = jnp.sum(jnp.where(happening, dynamics.units(t.dtype), 0)) + jnp.where(is_spike, 0, 1)
    per_slope = adjoint.tangential.reciprocal(slope * unit, crosses) * unit
    by_guard = jax.vjp(guard, smooth, before)[1](jnp.where(crosses, -b * per_slope, 0))
    neurons, state, d_charges = reset_back(a.state)
    return _add(state, by_guard[1]), _add(neurons, by_guard[0]), d_charges, b


def _dot(a: Any, b: Any) -> Array:
    products = [jnp.sum(x * y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)]
    return jnp.sum(jnp.stack(products))


def _add(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.add, a, b)


def _where(condition: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), new, old)
