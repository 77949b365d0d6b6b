"""The free states of a layer: what its membranes would do if none of them ever fired.

One scan over the input events gives the state after each of them. The search looks for crossings between them; the
state at any other moment is the one after the last event before it, moved on. So a thousand moments cost a thousand
lookups, not a sum over the events for each, and the derivatives cost as much: those of a scan are a scan.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from eventprop.solvers.trial import LayerTrial

_TOGETHER = 2**17
"""Most states (event, neuron) of one trial that are kept for the backward pass; more are recomputed group by group."""


_FEW = 8
"""Up to so many events, or so many moments for a neuron, a sum over both is as linear, and quicker than a loop."""


class Moments(NamedTuple):
    """Times [rows, columns], those of a column for one neuron (None: one column for each neuron)."""

    at: Float[Array, "rows columns"]
    neuron: Int[Array, " columns"] | None = None


class FreeState(NamedTuple):
    """The state just before a moment without any spike of the layer, and how many events came before it."""

    v: Float[Array, "rows columns"]
    i: Float[Array, "rows columns"]
    events: Int[Array, "rows columns"]


def free_before(trial: LayerTrial, moments: Moments) -> FreeState:
    """Free states just before these moments, differentiable in everything; an event at a moment comes after it.

    Events may have one column of times for the layer or one for each neuron.
    """
    if _few(trial, moments):
        return _by_sums(trial, moments)
    times, index, present = trial.times, trial.index, trial.present
    number = _events_before(times, moments)
    # Interval m lasts from event m - 1, or 0, to event m; the last one begins with the last event.
    intervals = times.shape[0] + 1
    size = _group(trial, intervals, moments.at.shape[0])
    padding = -intervals % size + 1
    times = jnp.concatenate([times, jnp.broadcast_to(trial.end, (padding, times.shape[1]))])
    index, present = jnp.pad(index, (0, padding)), jnp.pad(present, ((0, padding), (0, 0)))
    starts = jnp.concatenate([jnp.zeros_like(times[:1]), times[:-1]])
    events = starts, times, index, present

    def group(carry, events):
        state, found, first = carry
        starts, times, index, present = events
        propagators = trial.membrane.align(2).propagator(times - starts)
        (v, i), state = free_states(propagators, trial.charges(index) * present, *state)
        place = number - first
        here = _read(starts, place, moments.neuron), _read(v, place, moments.neuron), _read(i, place, moments.neuron)
        if size < intervals:
            inside = (place >= 0) & (place < size)
            here = tuple(jnp.where(inside, new, old) for new, old in zip(here, found, strict=True))
        return (state, here, first + size), None

    nothing = jnp.zeros_like(moments.at)
    carry = (trial.v, trial.i), (nothing,) * 3, jnp.zeros_like(number, shape=())
    if size >= intervals:
        (_, found, _), _ = group(carry, events)
    else:
        in_groups = tuple(x.reshape(-1, size, *x.shape[1:]) for x in events)
        (_, found, _), _ = lax.scan(jax.checkpoint(group), carry, in_groups)
    start, v, i = found
    # Intervals are not empty, but 0 may be a moment.
    leak, decay, response = trial.membrane.select(moments.neuron).align(2).propagator(moments.at - start)
    return FreeState(leak * v + response * i, decay * i, number)


def worth_all(trial: LayerTrial, rows: int, listed: int) -> bool:
    """Whether `rows` moments of all neurons are computed as quickly as those listed, which have to be looked up."""
    events = trial.times.shape[0]
    return events <= _FEW and rows <= _FEW and rows * trial.neurons <= 8 * listed


def _few(trial: LayerTrial, moments: Moments) -> bool:
    events, (rows, columns) = trial.times.shape[0], moments.at.shape
    # Those listed are as many as the spikes of the layer, and each stands for a neuron of its own.
    few = rows <= _FEW if moments.neuron is None else events <= _FEW
    return few and events * rows * columns <= _TOGETHER


def _by_sums(trial: LayerTrial, moments: Moments) -> FreeState:
    """`free_before` as a sum over the events, for each moment.

    The longer axis comes last, where XLA's loops have their vector registers: events, or else neurons.
    """
    trial = trial if moments.neuron is None else trial.select(moments.neuron)
    times, index, present = trial.times, trial.index, trial.present
    charges = trial.charges(index) * present
    last = times.shape[0] > moments.at.shape[1]
    axis = 1 if last else 0
    if last:
        times, charges = times.T, charges.T
    membrane = jax.tree.map(lambda x: jnp.expand_dims(x, axis) if x.ndim else x, trial.membrane)

    def sums(at):
        at = jnp.expand_dims(at, axis)
        before = times < at
        _, decay, response = membrane.propagator(jnp.where(before, at - times, 0))
        number = jnp.sum(before, axis=axis, dtype=jnp.int32)
        return *(jnp.sum(jnp.where(before, x, 0) * charges, axis=axis) for x in (response, decay)), number

    # Row by row: XLA's sum over rows, which the transpose of all at once has, takes ten times as long.
    v, i, number = (jnp.stack(x) for x in zip(*(sums(at) for at in moments.at), strict=True))
    leak, decay, response = trial.membrane.align(2).propagator(moments.at)
    return FreeState(leak * trial.v[None] + response * trial.i[None] + v, decay * trial.i[None] + i, number)


def _group(trial: LayerTrial, intervals: int, moments: int) -> int:
    """How many intervals go together.

    All, if they fit. A group costs a sum of all weights' derivatives and a look at all moments, so it is no smaller
    than there are sources and moments.
    """
    fitting = _TOGETHER // max(trial.neurons, 1)
    return intervals if intervals <= fitting else min(max(fitting, trial.charge.shape[0], moments), intervals)


def _events_before(times: Array, moments: Moments) -> Int[Array, "rows columns"]:
    """The number of events before each moment, by bisection."""
    events = times.shape[0]
    times, at = lax.stop_gradient((times, moments.at))
    number = jnp.zeros_like(at, jnp.int32)
    largest = 1 << (events.bit_length() - 1)

    def halve(turn, number):
        more = number + jnp.right_shift(jnp.int32(largest), turn)
        earlier = _read(times, jnp.minimum(more, events) - 1, moments.neuron) < at
        return jnp.where((more <= events) & earlier, more, number)

    return lax.fori_loop(0, events.bit_length(), halve, number)


def _read(table: Array, row: Array, neuron: Array | None) -> Array:
    """table[row, neuron] for a table [rows, neurons], or with one column for all of them."""
    row = jnp.clip(row, 0, table.shape[0] - 1)
    if table.shape[1] == 1:
        return table[:, 0].at[row].get(mode="promise_in_bounds")
    column = jnp.arange(table.shape[1], dtype=row.dtype) if neuron is None else neuron
    return table.at[row, column[None]].get(mode="promise_in_bounds")


def free_states(propagators: tuple[Array, Array, Array], charges: Array, v: Array, i: Array):
    """(v, i) at the start of each interval, and at the end of the last one.

    On accelerators by an associative scan, of depth log(events); on CPU one after the other, which takes a third of the
    time there and compiles faster.
    """
    return (one_after_the_other if jax.default_backend() == "cpu" else side_by_side)(propagators, charges, v, i)


def one_after_the_other(propagators: tuple[Array, Array, Array], charges: Array, v: Array, i: Array):
    """`free_states` by a loop over the events."""

    def event(start, terms):
        (leak, decay, response), charge = terms
        v, i = start
        end = leak * v + response * i, decay * i + charge
        # Not `start`: XLA would copy every state once more, for the loop to be able to write over it.
        return end, end

    # A loop copies its stacks first: a few events are quicker without.
    unroll = charges.shape[0] if charges.shape[0] <= 8 else 4
    last, ends = lax.scan(event, (v, i), (propagators, charges), unroll=unroll)
    return _starts((v, i), ends), last


def side_by_side(propagators: tuple[Array, Array, Array], charges: Array, v: Array, i: Array):
    """`free_states` by an associative scan."""

    def combine(left, right):
        (leak_0, decay_0, response_0, v_0, i_0), (leak, decay, response, v, i) = left, right
        response_0 = leak * response_0 + response * decay_0
        return leak * leak_0, decay * decay_0, response_0, leak * v_0 + response * i_0 + v, decay * i_0 + i

    first = *(jnp.broadcast_to(x, charges.shape) for x in propagators), jnp.zeros_like(charges), charges
    leak, decay, response, v_added, i_added = lax.associative_scan(combine, first)
    ends = leak * v[None] + response * i[None] + v_added, decay * i[None] + i_added
    return _starts((v, i), ends), tuple(y[-1] for y in ends)


def _starts(first: tuple[Array, Array], ends: tuple[Array, Array]) -> tuple[Array, ...]:
    """Where each interval starts: the first one at the given state, the others where the one before them ends."""
    return tuple(jnp.concatenate([x[None], y[:-1]]) for x, y in zip(first, ends, strict=True))
