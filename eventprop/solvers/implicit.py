"""Spike times of one layer with their derivatives, and the state at any time between them.

Between two resets the potential is that of the free motion, less what the resets took away:

    v(t) = v_free(t) - exp(-(t - begin)/tau_mem) (v_free(begin) - v_begin)

so the derivative of a spike time needs the free states at two moments (`free_before`), and not a replay of the
search. A scan over the events carries the free sensitivities, and one over the spikes of a neuron the resets' share. In
reverse mode their transposes are the adjoint network of Wunderlich & Pehle (2021): the scan over the events is the
decay of lambda_V and lambda_I in Table 2, what the spikes scatter into it are its jumps, and lambda_I gathered at the
input events is the gradient of Eq. 2. All costs grow as inputs plus spikes.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from eventprop.adjoint import Implicit
from eventprop.closed_form import expand
from eventprop.solvers.free import FreeState, Moments, free_before, worth_all
from eventprop.solvers.search import search
from eventprop.solvers.trial import LayerTrial
from eventprop.spikes import Occupied, occupied_slots


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
    d_excess, d_current, i_begin, leak = _at_fixed_times(trial, tangent, begin, at, spikes.occupied)

    scale = expand(trial.threshold - trial.reset, 2)
    slope = (spikes.currents - expand(trial.threshold, 2)) / scale
    per_slope = adjoint.tangential.reciprocal(slope, finite) * expand(trial.membrane.tau_mem, 2) / scale
    own = jnp.where(finite, -d_excess * per_slope, 0)

    # How a spike follows the begin of its window, where the membrane rises with `rise`.
    membrane = trial.membrane.align(2)
    if trial.refractory is None and trial.due is None:
        i_begin = jnp.concatenate([trial.i[None], spikes.currents[:-1]])
    rise = (i_begin - begin_potential(trial, max_spikes)) / membrane.tau_mem
    coupling = jnp.where(finite, rise * leak * per_slope, 0)
    d_refractory = jnp.zeros_like(trial.hold)
    if trial.refractory is not None:
        d_refractory = d_refractory + _or_zeros(tangent.refractory, trial.refractory)

    # dt_s = own_s + coupling_s dbegin_s.
    d_first = _or_zeros(tangent.hold, trial.hold)[None]
    d_begin = jnp.concatenate([d_first, jnp.broadcast_to(d_refractory, (max_spikes - 1, trial.neurons))])
    d_times = _linear_recurrence(coupling, own + coupling * d_begin)
    d_currents = jnp.where(finite, d_current - spikes.currents / membrane.tau_syn * d_times, 0)
    whole = jax.tree.map(lambda _: None, (spikes.fired, spikes.occupied, spikes.due))  # have no tangent
    return spikes, SpikeTimes(d_times, d_currents, *whole)


def _at_fixed_times(
    trial: LayerTrial, tangent: LayerTrial, begin: Array, at: Array, occupied: Occupied | None
) -> tuple[Array, Array, Array, Array]:
    """Changes of (v - threshold) and of the current just before the spikes, at fixed times of spikes and begins.

    Then the current at the begin of each window, and what is left at the spike of a potential then.
    """
    perturbed = eqx.filter(trial, jax.tree.map(lambda t: t is not None, tangent, is_leaf=lambda t: t is None))

    def excess_and_current(perturbed):
        whole = eqx.combine(perturbed, trial)
        before_begin, before = _free_states(whole, begin, at, occupied)
        v, leak = _potential(whole, begin, begin_potential(whole, at.shape[0]), at, before_begin, before)
        return (v - expand(whole.threshold, 2), before.i), (before_begin.i, leak)

    # What is not perturbed is None in both arguments, so nothing is spent on its derivative.
    _, changes, others = jax.jvp(excess_and_current, (perturbed,), (tangent,), has_aux=True)
    return *changes, *others


def _free_states(trial: LayerTrial, begin: Array, at: Array, occupied: Occupied | None) -> tuple[FreeState, FreeState]:
    """Free states before the begins of the windows and before the spikes; where there is none, anything finite."""
    slots, neurons = at.shape
    row = neuron = None
    if occupied is not None and not worth_all(trial, slots, occupied[0].size):
        neuron = jnp.minimum(occupied[0] // slots, neurons - 1)
        row = jnp.where(occupied[0] < at.size, occupied[0] % slots, 2 * slots)
    if trial.refractory is not None and not trial.once:
        both = jnp.concatenate([begin, at])
        if row is not None and neuron is not None:
            row, neuron = jnp.concatenate([row, row + slots]), jnp.concatenate([neuron, neuron])
        both = _at_places(trial, both, row, neuron)
        return _rows(both, slice(slots)), _rows(both, slice(slots, None))
    # A window begins with the last spike, the first one when what held the neuron at 0 lets it go.
    if trial.due is None:  # which is at once
        before = _at_places(trial, at, row, neuron)
        first = FreeState(trial.v[None], trial.i[None], jnp.zeros_like(before.events[:1]))
    else:
        both = jnp.concatenate([begin[:1], at])
        if row is not None and neuron is not None:
            everyone = jnp.arange(neurons, dtype=row.dtype)
            row, neuron = jnp.concatenate([0 * everyone, row + 1]), jnp.concatenate([everyone, neuron])
        both = _at_places(trial, both, row, neuron)
        first, before = _rows(both, slice(1)), _rows(both, slice(1, None))
    return FreeState(*(jnp.concatenate([x, y[:-1]]) for x, y in zip(first, before, strict=True))), before


def _at_places(trial: LayerTrial, at: Array, row: Array | None, neuron: Array | None) -> FreeState:
    """Free states before the moments `at` [rows, neurons]: at all places, or at these and zero elsewhere.

    Each place is computed as if it were a neuron of its own; most slots of a wide layer are empty.
    """
    if row is None or neuron is None:
        return free_before(trial, Moments(at))
    place = row * at.shape[1] + neuron
    moments = at.reshape(-1).at[place].get(mode="clip")
    found = free_before(trial, Moments(moments[None], neuron))
    spread = (jnp.zeros_like(x, shape=at.size).at[place].set(x[0], mode="drop") for x in found)
    return FreeState(*(x.reshape(at.shape) for x in spread))


def _rows(state: FreeState, rows: slice) -> FreeState:
    return FreeState(*(x[rows] for x in state))


def _linear_recurrence(factor: Array, term: Array) -> Array:
    """x_s = factor_s x_{s-1} + term_s from x_{-1} = 0, along the first axis."""

    def step(x, terms):
        x = terms[0] * x + terms[1]
        return x, x

    if jax.default_backend() == "cpu":
        return lax.scan(step, jnp.zeros_like(term[0]), (factor, term), unroll=min(factor.shape[0], 4))[1]

    def combine(left, right):
        return left[0] * right[0], right[0] * left[1] + right[1]

    return lax.associative_scan(combine, (factor, term))[1]


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


def state_in_window(trial: LayerTrial, begin: Array, v_begin: Array, at: Array) -> tuple[Array, Array]:
    """(v, i) just before the times `at` [times, neurons] of membranes that were at `v_begin` until `begin`.

    Where something smooth only starts, as the free motion does at `begin`, its derivatives there are those to its
    right; an event at `at` comes after it.
    """
    both = free_before(trial, Moments(jnp.concatenate([begin, at])))
    before_begin, before = (FreeState(*x) for x in zip(*(jnp.split(x, 2) for x in both), strict=True))
    return _potential(trial, begin, v_begin, at, before_begin, before)[0], before.i


def _potential(
    trial: LayerTrial, begin: Array, v_begin: Array, at: Array, before_begin: FreeState, before: FreeState
) -> tuple[Array, Array]:
    """v before the times `at`, and what is left then of a potential at `begin`.

    The true and the free potential differ by an exponential that decays from `begin` on.

    With no event since `begin` it is written without that difference, in which digits are lost if a neuron fires often.
    """
    elapsed = jnp.where(at >= begin, at - begin, 0)
    leak, _, response = trial.membrane.align(2).propagator(elapsed)
    undisturbed = (before.events == before_begin.events) | (at < begin)
    moved = v_begin * leak + before_begin.i * response
    return jnp.where(undisturbed, moved, before.v - leak * (before_begin.v - v_begin)), leak
