"""Spike-timing-dependent plasticity as sums over pairs of spikes (Gierlich et al., Eqs. 2, 12, 13)."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PyTree

from sal._mesh import error_if, vary_alike
from sal._numbers import Clock, as_arrays, as_count, as_static, form
from sal.kernels import AbstractFinite, AbstractKernel, AbstractTrace, LastSpike
from sal.pairing import AbstractCoincidence, AbstractPairing, AllPairs, Dropped
from sal.pairs import SpikeTimes, pair_sums
from sal.spikes import Raster


class Sums(eqx.Module):
    """Sums of the windows over the pairs at each synapse."""

    causal: Float[Array, "post pre"]
    """Over pairs in which the presynaptic spike is the first."""
    anticausal: Float[Array, "post pre"]


class Traces(eqx.Module):
    """What past spikes have left behind at a synapse's two neurons."""

    pre: PyTree
    post: PyTree
    clock: Clock
    """The time step in which they count."""


class STDP(eqx.Module):
    """A plasticity window and the pairs that enter it.

    - `causal`, `anticausal`: the windows, functions of the time between the first and the second spike of a pair.
    - `tau_ref`: the shortest interval between two spikes of a neuron, a plain number. All pairs with a window that ends
        remember as many spikes as fit into it at this interval.
    - `pairing`: which spikes form pairs, `AllPairs()`, `LastPairs()` or `NearestPairs()`.
    - `coincidence`: what becomes of spikes in the same step, `Dropped()`, `Shared()` or `Swept(...)`.
    """

    causal: AbstractKernel
    anticausal: AbstractKernel
    tau_ref: float = eqx.field(static=True, converter=lambda x: as_static("STDP: tau_ref", x))
    pairing: AbstractPairing = AllPairs()
    coincidence: AbstractCoincidence = Dropped()

    def __check_init__(self):
        if not self.tau_ref > 0:
            raise ValueError(f"STDP: tau_ref must be positive, got {self.tau_ref}")

    def init(self, pre: tuple[int, ...], post: tuple[int, ...], dt: float | None = None) -> Traces:
        """The traces before the first spike of neurons [*replicas, pre] and [*replicas, post].

        With `dt` they are for rasters of this time step, which is checked while a program is traced; else the first
        raster decides, and other ones are an error when the program runs.
        """
        pre_trace, post_trace = self._traces()
        return Traces(pre_trace.init(pre, self.tau_ref), post_trace.init(post, self.tau_ref), Clock.new(dt))

    def update(self, state: Traces, pre: Raster, post: Raster) -> tuple[Sums, Traces]:
        """Sums over the pairs whose second spike is in the rasters, averaged over replicas, and the traces after them.

        Raises `ValueError` if the rasters differ in duration, time step or replicas, have no replicas, or do not fit
        the state or the coincidences in shape or time step; an error at run time if a spike was forgotten while it
        still counted, because intervals are shorter than `tau_ref` (all pairs with a window that ends).
        """
        _check(self, state, pre, post)
        spikes, clock = state.clock.checked(pre.spikes, pre.dt)
        stdp, state = as_arrays((self, Traces(state.pre, state.post, clock)))
        return _update(stdp, state, Raster(spikes, pre.dt), post)

    def pairs(self, pre: SpikeTimes, post: SpikeTimes, neurons: tuple[int, int]) -> Sums:
        """Sums over the pairs of two whole spike trains, given as times, onto `neurons` (post, pre).

        Either are events, `times` and `index` [..., events] as in `eventprop.Spikes`, or there is a list per neuron,
        `times` [..., neurons, slots] as in `eventprop.SpikeTrains`; infinite where there is
        no spike. Leading axes are replicas, over which sums are averaged. Only trains tell how many neurons there are.

        Raises `ValueError` for replicas that differ, trains of another number of neurons and events of neurons that
        are not there (an error at run time where only values tell).
        """
        neurons = as_count("neurons", neurons[0], 0), as_count("neurons", neurons[1], 0)
        _check_coincidence(self.coincidence, neurons)
        causal, anticausal = as_arrays((self.causal, self.anticausal))
        return Sums(*pair_sums(causal, anticausal, self.pairing, self.coincidence, pre, post, neurons))

    def _traces(self) -> tuple[AbstractTrace, AbstractTrace]:
        return self.pairing.trace(self.causal), self.pairing.trace(self.anticausal)


