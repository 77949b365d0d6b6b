"""Search for the spikes of one layer: all neurons and all inter-event intervals at once, one pass per spike.

A neuron's spikes depend on nothing but its input, and the subthreshold state is linear in it: a scan gives
the free state at every event, and one comparison per interval tells whether the threshold is reached there
(`best_moment`). A reset shifts the potential by an exponential, so the next pass repeats only the comparison. Events
come in chunks: that bounds memory by chunk x neurons, lets neurons that are done with leave early, and keeps the shift
small (in float32, a potential free of all past resets would lose digits).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from eventprop.closed_form import expand
from eventprop.crossing import best_moment, crossing_time
from eventprop.solvers.trial import LayerTrial


class Progress(NamedTuple):
    """The layer at time t. `hold`: when the refractory period ends (at most t: over); `fired`: spikes so far."""

    t: Float[Array, ""]
    v: Float[Array, " neurons"]
    i: Float[Array, " neurons"]
    hold: Float[Array, " neurons"]
    fired: Int[Array, " neurons"]
    times: Float[Array, "slots neurons"]
    currents: Float[Array, "slots neurons"]


class Window(NamedTuple):
    """Since when each neuron moves freely: at `begin`, in interval `interval`, from (v, i).

    `excess`: how far the free trajectory of the chunk (without its resets) is above the true one at `begin`.
    """

    begin: Float[Array, " neurons"]
    interval: Int[Array, " neurons"]
    v: Float[Array, " neurons"]
    i: Float[Array, " neurons"]
    excess: Float[Array, " neurons"]


class Intervals(NamedTuple):
    """The intervals of a chunk: interval m lasts from starts[m], with free state (v, i), to the event at ends[m]."""

    starts: Float[Array, " intervals"]
    ends: Float[Array, " intervals"]
    v: Float[Array, "intervals neurons"]
    i: Float[Array, "intervals neurons"]
    moments: Float[Array, "intervals neurons"]
    margin: Float[Array, "intervals neurons"]


def search(trial: LayerTrial, max_spikes: int, chunk: int) -> tuple[Array, Array, Int[Array, " neurons"]]:
    """Spike times [max_spikes, neurons] in ascending order (inf: none), the currents then, and all spikes' numbers."""
    times, index, present = _in_chunks(trial, chunk)
    size = times.shape[1]
    used = (jnp.sum(trial.present > 0) + size) // size

    start = Progress(
        t=jnp.zeros_like(trial.end),
        v=trial.v,
        i=trial.i,
        hold=jnp.minimum(trial.hold, trial.end),
        fired=jnp.zeros(trial.neurons, jnp.int32),
        times=jnp.full((max_spikes, trial.neurons), jnp.inf, trial.v.dtype),
        currents=jnp.zeros((max_spikes, trial.neurons), trial.v.dtype),
    )

    def unfinished(carry):
        number, progress = carry
        return (number < used) & jnp.any(progress.hold < trial.end)

    def advance(carry):
        number, progress = carry
        charges = trial.connection.charges(index[number]) * present[number][:, None]
        return number + 1, _advance(trial, progress, times[number], charges)

    if times.shape[0] == 1:
        _, progress = advance((0, start))
    else:
        _, progress = lax.while_loop(unfinished, advance, (jnp.zeros((), jnp.int32), start))
    return progress.times, progress.currents, progress.fired


def _in_chunks(trial: LayerTrial, chunk: int) -> tuple[Array, Array, Array]:
    """Events as [chunks, events in a chunk], closed by an event without charge at the end of the trial."""
    events = trial.times.shape[0]
    size = min(chunk, events + 1)
    padding = -(events + 1) % size + 1
    times = jnp.concatenate([trial.times, jnp.broadcast_to(trial.end, (padding,))])
    index, present = (jnp.pad(x, (0, padding)) for x in (trial.index, trial.present))
    return times.reshape(-1, size), index.reshape(-1, size), present.reshape(-1, size)


def _advance(trial: LayerTrial, progress: Progress, times: Array, charges: Array) -> Progress:
    """Move the layer past the events of one chunk."""
    intervals, v_end, i_end = _free_intervals(trial, progress, times, charges)

    def unfinished(carry):
        _, _, _, active = carry
        return jnp.any(active)

    def search_pass(carry):
        window, record, fired, _ = carry
        found, time, interval, current = _next_spike(trial, intervals, window)
        slot = found[None] & (jnp.arange(progress.times.shape[0])[:, None] == fired[None])
        record = tuple(jnp.where(slot, new[None], old) for new, old in zip((time, current), record, strict=True))
        after = _after_spike(trial, intervals, window, time, interval, current)
        window = Window(*(jnp.where(found, new, old) for new, old in zip(after, window, strict=True)))
        return window, record, fired + found, found

    window = _first_window(trial, intervals, progress)
    carry = (window, (progress.times, progress.currents), progress.fired, window.begin < times[-1])
    window, record, fired, _ = lax.while_loop(unfinished, search_pass, carry)
    free = v_end - window.excess * trial.membrane.leak(jnp.maximum(times[-1] - window.begin, 0))
    v = jnp.where(window.begin > times[-1], window.v, free)
    return Progress(times[-1], v, i_end, window.begin, fired, *record)


