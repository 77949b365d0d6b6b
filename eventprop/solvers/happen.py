"""Where the search for the events of a trial stands, and what happens at one moment: events, arrivals, looks."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from eventprop.network import AbstractNetwork
from eventprop.solvers.course import ARRIVAL, GUARD, NOWHERE, SAVE, Arrivals, Items
from eventprop.solvers.dynamics import Dynamics, one_of
from eventprop.solvers.locate import until
from eventprop.solvers.post import Post, send


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


def watched_by(trial: Trial) -> Bool[Array, " guards"]:
    """The guards that are looked at: prescribed spikes need none."""
    emits = trial.dynamics.of_population(lambda slots: slots.emits, bool)
    return jnp.ones_like(emits) if trial.given is None else ~emits


def given_now(s: Search, trial: Trial, next_due: Array) -> Bool[Array, " spikes"]:
    """Which prescribed spikes can take place now.

    As for those that are found, what arrives at the same time comes first, unless a neuron is at its event before.
    """
    if trial.given is None or not s.given.size:
        return jnp.zeros(1, bool)
    return (s.given <= s.t) & (s.pending[trial.given.guard] | (next_due > s.t))


def _note(s: Search, happens: Bool[Array, ""], **what: Any) -> Search:
    """Put down what happens at the end of the last step, or after whatever else has happened there."""
    new = happens & ~s.fresh
    place = jnp.where(happens, s.number - s.fresh, s.items.h.shape[0])
    what["start"] = jnp.where(new, s.t, s.items.start.at[place].get(mode="fill", fill_value=0))
    columns = {k: getattr(s.items, k).at[place].set(x, mode="drop") for k, x in what.items()}
    return s._replace(items=s.items._replace(**columns), number=s.number + new, fresh=s.fresh & ~happens)


def fire(s: Search, trial: Trial, fires: Bool[Array, ""], given: Bool[Array, " spikes"]) -> Search:
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


def deliver(s: Search, trial: Trial, delivers: Bool[Array, ""]) -> Search:
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
    y = where(happens, trial.dynamics.jump(s.t, s.y, happening, charges), s.y)
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


def save(s: Search, trial: Trial, saves: Bool[Array, ""]) -> Search:
    """The membrane potentials of this moment."""
    if not trial.ts.size:
        return s
    place = jnp.where(saves, s.next_save, trial.ts.shape[0])
    voltages = trial.dynamics.voltages(s.y)
    s = _note(s, saves, kind=SAVE, save=place)
    saved = tuple(rows.at[place].set(v, mode="drop") for rows, v in zip(s.saved, voltages, strict=True))
    return s._replace(saved=saved, next_save=s.next_save + saves)


def where(condition: Bool[Array, ""], new: Any, old: Any) -> Any:
    """One of two pytrees, of the types of `old`."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y).astype(jnp.asarray(y).dtype), new, old)