def _check(stdp: STDP, state: Traces, pre: Raster, post: Raster) -> None:
    shapes = pre.spikes.shape, post.spikes.shape
    if shapes[0][:-1] != shapes[1][:-1]:
        raise ValueError(
            f"pre and post must have the same time and replica axes, got rasters of shapes {shapes[0]} and {shapes[1]}"
        )
    if pre.dt != post.dt:
        raise ValueError(f"pre and post must have the same time step, got dt {pre.dt} and {post.dt}")
    if 0 in shapes[0][1:-1]:
        raise ValueError(f"pre and post must have at least one replica, got rasters of shape {shapes[0]}")
    fitting = jax.eval_shape(lambda: stdp.init(shapes[0][1:], shapes[1][1:]))
    for name, want, have in (("pre", fitting.pre, state.pre), ("post", fitting.post, state.post)):
        wanted, found = ([shape for shape, _ in form(tree)] for tree in (want, have))
        if form(want) != form(have) and wanted == found:
            raise ValueError(f"{name}: the state is one of other windows or pairings; start from stdp.init(...)")
        if wanted != found:
            raise ValueError(
                f"{name} is a raster of shape {pre.spikes.shape if name == 'pre' else post.spikes.shape} (time, "
                f"*replicas, neurons), for which the traces need the shapes {wanted}, but the state has {found}; start "
                "from the replicas and neurons there are: stdp.init(...), or sal.align(..., replicas=...)"
            )
    _check_coincidence(stdp.coincidence, (shapes[1][-1], shapes[0][-1]))


def _check_coincidence(coincidence: AbstractCoincidence, shape: tuple[int, int]) -> None:
    for name, value in (("pre_first", coincidence.pre_first), ("mask", coincidence.mask)):
        if value is not None and np.ndim(value) != 0 and np.shape(value) != shape:
            raise ValueError(
                f"{name} of the coincidences must have the shape [post, pre] of the synapses, {shape}, got "
                f"{np.shape(value)}; one_by_one(n) is for n neurons"
            )


@eqx.filter_jit
def _update(stdp: STDP, state: Traces, pre: Raster, post: Raster) -> tuple[Sums, Traces]:
    add = _add_nearest if stdp.pairing.nearest_only else _add_traces
    sums, (pre_trace, post_trace) = add(stdp, (state.pre, state.post), pre, post)
    mask: Any = stdp.coincidence.mask
    if mask is not None:
        sums = jax.tree.map(lambda x: jnp.where(mask, x, 0), sums)
    return sums, Traces(pre_trace, post_trace, state.clock)


def _mean_product(post: Array, pre: Array) -> Float[Array, "post pre"]:
    """Sum over time, mean over replicas, of the outer products."""
    flat = [x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) for x in (post, pre)]
    return jnp.matmul(flat[0].T, flat[1]) / max(1, np.prod(post.shape[1:-1]))


def _select(first: Array | bool | None, if_first, otherwise) -> Array:
    """One of two sums at each synapse; only what is needed is computed."""
    if first is None or first is False:
        return otherwise()
    return if_first() if first is True else jnp.where(first, if_first(), otherwise())


