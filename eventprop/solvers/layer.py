"""One population whose input is known: its spikes, its potentials at any time, and the state in which it ends."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from eventprop.adjoint import Implicit
from eventprop.closed_form import LinearNeuron, expand
from eventprop.solvers.afferents import Afferents
from eventprop.solvers.component import Pathway, component_of
from eventprop.solvers.implicit import (
    begin_potential,
    releases,
    spike_times,
    state_in_window,
    windows,
)
from eventprop.solvers.moments import course
from eventprop.solvers.recurrent import Bounds, find_spikes
from eventprop.solvers.trial import LayerTrial, layer_trial, rounding
from eventprop.spikes import Occupied


class Solved(NamedTuple):
    """What became of a population.

    times: of its spikes (None: it has none); occupied: their slots, if not all are handed on; coordinates: (V, I, time
    held) at the end; lost: spikes beyond the slots.
    """

    times: Float[Array, "slots neurons"] | None
    occupied: Occupied | None
    potentials: Float[Array, "times neurons"] | None
    coordinates: tuple[Array, Array, Array]
    lost: Int[Array, ""]


def solve_layer(
    neuron: LinearNeuron,
    coordinates: tuple[Array, Array, Array],
    afferents: Afferents,
    t1: Array,
    *,
    max_spikes: int | None,
    max_events: int | None,
    chunk: int,
    adjoint: Implicit,
    ts: Array | None,
    at_rest: bool,
) -> Solved:
    """Find the spikes of one population (`max_spikes` None: it has none), and its state at `ts` and `t1`."""
    trial = layer_trial(neuron, coordinates, afferents, t1, at_rest=at_rest)
    times, occupied, due = jnp.zeros((0, trial.neurons), t1.dtype), None, None
    lost = jnp.zeros((), jnp.int32)
    if max_spikes is not None:
        times, _, fired, occupied, due = spike_times(
            trial, max_spikes=max_spikes, max_events=max_events, chunk=chunk, adjoint=adjoint
        )
        lost = jnp.sum(jnp.maximum(fired - max_spikes, 0), dtype=jnp.int32)
    potentials = None if ts is None else _state_at(trial, times, ts)[0] + expand(neuron.bias, 2)
    v, i, held = (x[0] for x in _state_at(trial, times, trial.end[None]))
    v = at_threshold_if_due(trial, neuron, v + neuron.bias, due)
    return Solved(None if max_spikes is None else times, occupied, potentials, (v, i, held), lost)


def solve_recurrent(
    neurons: Sequence[LinearNeuron],
    coordinates: Sequence[tuple[Array, Array, Array]],
    pathways: Sequence[Pathway],
    t1: Array,
    *,
    bounds: Bounds,
    adjoint: Implicit,
    ts: Array | None,
    at_rest: bool,
) -> tuple[tuple[Solved, ...], Int[Array, "populations 3"]]:
    """The same for populations that hear each other, with all numbers of lost spikes."""
    component, neuron = component_of(neurons, coordinates, pathways, t1, at_rest=at_rest)
    found = find_spikes(component, bounds)
    followed = course(component, found, ts, slots=bounds.slots, adjoint=adjoint)
    empty = jnp.full_like(followed.times, jnp.inf, shape=component.neurons * bounds.slots)
    times = empty.at[found.position].set(followed.times, mode="drop").reshape(component.neurons, bounds.slots).T
    v, i, held = followed.coordinates
    v = at_threshold_if_due(component.trial, neuron, v + neuron.bias, found.due)
    ends = zip(*(component.split(x) for x in (v, i, held)), strict=True)
    potentials = [None] * len(component.sizes)
    if followed.potentials is not None:
        potentials = component.split(followed.potentials + expand(neuron.bias, 2))
    parts = zip(component.split(times), bounds.max_spikes, potentials, ends, found.lost[:, 0], strict=True)
    return tuple(Solved(x[:most], None, seen, end, lost) for x, most, seen, end, lost in parts), found.lost


def at_threshold_if_due(trial: LayerTrial, neuron: LinearNeuron, v: Array, due: Array | None) -> Array:
    """The next trial must see what this one has found: only who is due is at the threshold. Derivatives stay v's."""
    if due is None or neuron.threshold is None:
        return v
    threshold = lax.stop_gradient(neuron.threshold)
    above = (v >= threshold) & (v - threshold <= rounding(trial.threshold, trial.reset, neuron.bias))
    nearest = jnp.where(due, threshold, jnp.nextafter(threshold, -jnp.inf))
    moved = v - lax.stop_gradient(v) + nearest
    return jnp.where(jnp.where(due, v < threshold, above), moved, v)


def _state_at(trial: LayerTrial, spikes: Array, ts: Array) -> tuple[Array, Array, Array]:
    """(v, i, time held) at `ts`, just after spikes at these times and just before inputs."""
    at = jnp.broadcast_to(jnp.where(ts <= trial.end, ts, trial.end)[:, None], (ts.shape[0], trial.neurons))
    # Behind the last spike one more window is open, and empty slots open none.
    closing = jnp.broadcast_to(trial.end, (1, trial.neurons))
    times = jnp.concatenate([jnp.where(jnp.isfinite(spikes), spikes, trial.end), closing])
    number = jnp.sum(spikes[None] <= at[:, None], axis=1)

    def select(rows):
        return jnp.take_along_axis(rows, number, axis=0)

    v_begin = select(begin_potential(trial, times.shape[0]))
    v, i = state_in_window(trial, select(windows(trial, times)), v_begin, at)
    return v, i, _remaining(select(releases(trial, times)), at)


def _remaining(release: Array, at: Array) -> Array:
    return jnp.where(release > at, release - at, 0)
