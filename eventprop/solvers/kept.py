"""States that are kept on the way forward, for a pass that goes backwards from each to the one before."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from eventprop.loops import anywhere
from eventprop.solvers.course import ARRIVAL, GUARD, NOWHERE, Givens, Items, advance, entry
from eventprop.solvers.dynamics import Dynamics, one_of

Forward = Callable[[Array, Any], Any]
"""The state after an item, from its number and the state before."""


class Window(NamedTuple):
    """The states before the items from `begin` on."""

    y: Any
    begin: Int[Array, ""]


def item_at(items: Items, k: Array) -> Items:
    """One item."""
    return jax.tree.map(lambda x: x[k], items)


def happening_in(dynamics: Dynamics, item: Items) -> Array:
    """Whose guard an item is the event of, if any, [guards]."""
    return one_of(item.guard, dynamics.number, item.kind == GUARD)


def charges_at(givens: Givens, item: Items) -> dict[tuple[int, int], Array]:
    """What arrives, by population and port; 0 where nothing does."""
    arrival = jnp.where(item.kind == ARRIVAL, item.arrival, NOWHERE)
    return jax.tree.map(lambda rows: entry(rows, arrival), givens.charges)


def forward_item(givens: Givens, items: Items, solver: Any) -> Forward:
    """One step, and what happens at its end."""
    dynamics = givens.dynamics

    def forward(k: Array, y: Any) -> Any:
        item = item_at(items, k)
        y = advance(solver, dynamics, item.start, item.h, y)[0]
        return dynamics.jump(item.start + item.h, y, happening_in(dynamics, item), charges_at(givens, item))

    return forward


def keep(forward: Forward, y: Any, number: Array, most: int, interval: int) -> tuple[Any, Any]:
    """The states before one in `interval` of the first `number` (of at most `most`) items, and the one after all."""

    def proceed(carry):
        k, y, kept = carry
        active = k < number
        place = jnp.where(active & (k % interval == 0), k // interval, most)
        return k + active, _where(active, forward(k, y), y), _put(kept, place, y)

    start = (jnp.zeros_like(number), y, _rows(-(-most // interval), y))
    _, y, kept = lax.while_loop(lambda carry: anywhere(carry[0] < number), proceed, start)
    return kept, y


def behind(y: Any, interval: int) -> Window:
    """The window of a pass that has not yet begun to go backwards."""
    return Window(_rows(interval, y), jnp.asarray(jnp.iinfo(jnp.int32).max, jnp.int32))


def window_of(window: Window, k: Array, active: Array, forward: Forward, kept: Any, interval: int) -> Window:
    """The window that holds item k, going on from the last state that has been kept before it."""
    needed = active & (k < window.begin)
    segment = k // interval
    begin = jnp.where(needed, segment * interval, window.begin)

    def proceed(carry):
        at, y, rows = carry
        inside = needed & (at <= k)
        rows = _put(rows, jnp.where(inside, at - begin, interval), y)
        return at + inside, _where(inside, forward(at, y), y), rows

    start = (begin, jax.tree.map(lambda x: x[segment], kept), window.y)
    _, _, rows = lax.while_loop(lambda carry: anywhere(needed & (carry[0] <= k)), proceed, start)
    return Window(rows, begin)


def _rows(number: int, y: Any) -> Any:
    return jax.tree.map(lambda x: jnp.zeros((number, *x.shape), x.dtype), y)


def _put(rows: Any, place: Array, y: Any) -> Any:
    return jax.tree.map(lambda r, x: r.at[place].set(x, mode="drop"), rows, y)


def _where(condition: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), new, old)
