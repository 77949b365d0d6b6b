"""The search for the events of a trial: steps of an integrator from one to the next."""

from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from eventprop.loops import anywhere
from eventprop.network import AbstractNetwork
from eventprop.solvers.course import ARRIVAL, GUARD, NOWHERE, SAVE, Arrivals, Items, advance, no_arrivals, no_items
from eventprop.solvers.dynamics import Dynamics, one_of
from eventprop.solvers.locate import first_event, imminent, tolerance_of, until
from eventprop.solvers.post import Post, send


class Stepping(NamedTuple):
    """An integrator, what chooses its steps, and bounds."""

    solver: Any
    controller: Any
    largest_step: Any
    max_steps: int


class Trial(NamedTuple):
    """What a search starts from. given: spikes that are prescribed, instead of those that guards would find."""

    network: AbstractNetwork
    dynamics: Dynamics
    post: Post
    y: Any
    ts: Float[Array, " times"]
    t1: Float[Array, ""]
    given: "Given | None"


class Given(NamedTuple):
    """Prescribed spikes, ascending (`inf`: none), and their guards."""

    times: Float[Array, " spikes"]
    guard: Int[Array, " spikes"]


class Search(NamedTuple):
    """Where a search stands at the time t.

    wish: the step that the controller wants; cap: where an event was seen within a step, which has to be taken again,
    shorter. pending: who is at its event, and fires now unless its spikes are prescribed; above: whose guards are not
    below zero; forced: whose guards were lifted there at this moment, and since when; that goes back to an arrival or
    the crossing of a guard (arrival, cause: its number). due: see `Post`; given: prescribed spikes that have not taken
    place. next_save, arrivals: how far these lists have been worked off. sent: spikes of each population. fresh: the
    last item is a step at whose end nothing has happened yet.
    """

    t: Float[Array, ""]
    y: Any
    wish: Float[Array, ""]
    cap: Float[Array, ""]
    control: Any
    pending: Bool[Array, " guards"]
    above: Bool[Array, " guards"]
    forced: Bool[Array, " guards"]
    arrival: Int[Array, " guards"]
    cause: Int[Array, " guards"]
    since: Float[Array, " guards"]
    due: Float[Array, " arrivals"]
    next_save: Int[Array, ""]
    given: Float[Array, " spikes"]
    sent: Int[Array, " populations"]
    items: Items
    number: Int[Array, ""]
    arrived: Arrivals
    arrivals: Int[Array, ""]
    fresh: Bool[Array, ""]
    times: Float[Array, " moments"]
    sender: Int[Array, " moments"]
    saved: Any
    tries: Int[Array, ""]


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


def watched_by(trial: Trial) -> Bool[Array, " guards"]:
    """The guards that are looked at: prescribed spikes need none."""
    emits = trial.dynamics.of_population(lambda slots: slots.emits, bool)
    return jnp.ones_like(emits) if trial.given is None else ~emits


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
    given = _given_now(s, trial, next_due)
    fires = running & (jnp.any(s.pending & watched_by(trial)) | jnp.any(given))
    delivers = running & ~fires & (next_due <= s.t)
    saves = active & ~fires & ~delivers & (next_save <= s.t)
    steps = active & ~fires & ~delivers & ~saves
    stop = jnp.minimum(jnp.minimum(next_due, next_given), jnp.minimum(next_save, trial.t1))
    s = s._replace(tries=s.tries + active)
    s = _step(s, trial, stepping, stop, steps)
    s = _fire(s, trial, fires, given)
    s = _deliver(s, trial, delivers)
    return _save(s, trial, saves)


def _given_now(s: Search, trial: Trial, next_due: Array) -> Bool[Array, " spikes"]:
    """Which prescribed spikes can take place now.

    As for those that are found, what arrives at the same time comes first, unless a neuron is at its event before.
    """
    if trial.given is None or not s.given.size:
        return jnp.zeros(1, bool)
    return (s.given <= s.t) & (s.pending[trial.given.guard] | (next_due > s.t))


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
    s = s._replace(**{k: _where(accepted, getattr(end_of_step, k), getattr(s, k)) for k in kept})
    s = s._replace(
        wish=jnp.where(accepted | rejected, wish, s.wish).astype(s.wish.dtype),
        control=_where(accepted | rejected, control, s.control),
        cap=jnp.where(again, event, jnp.where(accepted | rejected, jnp.inf, s.cap)),
    )
    items, place = s.items, jnp.where(accepted, s.number, s.items.h.shape[0])
    items = items._replace(
        start=items.start.at[place].set(to - h, mode="drop"), h=items.h.at[place].set(h, mode="drop")
    )
    return s._replace(items=items, number=s.number + accepted, fresh=s.fresh | accepted)


def _where(condition: Bool[Array, ""], new: Any, old: Any) -> Any:
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y).astype(jnp.asarray(y).dtype), new, old)


def _note(s: Search, happens: Bool[Array, ""], **what: Any) -> Search:
    """Put down what happens at the end of the last step, or after whatever else has happened there."""
    new = happens & ~s.fresh
    place = jnp.where(happens, s.number - s.fresh, s.items.h.shape[0])
    what["start"] = jnp.where(new, s.t, s.items.start.at[place].get(mode="fill", fill_value=0))
    columns = {k: getattr(s.items, k).at[place].set(x, mode="drop") for k, x in what.items()}
    return s._replace(items=s.items._replace(**columns), number=s.number + new, fresh=s.fresh & ~happens)


