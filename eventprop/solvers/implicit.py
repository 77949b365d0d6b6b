"""Spike times of one layer with their derivatives, and the state at any time between them.

Between two resets the potential is a sum of kernels, one per input event:

    v(t) = v_begin exp(-(t - begin)/tau_mem) + sum_k charge_k kernel(t, begin, t_k)

so the derivative of a spike time needs one such sum per spike, and not a replay of the search.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from eventprop.adjoint import Implicit
from eventprop.closed_form import expand
from eventprop.solvers.search import search
from eventprop.solvers.trial import LayerTrial
from eventprop.spikes import Occupied, occupied_slots

_GROUP = 2**18
"""Most terms (event, time, neuron) of one trial that are kept for the backward pass; more are recomputed."""


class SpikeTimes(NamedTuple):
    """Spikes of a layer, by slot: times in ascending order (inf: none) and the synaptic current at each of them.

    `fired` counts spikes without a slot too. `occupied`: where the spikes are, if not every slot is handed on. `due`:
    who is at the threshold at the end.
    """

    times: Float[Array, "slots neurons"]
    currents: Float[Array, "slots neurons"]
    fired: Int[Array, " neurons"]
    occupied: Occupied | None
    due: Bool[Array, " neurons"]


@eqx.filter_custom_jvp
def spike_times(
    trial: LayerTrial, *, max_spikes: int, max_events: int | None, chunk: int, adjoint: Implicit
) -> SpikeTimes:
    """The spikes of one layer in one trial. No more than `max_events` of them are differentiated (None: all slots)."""
    times, currents, fired, due = search(trial, max_spikes, chunk)
    handed_on = times.size if max_events is None else min(max_events, times.size)
    occupied = None if handed_on == times.size else occupied_slots(times.T, handed_on)
    return SpikeTimes(times, currents, fired, occupied, due)


@spike_times.def_jvp
def _spike_times_jvp(primals, tangents, *, max_spikes: int, max_events: int | None, chunk: int, adjoint: Implicit):
    """Implicit function theorem, spike by spike: V' dt_s = d(threshold) - dv - (dv/dbegin) dbegin_s.

    `dv` is the change of the potential at a fixed time with a fixed begin of the window; dbegin_s = dt_{s-1} +
    d(refractory) makes it a linear recurrence over the spikes of a neuron.
    """
    (trial,), (tangent,) = primals, tangents
    spikes = spike_times(trial, max_spikes=max_spikes, max_events=max_events, chunk=chunk, adjoint=adjoint)
    finite = jnp.isfinite(spikes.times)
    at = jnp.where(finite, spikes.times, trial.end)
    begin = windows(trial, at)
    d_excess, d_current = _at_fixed_times(trial, tangent, begin, at, spikes.occupied)

    scale = expand(trial.threshold - trial.reset, 2)
    slope = (spikes.currents - expand(trial.threshold, 2)) / scale
    per_slope = adjoint.tangential.reciprocal(slope, finite) * expand(trial.membrane.tau_mem, 2) / scale
    own = jnp.where(finite, -d_excess * per_slope, 0)

    # How a spike follows the begin of its window, where the membrane rises with `rise`.
    membrane = trial.membrane.align(2)
    rise = (_current_at_begin(trial, begin, spikes.currents) - begin_potential(trial, max_spikes)) / membrane.tau_mem
    coupling = jnp.where(finite, rise * membrane.leak(jnp.where(finite, at - begin, 0)) * per_slope, 0)
    d_refractory = jnp.zeros_like(trial.hold)
    if trial.refractory is not None:
        d_refractory = d_refractory + _or_zeros(tangent.refractory, trial.refractory)

    # dt_s = own_s + coupling_s dbegin_s. (Not by lax.scan: before jax 0.10.1 its transpose fails inside of a JVP rule.)
    d_first = _or_zeros(tangent.hold, trial.hold)[None]
    d_begin = jnp.concatenate([d_first, jnp.broadcast_to(d_refractory, (max_spikes - 1, trial.neurons))])

    def combine(left, right):
        return left[0] * right[0], right[0] * left[1] + right[1]

    _, d_times = lax.associative_scan(combine, (coupling, own + coupling * d_begin))
    d_currents = jnp.where(finite, d_current - spikes.currents / membrane.tau_syn * d_times, 0)
    whole = jax.tree.map(lambda _: None, (spikes.fired, spikes.occupied, spikes.due))  # have no tangent
    return spikes, SpikeTimes(d_times, d_currents, *whole)


def _at_fixed_times(
    trial: LayerTrial, tangent: LayerTrial, begin: Array, at: Array, occupied: Occupied | None
) -> tuple[Array, Array]:
    """Changes of (v - threshold) and of the current just before the spikes, at fixed times of spikes and begins."""
    perturbed = eqx.filter(trial, jax.tree.map(lambda t: t is not None, tangent, is_leaf=lambda t: t is None))

    def excess_and_current(perturbed):
        whole = eqx.combine(perturbed, trial)
        moments = begin, begin_potential(whole, at.shape[0]), at
        if occupied is None:
            return _excess_and_current(whole, *moments)
        return _of_occupied_slots(whole, *moments, occupied[0])

    # What is not perturbed is None in both arguments, so nothing is spent on its derivative.
    return jax.jvp(excess_and_current, (perturbed,), (tangent,))[1]


def _excess_and_current(trial: LayerTrial, begin: Array, v_begin: Array, at: Array) -> tuple[Array, Array]:
    excess = potential_in_window(trial, begin, v_begin, at) - expand(trial.threshold, 2)
    return excess, current_before(trial, at)


def _of_occupied_slots(
    trial: LayerTrial, begin: Array, v_begin: Array, at: Array, position: Array
) -> tuple[Array, Array]:
    """The same where there are spikes, each as a neuron of its own; most slots of a wide layer are empty."""
    slots, neurons = at.shape
    neuron = jnp.minimum(position // slots, neurons - 1)
    place = jnp.where(position < at.size, position % slots * neurons + neuron, at.size)
    selected = (x.reshape(-1).at[place].get(mode="clip")[None] for x in (begin, v_begin, at))
    found = _excess_and_current(trial.select(neuron), *selected)
    excess, current = (jnp.zeros(at.size, at.dtype).at[place].set(x[0], mode="drop") for x in found)
    return excess.reshape(at.shape), current.reshape(at.shape)


def _current_at_begin(trial: LayerTrial, begin: Array, currents: Array) -> Array:
    """Synaptic currents at the begin of each window. Without refractory period these are the last spikes'."""
    if trial.refractory is None:
        first = trial.i[None] if trial.due is None else current_before(trial, begin[:1])
        return jnp.concatenate([first, currents[:-1]])
    return current_before(trial, begin)


