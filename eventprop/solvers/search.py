"""Search for the spikes of one layer: all neurons and all inter-event intervals at once, one pass per spike.

A neuron's spikes depend on nothing but its input, and the subthreshold state is linear in it: a scan gives
the free state at every event, and one comparison per interval tells whether the threshold is reached there
(`decisive_moment`). A reset shifts the potential by an exponential, so the next pass repeats only the comparison.
Events come in chunks: that bounds memory by chunk x neurons, lets neurons that are done with leave early, and keeps the
shift small (in float32, a potential free of all past resets would lose digits).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from eventprop.closed_form import Membrane, expand
from eventprop.crossing import crossing_time, decisive_moment
from eventprop.loops import Lookup, anywhere, where_needed
from eventprop.solvers.free import free_states
from eventprop.solvers.trial import LayerTrial

MOST_LOST = 1000
"""A neuron is given up once it has lost this many spikes: with exploding weights it could fire without end."""


class Progress(NamedTuple):
    """The layer at time t, one for all neurons or one for each.

    `hold`: when the refractory period ends (at most t: over); `fired`: spikes so far.

    The last slot takes the spikes that find no other one.
    """

    t: Float[Array, " columns"]
    v: Float[Array, " neurons"]
    i: Float[Array, " neurons"]
    hold: Float[Array, " neurons"]
    fired: Int[Array, " neurons"]
    times: Float[Array, "slots neurons"]
    currents: Float[Array, "slots neurons"]


class Window(NamedTuple):
    """Since when each neuron moves freely: at `begin`, from (v, i); a refractory membrane is held at `v` until then.

    `excess`: how far the free trajectory of the chunk (without its resets) is above the true one at `begin`.
    """

    begin: Float[Array, " neurons"]
    v: Float[Array, " neurons"]
    i: Float[Array, " neurons"]
    excess: Float[Array, " neurons"]


class Intervals(NamedTuple):
    """The intervals of a chunk: interval m lasts from starts[m], with free state (v, i), to the event at ends[m].

    Whether a neuron fires in it shows at `decisive` (see `decisive_moment`), where the free potential is `margin` above
    the threshold.
    """

    starts: Float[Array, "intervals columns"]
    ends: Float[Array, "intervals columns"]
    v: Float[Array, "intervals neurons"]
    i: Float[Array, "intervals neurons"]
    decisive: Float[Array, "intervals neurons"]
    margin: Float[Array, "intervals neurons"]


def search(
    trial: LayerTrial, max_spikes: int, chunk: int
) -> tuple[Array, Array, Int[Array, " neurons"], Bool[Array, " neurons"]]:
    """Spike times [max_spikes, neurons] in ascending order (inf: none), the currents then, and all spikes' numbers.

    The last result tells who reaches the threshold at `end`: that spike belongs to what comes next, and is not counted.
    """
    times, index, present = _in_chunks(trial, chunk)
    size = times.shape[1]
    used = (jnp.max(jnp.sum(trial.present > 0, axis=0), initial=0) + size) // size

    v, hold = after_spike_at_start(trial)
    start = Progress(
        t=jnp.zeros_like(trial.end, shape=trial.times.shape[1:]),
        v=v,
        i=trial.i,
        hold=jnp.minimum(hold, trial.end),
        fired=jnp.zeros_like(trial.v, jnp.int32),
        times=jnp.full_like(trial.v, jnp.inf, shape=(max_spikes + 1, trial.neurons)),
        currents=jnp.zeros_like(trial.v, shape=(max_spikes + 1, trial.neurons)),
    )
    alone = times.shape[0] == 1

    def unfinished(carry):
        number, progress = carry
        return anywhere((number < used) & jnp.any(progress.hold < trial.end))

    def advance(carry):
        number, progress = carry
        charges = trial.charges(index[number]) * present[number]
        return number + 1, _advance(trial, progress, times[number], charges, alone)

    if alone:
        _, progress = advance((0, start))
    else:
        _, progress = lax.while_loop(unfinished, advance, (jnp.zeros((), jnp.int32), start))
    return _in_window(trial, progress)


def after_spike_at_start(trial: LayerTrial) -> tuple[Array, Array]:
    """The potentials once those that are due have fired at 0, and when the refractory periods end."""
    if trial.due is None:
        return trial.v, trial.hold
    refractory = 0 if trial.refractory is None else trial.refractory
    return jnp.where(trial.due, trial.reset, trial.v), jnp.where(trial.due, refractory, trial.hold)


def _in_window(trial: LayerTrial, progress: Progress) -> tuple[Array, Array, Array, Array]:
    """The record of a search with the spikes at 0 that it did not look for, and without those at the end."""

    times, currents, fired = progress.times, progress.currents, progress.fired
    if trial.due is not None:
        times = jnp.where(trial.due, jnp.concatenate([jnp.zeros_like(times[:1]), times[:-1]]), times)
        currents = jnp.where(trial.due, jnp.concatenate([trial.i[None], currents[:-1]]), currents)
        fired = fired + trial.due
    late = (times >= trial.end) & (times < jnp.inf)
    times = jnp.where(late, jnp.inf, times)
    return times[:-1], currents[:-1], fired - jnp.sum(late, axis=0, dtype=jnp.int32), jnp.any(late, axis=0)


def _in_chunks(trial: LayerTrial, chunk: int) -> tuple[Array, Array, Array]:
    """Events as [chunks, events in a chunk, columns], closed by an event without charge at the end of the trial."""
    events, columns = trial.times.shape
    size = min(chunk, events + 1)
    padding = -(events + 1) % size + 1
    times = jnp.concatenate([trial.times, jnp.broadcast_to(trial.end, (padding, columns))])
    index, present = jnp.pad(trial.index, (0, padding)), jnp.pad(trial.present, ((0, padding), (0, 0)))
    return times.reshape(-1, size, columns), index.reshape(-1, size), present.reshape(-1, size, columns)


def _advance(trial: LayerTrial, progress: Progress, times: Array, charges: Array, alone: bool) -> Progress:
    """Move the layer past the events of one chunk. `alone`: there is no other chunk."""
    intervals, v_end, i_end = free_intervals(trial, progress.t, progress.v, progress.i, times, charges)
    last_slot = progress.times.shape[0] - 1

    def look(window, record, fired, turn):
        if trial.refractory is not None:
            window = released(trial, intervals, window)
        found, interval = next_crossing(trial, intervals, window)
        return found & (fired < last_slot + MOST_LOST), interval, window, record, fired, turn

    def fire(found, interval, window, record, fired, turn):
        time, current = spike_in_interval(trial, intervals, window, interval, found)
        # In the only chunk, all neurons that fire in a turn do so for the same time: one row, not a column for each.
        slot = jnp.minimum(turn if alone else fired, last_slot)
        record = tuple(_written(old, slot, found, new) for old, new in zip(record, (time, current), strict=True))
        after = after_spike(trial, window, time, current)
        window = Window(*(jnp.where(found, new, old) for new, old in zip(after, window, strict=True)))
        return window, record, fired + found, turn + 1

    window = Window(jnp.maximum(progress.hold, progress.t), progress.v, progress.i, jnp.zeros_like(progress.v))
    if trial.refractory is None and trial.due is not None:  # a state from elsewhere may be held all the same
        window = released(trial, intervals, window)
    carry = look(window, (progress.times, progress.currents), progress.fired, jnp.zeros((), jnp.int32))
    if trial.once:
        window, record, fired, _ = fire(*carry)
    else:
        carry = lax.while_loop(lambda carry: anywhere(carry[0]), lambda carry: look(*fire(*carry)), carry)
        _, _, window, record, fired, _ = carry
    free = v_end - window.excess * trial.membrane.leak(jnp.maximum(times[-1] - window.begin, 0))
    v = jnp.where(window.begin > times[-1], window.v, free)
    return Progress(times[-1], v, i_end, window.begin, fired, *record)


def free_intervals(
    trial: LayerTrial, t: Array, v: Array, i: Array, times: Array, charges: Array
) -> tuple[Intervals, Array, Array]:
    """States without any spike of the layer in this chunk, and what decides about a crossing in each interval.

    A chunk of events goes on from (v, i) at time t. The last two results are the state at its end.
    """
    membrane = trial.membrane.align(2)
    starts = jnp.concatenate([t[None], times[:-1]])
    durations = times - starts
    propagators = membrane.propagator(durations)
    (v, i), end = free_states(propagators, charges, v, i)
    moments, margin = decisive_moment(membrane, expand(trial.threshold, 2), v, i, durations, *propagators[:2])
    decisive = jnp.minimum(starts + moments, times)
    # A potential that falls from the start on crosses nothing, nor does one between coincident events. No spike where
    # the potential overflows either: the state at the end tells that it is not finite.
    margin = jnp.where((margin < jnp.inf) & (decisive > starts), margin, -jnp.inf)
    return Intervals(starts, times, v, i, decisive, margin), *end


def next_crossing(
    trial: LayerTrial, intervals: Intervals, window: Window
) -> tuple[Bool[Array, " neurons"], Int[Array, " neurons"]]:
    """Whether each neuron fires again in this chunk, and in which interval.

    It does so in the first one where the free trajectory clears the threshold by what the resets took away. An interval
    that is decided before the window begins is over: I < threshold from there on.
    """
    age = intervals.decisive - window.begin[None]
    clears = intervals.margin >= window.excess[None] * trial.membrane.align(2).leak(jnp.maximum(age, 0))
    size = intervals.starts.shape[0]
    numbers = jnp.arange(size, dtype=jnp.int32)[:, None]
    interval = jnp.min(jnp.where(clears & (age > 0), numbers, jnp.int32(size)), axis=0)
    return interval < size, jnp.minimum(interval, size - 1)


def spike_in_interval(
    trial: LayerTrial, intervals: Intervals, window: Window, interval: Array, found: Array
) -> tuple[Array, Array]:
    """The time of the crossing in this interval, and the current then, of the neurons for which one was found."""
    neurons = found.shape[0]
    place = interval * neurons + jnp.arange(neurons, dtype=jnp.int32)
    free = (Lookup(x.reshape(-1), place) for x in (intervals.v, intervals.i, intervals.decisive))
    silent = jnp.full_like(window.v, jnp.inf), jnp.zeros_like(window.i)
    return _crossing(
        found, silent, trial.membrane, trial.threshold, window, *at_interval(interval, intervals.starts), *free
    )


@where_needed
def _crossing(
    needed: Array,
    membrane: Membrane,
    threshold: Array,
    window: Window,
    start: Array,
    v: Array,
    i: Array,
    decisive: Array,
) -> tuple[Array, Array]:
    """Time and current of the crossing in an interval from its start and the free state there.

    The current counts events at the start and none at the end. So that the time tells which ones, it is at least one
    rounding step after the start and never after the end.
    """
    shift = window.excess * membrane.leak(jnp.maximum(start - window.begin, 0))
    begun = start >= window.begin
    start, v, i = (
        jnp.where(begun, start, window.begin),
        jnp.where(begun, v - shift, window.v),
        jnp.where(begun, i, window.i),
    )
    wait = crossing_time(membrane, threshold, v, i, decisive - start, needed)
    limits = jnp.finfo(start.dtype)
    time = jnp.maximum(start + wait, start + (limits.eps * start + limits.tiny))
    return jnp.minimum(time, decisive), i * membrane.decay(wait)


def _written(record: Array, slot: Array, found: Array, values: Array) -> Array:
    """A record [slots, neurons] with `values` in this slot, the same or one for each neuron, where `found`."""
    if slot.ndim == 0:
        row = jnp.where(found, values, record[slot])
        return lax.dynamic_update_index_in_dim(record, row, slot, axis=0)
    here = found[None] & (jnp.arange(record.shape[0])[:, None] == slot[None])
    return jnp.where(here, values[None], record)


def after_spike(trial: LayerTrial, window: Window, time: Array, current: Array) -> Window:
    """Where the next search begins: at the spike, or at the end of the refractory period."""
    reset = jnp.broadcast_to(trial.reset, time.shape)
    if trial.refractory is not None:
        return Window(jnp.minimum(time + trial.refractory, trial.end), reset, window.i, window.excess)
    excess = window.excess * trial.membrane.leak(time - window.begin) + trial.threshold - trial.reset
    return Window(time, reset, current, excess)


def released(trial: LayerTrial, intervals: Intervals, window: Window) -> Window:
    """The current and the excess at the begin of the window, which may lie beyond the chunk."""
    last = intervals.starts.shape[0] - 1
    passed = jnp.sum(intervals.ends <= window.begin[None], axis=0, dtype=jnp.int32)
    start, v, i = at_interval(jnp.minimum(passed, last), intervals.starts, intervals.v, intervals.i)
    leak, decay, response = trial.membrane.propagator(jnp.maximum(window.begin - start, 0))
    return Window(window.begin, window.v, i * decay, v * leak + i * response - window.v)


def at_interval(interval: Array, *values: Array) -> tuple[Array, ...]:
    """The values [intervals, columns] of each neuron's interval."""
    neurons = jnp.arange(interval.shape[0], dtype=jnp.int32)
    return tuple(x.at[interval, neurons if x.shape[1] > 1 else 0].get(mode="promise_in_bounds") for x in values)