def _free_intervals(trial: LayerTrial, progress: Progress, times: Array, charges: Array):
    """States without any spike of the layer in this chunk, and what decides about a crossing in each interval."""
    membrane = trial.membrane.align(2)
    starts = jnp.concatenate([progress.t[None], times[:-1]])
    durations = (times - starts)[:, None]
    decay, leak, response = membrane.decay(durations), membrane.leak(durations), membrane.response(durations)
    i = _decaying_sums(decay, charges, progress.i)
    v = _decaying_sums(leak, response * i[:-1], progress.v)
    threshold = expand(trial.threshold, 2)
    moments = best_moment(membrane, threshold, i[:-1], durations)
    leak, _, response = membrane.propagator(moments)
    margin = v[:-1] * leak + i[:-1] * response - threshold
    return Intervals(starts, times, v[:-1], i[:-1], moments, margin), v[-1], i[-1]


def _decaying_sums(decay: Array, added: Array, initial: Array) -> Array:
    """x_0 = initial, x_{k+1} = decay_k x_k + added_k. Returns all of them.

    On accelerators by an associative scan, of depth log(events); on CPU one after the other, which takes a third of the
    time there and compiles faster.
    """

    def combine(left, right):
        return left[0] * right[0], left[1] * right[0] + right[1]

    def parallel(decay, added, initial):
        products, sums = lax.associative_scan(combine, (decay, added), axis=0)
        return sums + products * initial[None]

    def sequential(decay, added, initial):
        def step(x, terms):
            x = terms[0] * x + terms[1]
            return x, x

        return lax.scan(step, initial, (jnp.broadcast_to(decay, added.shape), added))[1]

    sums = lax.platform_dependent(decay, added, initial, cpu=sequential, default=parallel)
    return jnp.concatenate([initial[None], sums])


def _next_spike(
    trial: LayerTrial, intervals: Intervals, window: Window
) -> tuple[Bool[Array, " neurons"], Array, Array, Array]:
    """Whether, when and in which interval each neuron fires next, and its current then."""
    membrane, size = trial.membrane, intervals.starts.shape[0]
    # What is left of the interval that the window begins in.
    rest = intervals.ends[jnp.minimum(window.interval, size - 1)] - window.begin
    moment = best_moment(membrane, trial.threshold, window.i, jnp.maximum(rest, 0))
    leak, _, response = membrane.propagator(moment)
    now = (window.v * leak + window.i * response >= trial.threshold) & (window.interval < size)
    # All later intervals: the free trajectory has to clear the threshold by what the resets took away.
    age = jnp.maximum(intervals.starts[:, None] + intervals.moments - window.begin[None], 0)
    clears = intervals.margin >= window.excess[None] * membrane.align(2).leak(age)
    numbers = jnp.arange(size, dtype=jnp.int32)[:, None]
    later = jnp.min(jnp.where(clears & (numbers > window.interval[None]), numbers, jnp.int32(size)), axis=0)
    found = now | (later < size)
    interval = jnp.where(now, window.interval, jnp.minimum(later, size - 1))
    start, v, i = _state_at_start(intervals, interval)
    shift = window.excess * membrane.leak(jnp.maximum(start - window.begin, 0))
    start, v, i = jnp.where(now, window.begin, start), jnp.where(now, window.v, v - shift), jnp.where(now, window.i, i)
    wait = crossing_time(membrane, trial.threshold, v, i, intervals.ends[interval] - start, found)
    return found, start + wait, interval, i * membrane.decay(wait)


def _after_spike(
    trial: LayerTrial, intervals: Intervals, window: Window, time: Array, interval: Array, current: Array
) -> Window:
    """Where the next search begins: at the spike, or at the end of the refractory period."""
    reset = jnp.broadcast_to(trial.reset, time.shape)
    if trial.refractory is None:
        excess = window.excess * trial.membrane.leak(time - window.begin) + trial.threshold - trial.reset
        return Window(time, interval, reset, current, excess)
    return _clamped_until(trial, intervals, jnp.minimum(time + trial.refractory, trial.end), reset)


def _first_window(trial: LayerTrial, intervals: Intervals, progress: Progress) -> Window:
    """The window that is open at the start of a chunk."""
    if trial.refractory is not None:
        return _clamped_until(trial, intervals, jnp.maximum(progress.hold, progress.t), progress.v)
    begin = jnp.broadcast_to(progress.t, progress.v.shape)
    return Window(begin, jnp.zeros_like(progress.fired), progress.v, progress.i, jnp.zeros_like(progress.v))


def _clamped_until(trial: LayerTrial, intervals: Intervals, begin: Array, v: Array) -> Window:
    """The window of a membrane that is held at `v` until `begin`, which may lie beyond the chunk."""
    size = intervals.starts.shape[0]
    passed = jnp.sum(intervals.ends[:, None] <= begin[None], axis=0, dtype=jnp.int32)
    start, v_start, i_start = _state_at_start(intervals, jnp.minimum(passed, size - 1))
    leak, decay, response = trial.membrane.propagator(jnp.maximum(begin - start, 0))
    v_free, i = v_start * leak + i_start * response, i_start * decay
    return Window(begin, passed, v, i, v_free - v)


def _state_at_start(intervals: Intervals, interval: Array) -> tuple[Array, Array, Array]:
    v, i = (jnp.take_along_axis(x, interval[None], axis=0)[0] for x in (intervals.v, intervals.i))
    return intervals.starts[interval], v, i