def _fire(s: Search, trial: Trial, fires: Bool[Array, ""], given: Bool[Array, " spikes"]) -> Search:
    """One of those who are at an event, or the one whose spike is given."""
    dynamics, post, no_moment = trial.dynamics, trial.post, s.times.shape[0]
    if not dynamics.slots:
        return s
    guard, is_given = jnp.argmax(s.pending & watched_by(trial)).astype(jnp.int32), jnp.any(given)
    if trial.given is not None and s.given.size:
        spike = jnp.argmax(given)
        guard = jnp.where(is_given, trial.given.guard[spike], guard)
        done = jnp.where(fires & is_given, spike, NOWHERE)
        s = s._replace(given=s.given.at[done].set(jnp.inf, mode="drop"))
    guards, slopes = dynamics.guards_and_slopes(s.t, s.y)
    forced = s.forced[guard]
    time = s.t + jnp.where(is_given, 0, until(guards, slopes)[guard])
    time = jnp.where(forced & ~is_given, s.since[guard], time)
    happening = one_of(guard, s.pending.shape[0], fires)
    population = dynamics.of_population(lambda slots: slots.population, jnp.int32)[guard]
    emits = fires & dynamics.of_population(lambda slots: slots.emits, bool)[guard]
    first = dynamics.of_population(lambda slots: slots.first, jnp.int32)[guard]
    room = jnp.asarray(post.room, jnp.int32)[population]
    starts = jnp.asarray([post.first(k) for k in range(len(post.room))], jnp.int32)[population]
    row = s.sent[population]
    moment = jnp.where(emits & (row < room), starts + row, no_moment)
    arrival, cause = (jnp.where(forced, x[guard], NOWHERE) for x in (s.arrival, s.cause))
    what = {"guard": guard, "forced": forced, "arrival": arrival, "cause": cause}
    s = _note(s, fires, kind=GUARD, moment=moment, value=time, **what)
    s = s._replace(
        due=send(trial.network, post, s.due, population, jnp.where(emits, row, no_moment), guard - first, time),
        sent=s.sent.at[population].add(emits),
        times=s.times.at[moment].set(time, mode="drop"),
        sender=s.sender.at[moment].set(guard - first, mode="drop"),
    )
    return _happened(s, trial, fires, happening, {}, arrival, jnp.where(forced, cause, guard), time)


def _deliver(s: Search, trial: Trial, delivers: Bool[Array, ""]) -> Search:
    """The arrival that is due first, of several the first of the list."""
    post = trial.post
    if not s.due.size:
        return s
    first = jnp.argmin(s.due)
    moment, projection, column = post.moment[first], post.projection[first], post.column[first]
    what = Arrivals(moment, projection, column, s.sender[moment])
    charges: dict[tuple[int, int], Array] = {}
    for number, p in enumerate(trial.network.projections):
        row = p.connection.charges(jnp.clip(what.sender, 0, p.connection.sources - 1)[None])[0]
        reached = (column < 0) | (column == jnp.arange(row.shape[0]))
        place = (p.target, p.connection.port)
        charges[place] = charges.get(place, 0) + jnp.where(delivers & (projection == number) & reached, row, 0)
    arrival, time = s.arrivals, s.due[first]
    s = _note(s, delivers, kind=ARRIVAL, arrival=arrival)
    place = jnp.where(delivers, arrival, NOWHERE)
    s = s._replace(
        due=s.due.at[jnp.where(delivers, first, NOWHERE)].set(jnp.inf, mode="drop"),
        arrived=jax.tree.map(lambda list_, x: list_.at[place].set(x, mode="drop"), s.arrived, what),
        arrivals=arrival + delivers,
    )
    return _happened(s, trial, delivers, jnp.zeros_like(s.pending), charges, arrival, NOWHERE, time)


def _happened(
    s: Search,
    trial: Trial,
    happens: Bool[Array, ""],
    happening: Any,
    charges: Any,
    arrival: Any,
    cause: Any,
    time: Any,
) -> Search:
    """The state after an event or an arrival, and, once nothing is due any more, whom all that is lifted to its event.

    What has happened goes back to an arrival, or to the crossing of a guard, its cause. A guard goes back to the last
    that has brought it from below zero to above.
    """
    y = _where(happens, trial.dynamics.jump(s.t, s.y, happening, charges), s.y)
    above = jnp.where(happens, trial.dynamics.guards(s.t, y) >= 0, s.above)
    # Who waits for a prescribed spike may be carried away from its event by what arrives.
    left = s.pending & ~happening & (above | jnp.any(happening))
    # Who has just fired and is still there does so because of that.
    risen = happens & above & (~s.above | happening) & ~left
    forced = jnp.where(happens, risen | (s.forced & (above | left)), s.forced)
    settled = happens & ~jnp.any(s.due <= s.t)
    lifted = above & ~left & settled
    return s._replace(
        y=y,
        pending=left | lifted,
        above=above,
        forced=forced,
        arrival=jnp.where(risen, arrival, s.arrival),
        cause=jnp.where(risen, cause, s.cause),
        since=jnp.where(risen, time, s.since),
    )


def _save(s: Search, trial: Trial, saves: Bool[Array, ""]) -> Search:
    """The membrane potentials of this moment."""
    if not trial.ts.size:
        return s
    place = jnp.where(saves, s.next_save, trial.ts.shape[0])
    voltages = trial.dynamics.voltages(s.y)
    s = _note(s, saves, kind=SAVE, save=place)
    saved = tuple(rows.at[place].set(v, mode="drop") for rows, v in zip(s.saved, voltages, strict=True))
    return s._replace(saved=saved, next_save=s.next_save + saves)
