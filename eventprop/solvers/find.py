"""The search for the events of a trial: steps of an integrator from one to the next."""

from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from eventprop.loops import anywhere
from eventprop.solvers.course import NOWHERE, advance, no_arrivals, no_items
from eventprop.solvers.happen import Search, Trial, deliver, fire, given_now, save, watched_by, where
from eventprop.solvers.locate import first_event, imminent, tolerance_of


class Stepping(NamedTuple):
    """An integrator, what chooses its steps, and bounds."""

    solver: Any
    controller: Any
    largest_step: Any
    max_steps: int


def find_events(trial: Trial, stepping: Stepping) -> Search:
    """Go through a trial. It has been completed if `done`."""
    search = _begin(trial, stepping)

    def proceed(s: Search) -> Search:
        active = _active(s, trial, stepping)
        return _one_turn(s, trial, stepping, active)

    return lax.while_loop(lambda s: anywhere(_active(s, trial, stepping)), proceed, search)


def done(s: Search, trial: Trial) -> Bool[Array, ""]:
    """Whether the end of the trial has been reached, and all that happens before."""
    return (s.t >= trial.t1) & (_next_save(s, trial) > trial.t1)


def _active(s: Search, trial: Trial, stepping: Stepping) -> Bool[Array, ""]:
    room = (s.number < stepping.max_steps) & (s.tries < 4 * stepping.max_steps)
    return room & ~done(s, trial) & jnp.isfinite(s.t)


def _begin(trial: Trial, stepping: Stepping) -> Search:
    dynamics, t1 = trial.dynamics, trial.t1
    t = jnp.zeros_like(t1)
    guards, slopes = dynamics.guards_and_slopes(t, trial.y)
    pending = imminent(guards, slopes, tolerance_of(t.dtype, stepping.largest_step))
    largest = jnp.asarray(stepping.largest_step, t.dtype)
    terms = diffrax.ODETerm(dynamics.field)
    order = stepping.solver.error_order(terms)
    first, control = stepping.controller.init(terms, t, largest, trial.y, largest, None, stepping.solver.func, order)
    number = len(dynamics.neurons)
    return Search(
        t=t,
        y=trial.y,
        wish=jnp.asarray(first, t.dtype),
        cap=jnp.full_like(t, jnp.inf),
        control=jax.tree.map(lambda x: jnp.asarray(x), control),
        pending=pending,
        above=guards >= 0,
        forced=pending | (guards >= 0),
        arrival=jnp.full(pending.shape, NOWHERE, jnp.int32),
        cause=jnp.full(pending.shape, NOWHERE, jnp.int32),
        since=jnp.zeros(pending.shape, t.dtype),
        due=trial.post.due,
        next_save=jnp.zeros((), jnp.int32),
        given=jnp.zeros(0, t.dtype) if trial.given is None else trial.given.times,
        sent=jnp.zeros(number, jnp.int32),
        items=no_items(stepping.max_steps, t.dtype),
        number=jnp.zeros((), jnp.int32),
        arrived=no_arrivals(max(1, min(stepping.max_steps, trial.post.due.shape[0]))),
        arrivals=jnp.zeros((), jnp.int32),
        fresh=jnp.zeros((), bool),
        times=trial.post.times,
        sender=trial.post.sender,
        saved=tuple(jnp.zeros((trial.ts.shape[0], size), t.dtype) for size in dynamics.sizes),
        tries=jnp.zeros((), jnp.int32),
    )


def _next_save(s: Search, trial: Trial) -> Float[Array, ""]:
    return _entry(trial.ts, s.next_save)


def _entry(times: Array, place: Array) -> Array:
    """times[place]; `inf` beyond its end."""
    return times.at[place].get(mode="fill", fill_value=jnp.inf) if times.size else jnp.asarray(jnp.inf, times.dtype)


def _one_turn(s: Search, trial: Trial, stepping: Stepping, active: Bool[Array, ""]) -> Search:
    """Fire, deliver or save what is due now; else go one step."""
    next_due, next_given = (jnp.min(times, initial=jnp.inf) for times in (s.due, s.given))
    next_save = _next_save(s, trial)
    running = active & (s.t < trial.t1)
    given = given_now(s, trial, next_due)
    fires = running & (jnp.any(s.pending & watched_by(trial)) | jnp.any(given))
    delivers = running & ~fires & (next_due <= s.t)
    saves = active & ~fires & ~delivers & (next_save <= s.t)
    steps = active & ~fires & ~delivers & ~saves
    stop = jnp.minimum(jnp.minimum(next_due, next_given), jnp.minimum(next_save, trial.t1))
    s = s._replace(tries=s.tries + active)
    s = _step(s, trial, stepping, stop, steps)
    s = fire(s, trial, fires, given)
    s = deliver(s, trial, delivers)
    return save(s, trial, saves)


def _step(s: Search, trial: Trial, stepping: Stepping, stop: Array, steps: Bool[Array, ""]) -> Search:
    """Try a step, to the first event in it or to whatever comes next."""
    dynamics, controller, zero = trial.dynamics, stepping.controller, jnp.zeros_like(s.t)
    largest = jnp.asarray(stepping.largest_step, s.t.dtype)
    tolerance = tolerance_of(s.t.dtype, largest)
    free = jnp.minimum(jnp.minimum(s.wish, largest), s.cap)
    h = jnp.where(steps, jnp.minimum(free, stop - s.t), 0)
    y, error, dense = advance(stepping.solver, dynamics, s.t, h, s.y)
    order = stepping.solver.error_order(diffrax.ODETerm(dynamics.field))
    keep, begin, end, _, control, _ = controller.adapt_step_size(zero, h, s.y, y, None, error, order, s.control)
    keep = steps & keep
    interpolate = stepping.solver.interpolation_cls(t0=zero, t1=h, **dense).evaluate
    watched = watched_by(trial)
    ends = dynamics.guards_and_slopes(s.t, s.y), dynamics.guards_and_slopes(s.t + h, y)
    event = first_event(dynamics, watched, interpolate, s.t, h, ends, tolerance, keep)
    again = keep & (event < h - tolerance)
    accepted, rejected = keep & ~again, steps & ~keep
    # A step that something else has cut short says little about the next one.
    wish = jnp.where(accepted & (h < s.wish), jnp.maximum(end - begin, s.wish), end - begin)
    to = jnp.where(free >= stop - s.t, stop, s.t + h)
    end_of_step = s._replace(
        t=to,
        y=y,
        pending=imminent(*ends[1], tolerance),
        above=ends[1][0] >= 0,
        forced=jnp.zeros_like(s.forced),
    )
    kept = ("t", "y", "pending", "above", "forced")
    s = s._replace(**{k: where(accepted, getattr(end_of_step, k), getattr(s, k)) for k in kept})
    s = s._replace(
        wish=jnp.where(accepted | rejected, wish, s.wish).astype(s.wish.dtype),
        control=where(accepted | rejected, control, s.control),
        cap=jnp.where(again, event, jnp.where(accepted | rejected, jnp.inf, s.cap)),
    )
    items, place = s.items, jnp.where(accepted, s.number, s.items.h.shape[0])
    items = items._replace(
        start=items.start.at[place].set(to - h, mode="drop"), h=items.h.at[place].set(h, mode="drop")
    )
    return s._replace(items=items, number=s.number + accepted, fresh=s.fresh | accepted)