def _add_traces(stdp: STDP, state: PyTree, pre: Raster, post: Raster) -> tuple[Sums, PyTree]:
    """Pairings in which the trace of the first spike depends on its neuron alone: a matrix product over time."""
    dt, coincidence = pre.dt, stdp.coincidence
    elapsed = coincidence.elapsed(dt)
    traces = stdp._traces()

    def step(carry, spikes):
        state, forgotten = carry
        new = tuple(trace.update(s, x, dt) for trace, s, x in zip(traces, state, spikes, strict=True))
        before = tuple(trace.read(s, elapsed, dt) for trace, s in zip(traces, state, strict=True))
        after = tuple(trace.read(s, elapsed, dt) for trace, s in zip(traces, new, strict=True))
        for trace, s, x in zip(traces, state, spikes, strict=True):
            if isinstance(trace, AbstractFinite):
                forgotten |= _forgets(trace, s, x, dt)
        return (new, forgotten), (before, after)

    finite = any(isinstance(trace, AbstractFinite) for trace in traces)
    start = state, jnp.array(False) if finite else None
    start = vary_alike(start, stdp, pre, post)
    (state, forgotten), (before, after) = lax.scan(step, start, (pre.spikes, post.spikes))
    first = coincidence.pre_first
    last = None if first is None else (not first if isinstance(first, bool) else ~first)
    causal = _select(first, lambda: _mean_product(post.spikes, after[0]), lambda: _mean_product(post.spikes, before[0]))
    anticausal = _select(
        last, lambda: _mean_product(after[1], pre.spikes), lambda: _mean_product(before[1], pre.spikes)
    )
    if forgotten is not None:
        message = (
            f"Spikes of a neuron follow each other faster than tau_ref = {stdp.tau_ref} of the STDP, so that some were "
            "forgotten while the window still saw them; give it the shortest interval there is (dt, if need be)."
        )
        causal, anticausal = error_if((causal, anticausal), forgotten, message)
    return _with_coincidences(stdp, causal, anticausal, pre, post), state


def _forgets(window: AbstractFinite, state: Array, spikes: Array, dt: float) -> Array:
    """Whether a new spike displaces one that the window has not left."""
    age = (state[-1] + 1) * jnp.asarray(dt, jnp.result_type(float))
    return jnp.any((spikes > 0) & (age < window.duration * (1 - 1e-5)))


def _with_coincidences(stdp: STDP, causal: Array, anticausal: Array, pre: Raster, post: Raster) -> Sums:
    share = stdp.coincidence.share
    if share == 0:
        return Sums(causal, anticausal)
    both = share * _mean_product(post.spikes, pre.spikes)
    now = jnp.zeros((), causal.dtype)
    return Sums(causal + both * stdp.causal(now), anticausal + both * stdp.anticausal(now))


def _add_nearest(stdp: STDP, state: PyTree, pre: Raster, post: Raster) -> tuple[Sums, PyTree]:
    """Nearest neighbours: whether a spike still counts depends on both neurons, so every pair is looked at."""
    dt, coincidence = pre.dt, stdp.coincidence
    elapsed, first = coincidence.elapsed(dt), coincidence.pre_first
    causal_trace, anticausal_trace = LastSpike(stdp.causal), LastSpike(stdp.anticausal)

    def step(carry, spikes):
        (pre_age, post_age), causal, anticausal = carry
        s_pre, s_post = spikes
        new = causal_trace.update(pre_age, s_pre, dt), anticausal_trace.update(post_age, s_post, dt)
        wide = [x[..., None, :] for x in (s_pre, pre_age, new[0])]
        tall = [x[..., :, None] for x in (s_post, post_age, new[1])]
        # A pair counts if the first neuron fired after the second neuron's own last spike.
        seen_pre = jnp.where(False if first is None else first, wide[2], wide[1])
        seen_post = jnp.where(False if first is None else jnp.logical_not(first), tall[2], tall[1])
        forth = tall[0] * causal_trace.read(seen_pre, elapsed, dt) * (seen_pre <= tall[1])
        back = wide[0] * anticausal_trace.read(seen_post, elapsed, dt) * (seen_post <= wide[1])
        replicas = tuple(range(forth.ndim - 2))
        return (new, causal + jnp.mean(forth, replicas), anticausal + jnp.mean(back, replicas)), None

    shape = post.spikes.shape[-1], pre.spikes.shape[-1]
    start = state, jnp.zeros(shape, pre.spikes.dtype), jnp.zeros(shape, pre.spikes.dtype)
    start = vary_alike(start, stdp, pre, post)
    (state, causal, anticausal), _ = lax.scan(step, start, (pre.spikes, post.spikes))
    return _with_coincidences(stdp, causal, anticausal, pre, post), state
