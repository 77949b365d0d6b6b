"""Search for the spikes of neurons that hear each other.

A spike is heard no sooner than the smallest delay after it. So from any moment t on, all arrivals are known up to
h = s + (smallest delay), where s is the next spike that would happen if no other came before: until then every neuron
is on its own again, and the search of `search` serves. One turn of the loop finds s, then all spikes up to h, and goes
on from there. Without delay h = s: all that reach the threshold then fire, before anything that arrives at that moment
acts. Long silence, and delays however small, cost no turns. Nothing is differentiated here.

Spikes are written to one list in which they stay: what is under way is read off the list's end.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from eventprop.loops import anywhere, vary_alike
from eventprop.solvers.component import Component, Pathway, arrivals_within
from eventprop.solvers.search import (
    Intervals,
    Window,
    after_spike,
    after_spike_at_start,
    at_interval,
    free_intervals,
    next_crossing,
    released,
    spike_in_interval,
)
from eventprop.solvers.trial import LayerTrial

SETTLED = 1000.0
"""Time constants after which nothing is left of a potential."""


class Bounds(NamedTuple):
    """Sizes of arrays: most spikes of a neuron and of a population, for each population; most spikes under way."""

    max_spikes: tuple[int, ...]
    max_events: tuple[int, ...]
    in_flight: int
    chunk: int

    @property
    def slots(self) -> int:
        """Slots of every neuron."""
        return max(self.max_spikes)


class Found(NamedTuple):
    """All spikes in the order of their times (inf: none), by neuron and slot (neuron x slots + slot), and the end.

    (v, i) just before what arrives at `end`; `release`: ends of the refractory periods; `due`: who is at the threshold
    then. lost: for each population the spikes beyond the bounds of `Trajectory.lost`, at the moment where the first one
    was lost: the search ends there, since what follows depends on it.
    """

    times: Float[Array, " spikes"]
    position: Int[Array, " spikes"]
    v: Float[Array, " neurons"]
    i: Float[Array, " neurons"]
    release: Float[Array, " neurons"]
    due: Bool[Array, " neurons"]
    end: Float[Array, ""]
    lost: Int[Array, "populations 3"]


class Log(NamedTuple):
    """Spikes as they were found; times have `in_flight` places more, which stay empty. `fired`: of each neuron."""

    times: Float[Array, " spikes"]
    position: Int[Array, " spikes"]
    count: Int[Array, ""]
    fired: Int[Array, " neurons"]


class Clock(NamedTuple):
    """The component at time t, and how far its lists are read.

    oldest: the first spike that may still be under way; taken: known arrivals read so far; absorbed: arrivals of spikes
    at t that have acted already.
    """

    t: Float[Array, ""]
    v: Float[Array, " neurons"]
    i: Float[Array, " neurons"]
    release: Float[Array, " neurons"]
    oldest: Int[Array, ""]
    taken: Int[Array, " columns"]
    absorbed: Int[Array, " columns"]
    due: Bool[Array, " neurons"]
    done: Bool[Array, ""]
    lost: Int[Array, "populations 3"]


class Crossing(NamedTuple):
    """Whether each neuron reaches its threshold in a chunk, when, and its synaptic current then."""

    found: Bool[Array, " neurons"]
    time: Float[Array, " neurons"]
    current: Float[Array, " neurons"]


class Arrivals(NamedTuple):
    """Events in columns of times, and what tells their charges: the charges, or which row of which pathway they are."""

    times: Float[Array, "events columns"]
    payload: Array


def find_spikes(component: Component, bounds: Bounds) -> Found:
    """All spikes of a window, as they are and without derivatives."""
    component = lax.stop_gradient(vary_alike(component))
    known = _known(component)
    delay = _smallest_delay(component)

    def unfinished(carry):
        clock, _ = carry
        return anywhere(~clock.done)

    start, log = _start(component, bounds)
    clock, log = lax.while_loop(unfinished, lambda carry: _turn(component, bounds, known, delay, *carry), (start, log))
    times, position = log.times[: log.position.shape[0]], log.position
    times, position = lax.sort((times, position), num_keys=2)
    return Found(times, position, clock.v, clock.i, clock.release, clock.due, clock.t, clock.lost)


def _start(component: Component, bounds: Bounds) -> tuple[Clock, Log]:
    """Time 0, when those that are due fire."""
    trial, neurons = component.trial, component.neurons
    capacity = sum(bounds.max_events)
    nobody = jnp.zeros_like(trial.v, bool)
    due = nobody if trial.due is None else trial.due
    # A window without length holds no spike: those that are due stay so.
    now, later = due & (trial.end > 0), due & ~(trial.end > 0)
    v, release = after_spike_at_start(eqx.tree_at(lambda x: x.due, trial, now, is_leaf=lambda x: x is None))
    log = Log(
        jnp.full_like(trial.v, jnp.inf, shape=capacity + bounds.in_flight),
        jnp.full_like(nobody, neurons * bounds.slots, jnp.int32, shape=capacity),
        jnp.zeros_like(nobody, jnp.int32, shape=()),
        jnp.zeros_like(nobody, jnp.int32),
    )
    if trial.due is not None:
        log = _written(log, now, jnp.zeros_like(trial.v), bounds)
    clock = Clock(
        t=jnp.zeros_like(trial.end),
        v=v,
        i=trial.i,
        release=release,
        oldest=jnp.zeros_like(log.count),
        taken=jnp.zeros_like(log.fired, shape=component.columns),
        absorbed=jnp.zeros_like(log.fired, shape=component.columns),
        due=later,
        done=~(trial.end > 0),
        lost=jnp.zeros_like(log.fired, shape=(len(component.sizes), 3)),
    )
    return clock, log


def _turn(
    component: Component, bounds: Bounds, known: Arrivals, delay: Array, clock: Clock, log: Log
) -> tuple[Clock, Log]:
    """Find the next spike and all others until it may be heard, and go on to that moment."""
    trial, active, fired_before = component.trial, ~clock.done, log.fired
    flying, under_way = _under_way(component, bounds, clock, log)
    chunk, mine, limit = _next_arrivals(bounds, known, clock, flying)
    settled = clock.t + SETTLED * jnp.maximum(jnp.max(trial.membrane.tau_mem), jnp.max(trial.membrane.tau_syn))
    silent = ~jnp.any(chunk.times < jnp.inf)
    limit = jnp.minimum(limit, jnp.where(trial.end < jnp.inf, trial.end, settled))
    # More arrivals at one moment than fit into a chunk: time stands still.
    crowded = limit <= clock.t
    used = active & ((chunk.times < limit) | (crowded & (chunk.times == clock.t)))
    times = jnp.concatenate([jnp.where(used, chunk.times, limit), jnp.broadcast_to(limit, (1, used.shape[1]))])
    charges = jnp.where(used, _charges(component, chunk.payload), 0)
    charges = jnp.pad(charges, ((0, 1), (0, 0)))

    # The neurons know no later moment than the end of the chunk.
    trial = eqx.tree_at(lambda trial: trial.end, trial, limit)
    t = jnp.broadcast_to(clock.t, used.shape[1:])
    intervals, v_end, i_end = free_intervals(trial, t, clock.v, clock.i, times, charges)
    horizon, crossing, window, release, log = _fire(component, bounds, trial, intervals, delay, clock, log)

    v, i = _state_at(trial, intervals, horizon, limit, v_end, i_end)
    v = v - window.excess * trial.membrane.leak(jnp.maximum(horizon - window.begin, 0))
    v = jnp.where(window.begin > horizon, window.v, v)
    # Whoever crosses later is below its threshold, whatever rounding says.
    below = jnp.minimum(v, jnp.nextafter(trial.threshold, jnp.asarray(-jnp.inf, v.dtype)))
    v = jnp.where(crossing.found & (crossing.time > horizon), below, v)

    counts, absorbed = _read(clock, chunk, mine, used, horizon, crowded)
    oldest = clock.oldest + _arrived(flying, under_way, horizon)
    lost = _lost(component, bounds, log, oldest)
    ended = horizon >= component.trial.end
    held = (release > horizon) & (release < jnp.inf)
    at_rest = silent & ~jnp.any(crossing.found | held | (log.fired > fired_before))
    at_rest = at_rest & (component.trial.end == jnp.inf)
    # Time that does not go on is not a number.
    done = clock.done | ended | at_rest | jnp.any(lost > 0) | ~(horizon >= clock.t)
    due = crossing.found & (crossing.time >= component.trial.end)
    new = Clock(horizon, v, i, release, oldest, counts, absorbed, due, done, lost)
    return jax.tree.map(lambda new, old: jnp.where(active, new, old), new, clock), log


def _fire(
    component: Component, bounds: Bounds, trial: LayerTrial, intervals: Intervals, delay: Array, clock: Clock, log: Log
) -> tuple[Array, Crossing, Window, Array, Log]:
    """Find all spikes of a chunk until the first of them may be heard: `horizon`, and what comes later."""
    active, limit = ~clock.done, trial.end
    begin = jnp.minimum(jnp.maximum(clock.release, clock.t), limit)
    window = Window(begin, clock.v, clock.i, jnp.zeros_like(clock.v))

    def fire(carry):
        """Look for the next spikes of those `needed`; whoever fires before the horizon, which the first spike sets."""
        needed, at_first, horizon, crossing, window, release, log = carry
        crossing, window = _look(trial, intervals, window, crossing, needed)
        first = jnp.min(jnp.where(crossing.found, crossing.time, jnp.inf))
        # What rounding separates happens at once.
        together = at_first & (crossing.time <= first + 2 * jnp.finfo(first.dtype).eps * first)
        crossing = crossing._replace(time=jnp.where(together, first, crossing.time))
        horizon = jnp.where(at_first, jnp.minimum(limit, first + delay), horizon)
        enough = jnp.any(log.fired > _per_neuron(component, bounds.max_spikes))
        now = active & crossing.found & (crossing.time <= horizon) & (crossing.time < component.trial.end) & ~enough
        after = after_spike(trial, window, crossing.time, crossing.current)
        window = Window(*(jnp.where(now, new, old) for new, old in zip(after, window, strict=True)))
        if trial.refractory is not None:
            release = jnp.where(now, crossing.time + trial.refractory, release)
        log = _written(log, now, crossing.time, bounds)
        return now, jnp.zeros_like(at_first), horizon, crossing, window, release, log

    nothing = Crossing(jnp.zeros_like(clock.due), jnp.full_like(clock.v, jnp.inf), jnp.zeros_like(clock.v))
    everybody = jnp.broadcast_to(active, clock.due.shape)
    carry = everybody, active, limit, nothing, window, clock.release, log
    carry = lax.while_loop(lambda carry: anywhere(carry[0]), fire, carry)
    return carry[2:]


def _look(
    trial: LayerTrial, intervals: Intervals, window: Window, known: Crossing, needed: Array
) -> tuple[Crossing, Window]:
    """The next spike of those neurons that are `needed`; that of the others is `known`."""
    if trial.refractory is not None:
        window = released(trial, intervals, window)
    found, interval = next_crossing(trial, intervals, window)
    new = Crossing(found & needed, *spike_in_interval(trial, intervals, window, interval, found & needed))
    return Crossing(*(jnp.where(needed, x, y) for x, y in zip(new, known, strict=True))), window


def _state_at(
    trial: LayerTrial, intervals: Intervals, t: Array, limit: Array, v_end: Array, i_end: Array
) -> tuple[Array, Array]:
    """The free state just before what arrives at t; that at the `limit` of the chunk is known."""
    passed = jnp.sum(intervals.ends < t, axis=0, dtype=jnp.int32)
    interval = jnp.broadcast_to(jnp.minimum(passed, intervals.ends.shape[0] - 1), v_end.shape)
    start, v, i = at_interval(interval, intervals.starts, intervals.v, intervals.i)
    leak, decay, response = trial.membrane.propagator(jnp.maximum(t - start, 0))
    at_end = t >= limit
    return jnp.where(at_end, v_end, v * leak + i * response), jnp.where(at_end, i_end, i * decay)


def _written(log: Log, now: Array, times: Array, bounds: Bounds) -> Log:
    """One spike more of each of the neurons that fire `now`. Those that find no place are counted only."""
    neurons, capacity = now.shape[0], log.position.shape[0]
    rank = jnp.cumsum(now, dtype=jnp.int32)
    place = log.count + rank - 1
    place = jnp.where(now & (place < capacity), place, log.times.shape[0])
    position = jnp.arange(neurons, dtype=jnp.int32) * bounds.slots + jnp.minimum(log.fired, bounds.slots - 1)
    return Log(
        log.times.at[place].set(times, mode="drop"),
        log.position.at[place].set(position, mode="drop"),
        log.count + rank[-1],
        log.fired + now,
    )


def _known(component: Component) -> Arrivals:
    """What comes from outside, and what was on its way at the start, in the order of arrival."""
    lists = [
        _columns(component, number, p, p.known.times, p.known.index) for number, p in enumerate(component.pathways)
    ]
    times, payload = (jnp.concatenate(x) for x in zip(*lists, strict=True))
    order = jnp.argsort(times, axis=0, stable=True)
    return Arrivals(*(jnp.take_along_axis(x, order, axis=0) for x in (times, payload)))


def _columns(component: Component, number: int, pathway: Pathway, times: Array, index: Array) -> Arrivals:
    """Events of one pathway in the columns of the component."""
    if component.columns == 1:
        index = jnp.clip(index, 0, pathway.connection.sources - 1).astype(jnp.int32)
        return Arrivals(times, (number * _stride(component) + index)[:, None])
    charges = pathway.place(pathway.connection.charges(index), component.neurons, 0.0)
    return Arrivals(pathway.place(times, component.neurons, jnp.inf), charges)


def _charges(component: Component, payload: Array) -> Float[Array, "events neurons"]:
    """What arrivals deliver."""
    if component.columns > 1:
        return payload
    number, index = jnp.divmod(payload[:, 0], _stride(component))
    total = jnp.zeros((), component.trial.v.dtype)
    for own, pathway in enumerate(component.pathways):
        charges = pathway.connection.charges(jnp.minimum(index, pathway.connection.sources - 1))
        total = total + pathway.place(jnp.where((number == own)[:, None], charges, 0), component.neurons, 0.0)
    return total


def _stride(component: Component) -> int:
    return max(p.connection.sources for p in component.pathways)


def _smallest_delay(component: Component) -> Float[Array, ""]:
    """Of all pathways within. (A negative one is an error of its own.)"""
    zero = jnp.zeros_like(component.trial.end)
    delays = [zero if p.connection.delay is None else jnp.min(p.connection.delay) for p in component.inner]
    return jnp.maximum(jnp.min(jnp.stack(delays)), 0)


def _under_way(component: Component, bounds: Bounds, clock: Clock, log: Log) -> tuple[Arrivals, Array]:
    """All arrivals at t or later of the spikes from the oldest one on, and the latest arrival of each of these."""
    times = lax.dynamic_slice_in_dim(log.times, clock.oldest, bounds.in_flight)
    size = component.neurons * bounds.slots
    # Beyond the list there are empty places only.
    place = jnp.minimum(clock.oldest + jnp.arange(bounds.in_flight, dtype=jnp.int32), log.position.shape[0] - 1)
    neuron = jnp.minimum(log.position[place], size - 1) // bounds.slots
    lists, latest = [], jnp.full_like(times, -jnp.inf)
    for number, pathway in enumerate(component.pathways):
        if pathway.source is not None:
            arriving = arrivals_within(pathway, times, neuron)
            last = jnp.max(jnp.where(arriving.times < jnp.inf, arriving.times, -jnp.inf), axis=1)
            latest = jnp.maximum(latest, last)
            coming = jnp.where(arriving.times >= clock.t, arriving.times, jnp.inf)
            lists.append(_columns(component, number, pathway, coming, arriving.index))
    return Arrivals(*(jnp.concatenate(x) for x in zip(*lists, strict=True))), jnp.where(
        times < jnp.inf, latest, jnp.inf
    )


def _next_arrivals(
    bounds: Bounds, known: Arrivals, clock: Clock, flying: Arrivals
) -> tuple[Arrivals, Bool[Array, "events columns"], Float[Array, ""]]:
    """The next chunk of arrivals in each column, which of them are known ones, and until when there are no others."""
    size, (listed, columns) = bounds.chunk + 1, known.times.shape
    column = jnp.arange(columns)[None]
    if listed > size:
        row = clock.taken[None] + jnp.arange(size, dtype=jnp.int32)[:, None]
        ahead = Arrivals(
            known.times.at[row, column].get(mode="fill", fill_value=jnp.inf),
            known.payload.at[row, column].get(mode="clip"),
        )
    else:
        read = jnp.arange(listed)[:, None] < clock.taken[None]
        ahead = Arrivals(jnp.where(read, jnp.inf, known.times), known.payload)
    times, payload = (jnp.concatenate(x) for x in zip(flying, ahead, strict=True))
    number = lax.broadcasted_iota(jnp.int32, times.shape, 0)
    times, number = lax.sort((times, number), dimension=0, num_keys=2)
    row = clock.absorbed[None] + jnp.arange(size, dtype=jnp.int32)[:, None]
    times = times.at[row, column].get(mode="fill", fill_value=jnp.inf)
    number = number.at[row[:-1], column].get(mode="clip")
    chunk = Arrivals(times[:-1], jnp.take_along_axis(payload, number, axis=0))
    return chunk, number >= flying.times.shape[0], jnp.min(times[-1])


def _read(
    clock: Clock, chunk: Arrivals, mine: Array, used: Array, horizon: Array, crowded: Array
) -> tuple[Array, Array]:
    """How far the known arrivals are read, and how many others have acted at the very moment where time stands."""
    acted = used & ((chunk.times < horizon) | crowded)
    taken = clock.taken + jnp.sum(acted & mine, axis=0, dtype=jnp.int32)
    absorbed = jnp.where(crowded, clock.absorbed + jnp.sum(acted & ~mine, axis=0, dtype=jnp.int32), 0)
    return taken, absorbed


def _arrived(flying: Arrivals, latest: Array, horizon: Array) -> Int[Array, ""]:
    """How many of the oldest spikes have reached everybody before the horizon."""
    return jnp.sum(jnp.cumprod(latest < horizon), dtype=jnp.int32)


def _lost(component: Component, bounds: Bounds, log: Log, oldest: Array) -> Int[Array, "populations 3"]:
    fired = component.split(log.fired)
    beyond = [jnp.sum(jnp.maximum(x - most, 0)) for x, most in zip(fired, bounds.max_spikes, strict=True)]
    events = [jnp.maximum(jnp.sum(x) - most, 0) for x, most in zip(fired, bounds.max_events, strict=True)]
    flying = jnp.maximum(jnp.minimum(log.count, log.position.shape[0]) - oldest - bounds.in_flight, 0)
    flying = [flying] + [jnp.zeros_like(flying)] * (len(fired) - 1)
    return jnp.stack([jnp.stack(x).astype(jnp.int32) for x in (beyond, events, flying)], axis=1)


def _per_neuron(component: Component, numbers: tuple[int, ...]) -> Int[Array, " neurons"]:
    total = [jnp.full(size, number, jnp.int32) for size, number in zip(component.sizes, numbers, strict=True)]
    return jnp.concatenate(total)
