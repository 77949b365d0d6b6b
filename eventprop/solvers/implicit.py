"""Spike times of one layer with their derivatives, and the state at any time between them.

Between two resets the potential is a sum of kernels, one per input event:

    v(t) = v_begin exp(-(t - begin)/tau_mem) + sum_k charge_k kernel(t, begin, t_k)

so the derivative of a spike time needs one such sum per spike, and not a replay of the search.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from eventprop.adjoint import Implicit
from eventprop.closed_form import expand
from eventprop.solvers.search import search
from eventprop.solvers.trial import LayerTrial


@eqx.filter_custom_jvp
def spike_times(
    trial: LayerTrial, *, max_spikes: int, chunk: int, adjoint: Implicit
) -> tuple[Float[Array, "slots neurons"], Int[Array, " neurons"]]:
    """Spike times in ascending order (inf: none) and the number of spikes of each neuron."""
    return search(trial, max_spikes, chunk)


@spike_times.def_jvp
def _spike_times_jvp(primals, tangents, *, max_spikes: int, chunk: int, adjoint: Implicit):
    """Implicit function theorem, spike by spike: V' dt_s = d(threshold) - dv - (dv/dbegin) dbegin_s.

    `dv` is the change of the potential at a fixed time with a fixed begin of the window; dbegin_s = dt_{s-1} +
    d(refractory) makes it a linear recurrence over the spikes of a neuron.
    """
    (trial,), (tangent,) = primals, tangents
    times, fired = spike_times(trial, max_spikes=max_spikes, chunk=chunk, adjoint=adjoint)
    finite = jnp.isfinite(times)
    at = jnp.where(finite, times, trial.end)
    begin = windows(trial, at)

    slope, d_potential, current = _at_fixed_times(trial, tangent, begin, at)
    scale = expand(trial.threshold - trial.reset, 2)
    per_slope = adjoint.tangential.reciprocal(slope / scale, finite) * expand(trial.membrane.tau_mem, 2) / scale
    own = jnp.where(finite, -d_potential * per_slope, 0)

    # How far a spike moves with the begin of its window: the membrane just after the begin rises by `rise`.
    membrane = trial.membrane.align(2)
    rise = (_current_at_begin(trial, begin, current) - begin_potential(trial, at.shape[0])) / membrane.tau_mem
    coupling = jnp.where(finite, rise * membrane.leak(jnp.where(finite, at - begin, 0)) * per_slope, 0)
    d_hold = _or_zeros(tangent.hold, trial.hold)
    d_refractory = jnp.zeros_like(trial.hold)
    if trial.refractory is not None:
        d_refractory = d_refractory + _or_zeros(tangent.refractory, trial.refractory)

    def next_spike(d_begin, terms):
        own, coupling = terms
        d_time = own + coupling * d_begin
        return d_time + d_refractory, d_time

    _, d_times = lax.scan(next_spike, d_hold, (own, coupling))
    return (times, fired), (d_times, None)


def _at_fixed_times(trial: LayerTrial, tangent: LayerTrial, begin: Array, at: Array):
    """tau_mem V' just before the spikes, the change of (v - threshold) there at fixed times, and the currents.

    Only what is perturbed is differentiated: everything else has None as its tangent.
    """
    is_none = lambda x: x is None  # noqa: E731
    perturbed = eqx.filter(trial, jax.tree.map(lambda t: t is not None, tangent, is_leaf=is_none))

    def excess(perturbed):
        whole = eqx.combine(perturbed, trial)
        v, i = state_in_window(whole, begin, begin_potential(whole, at.shape[0]), at)
        return v - expand(whole.threshold, 2), i

    _, d_excess, i = jax.jvp(excess, (perturbed,), (tangent,), has_aux=True)
    return i - expand(trial.threshold, 2), d_excess, i


def _current_at_begin(trial: LayerTrial, begin: Array, current: Array) -> Array:
    """Synaptic currents at the begin of each window. Without refractory period these are the last spikes'."""
    if trial.refractory is None:
        return jnp.concatenate([trial.i[None], current[:-1]])
    return state_in_window(trial, begin, jnp.zeros_like(begin), begin)[1]


def _or_zeros(tangent: Array | None, primal: Array) -> Array:
    return jnp.zeros_like(primal) if tangent is None else tangent


def windows(trial: LayerTrial, times: Array) -> Array:
    """When the membrane starts to move freely before each of the spikes [spikes, neurons] (sorted, finite)."""
    return jnp.minimum(releases(trial, times), trial.end)


def releases(trial: LayerTrial, times: Array) -> Array:
    """Ends of the refractory periods before each of the spikes; they may lie beyond the end of the trial."""
    released = times[:-1] if trial.refractory is None else times[:-1] + expand(trial.refractory, 2)
    return jnp.concatenate([trial.hold[None], released])


def begin_potential(trial: LayerTrial, number: int) -> Array:
    """The potentials [number, neurons] from which the windows begin: the initial one, then the reset."""
    reset = jnp.broadcast_to(expand(trial.reset, 2), (number - 1, trial.neurons))
    return jnp.concatenate([trial.v[None], reset])


def state_in_window(trial: LayerTrial, begin: Array, v_begin: Array, at: Array) -> tuple[Array, Array]:
    """(v, i) just before the times `at` [times, neurons] of membranes that were at `v_begin` until `begin`."""
    membrane = trial.membrane.align(2)
    v = v_begin * membrane.leak(_positive(at - begin))
    v_initial, i = _kernels(trial, begin, at, jnp.zeros_like(at))
    v, i = v + v_initial * trial.i[None], i * trial.i[None]

    def add(total, events):
        times, index, present = events
        charges = (trial.connection.charges(index) * present[:, None])[:, None]
        v_kernel, i_kernel = _kernels(trial, begin[None], at[None], times[:, None, None])
        return (total[0] + jnp.sum(v_kernel * charges, 0), total[1] + jnp.sum(i_kernel * charges, 0)), None

    # A kernel for every (event, time, neuron) at once would not fit for wide layers.
    size = max(1, 2**18 // at.size)
    events = (trial.times, trial.index, trial.present)
    if trial.times.shape[0] <= size:
        return add((v, i), events)[0]
    padding = -trial.times.shape[0] % size
    parts = jax.tree.map(lambda x: jnp.pad(x, (0, padding)).reshape(-1, size), events)
    return lax.scan(jax.checkpoint(add), (v, i), parts)[0]


def _kernels(trial: LayerTrial, begin: Array, at: Array, event: Array) -> tuple[Array, Array]:
    """What a unit charge at time `event` contributes to (v, i) just before `at`, if v was clamped until `begin`."""
    membrane = trial.membrane.align(max(at.ndim, event.ndim))
    before = event < at
    # At a tie the event counts as the later one, with the derivative of an event after the begin.
    free = event >= begin
    clamped_for = jnp.where(free | ~before, 0, jnp.minimum(begin, at) - event)
    moving_for = jnp.where(before, _positive(at - jnp.where(free, event, begin)), 0)
    left = jnp.where(before, membrane.decay(clamped_for), 0)
    return left * membrane.response(moving_for), left * membrane.decay(moving_for)


def _positive(x: Array) -> Array:
    return jnp.where(x > 0, x, 0)