def _or_zeros(tangent: Array | None, primal: Array) -> Array:
    return jnp.zeros_like(primal) if tangent is None else tangent


def windows(trial: LayerTrial, times: Array) -> Array:
    """When the membrane starts to move freely before each of the spikes [spikes, neurons] (sorted, finite)."""
    released = releases(trial, times)
    return jnp.where(released < trial.end, released, trial.end)


def releases(trial: LayerTrial, times: Array) -> Array:
    """Ends of the refractory periods before each of the spikes; they may lie beyond the end of the trial."""
    released = times[:-1] if trial.refractory is None else times[:-1] + expand(trial.refractory, 2)
    return jnp.concatenate([trial.hold[None], released])


def begin_potential(trial: LayerTrial, number: int) -> Array:
    """The potentials [number, neurons] from which the windows begin: the initial one, then the reset."""
    reset = jnp.broadcast_to(expand(trial.reset, 2), (number - 1, trial.neurons))
    return jnp.concatenate([trial.v[None], reset])


def potential_in_window(trial: LayerTrial, begin: Array, v_begin: Array, at: Array) -> Array:
    """v just before the times `at` [times, neurons] of membranes that were at `v_begin` until `begin`.

    What arrived before `begin` acts through the current that is left of it then, the rest by its response since.
    Where something smooth only starts, as the free motion does at `begin`, its derivatives there are those to its
    right; an event at `at` comes after it.
    """
    elapsed = jnp.where(at >= begin, at - begin, 0)

    def kernel(membrane, event, begin, at, elapsed):
        # At a tie the event counts as the later one, with the derivative of an event after the begin.
        free = event >= begin
        return membrane.delayed_response(
            jnp.where(free, 0, _positive(begin - event)), jnp.where(free, _positive(at - event), elapsed)
        )

    membrane, seen = trial.membrane.align(2), (begin, at, elapsed)
    initial = v_begin * membrane.leak(elapsed) + membrane.delayed_response(begin, elapsed) * trial.i[None]
    return _sum_over_events(trial, kernel, seen, initial)


def current_before(trial: LayerTrial, at: Array) -> Array:
    """i just before the times `at` [times, neurons]."""

    def kernel(membrane, event, at):
        return jnp.where(event < at, membrane.decay(_positive(at - event)), 0)

    return _sum_over_events(trial, kernel, (at,), trial.membrane.align(2).decay(at) * trial.i[None])


def _sum_over_events(trial: LayerTrial, kernel: Callable[..., Array], seen: tuple[Array, ...], initial: Array) -> Array:
    """initial + sum_k charge_k kernel(membrane, t_k, *seen), with `seen` and `initial` [times, neurons].

    In groups of events: as one expression over all (event, time, neuron) it would not fit into memory for wide layers.
    The longer axis comes last, where XLA's loops have their vector registers: events for a few neurons, else neurons.
    """
    events = trial.times.shape[0]
    group = max(1, min(_GROUP // initial.size, events))
    padding = -events % group
    axis = -1 if group > initial.size else 0
    membrane, seen = jax.tree.map(lambda x: jnp.expand_dims(x, axis) if x.ndim else x, (trial.membrane.align(2), seen))

    def add(total, part):
        times, index, present = part
        charges = trial.charges(index) * present[:, None]
        times, charges = (times[None, None], charges.T[None]) if axis else (times[:, None, None], charges[:, None])
        return total + jnp.sum(kernel(membrane, times, *seen) * charges, axis=axis), None

    if group == events:
        return add(initial, (trial.times, trial.index, trial.present))[0]
    groups = (jnp.pad(x, (0, padding)).reshape(-1, group) for x in (trial.times, trial.index, trial.present))
    return lax.scan(jax.checkpoint(add), initial, tuple(groups))[0]


def _positive(x: Array) -> Array:
    return jnp.where(x > 0, x, 0)
