"""Spike-timing-dependent plasticity as sums over pairs of spikes (Gierlich et al., Eqs. 2, 12, 13)."""

from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from sal.kernels import AbstractKernel, LastSpike
from sal.pairing import AbstractCoincidence, AbstractPairing, AllPairs, Dropped
from sal.spikes import Raster


@runtime_checkable
class SpikeTimes(Protocol):
    """Spike events of many neurons, ascending in time and padded with infinite times, as in `eventprop.Spikes`."""

    times: Float[Array, " events"]
    index: Int[Array, " events"]


class Sums(eqx.Module):
    """Sums of the windows over the pairs at each synapse."""

    causal: Float[Array, "post pre"]
    """Over pairs in which the presynaptic spike is the first."""
    anticausal: Float[Array, "post pre"]


class STDP(eqx.Module):
    """A plasticity window and the pairs that enter it.

    - `causal`, `anticausal`: the windows, functions of the time between the first and the second spike of a pair.
    - `pairing`: which spikes form pairs, `AllPairs()`, `LastPairs()` or `NearestPairs()`.
    - `coincidence`: what becomes of spikes in the same step, `Dropped()`, `Shared()` or `Swept(...)`.
    - `tau_ref`: the shortest interval between two spikes of a neuron. (All pairs with a window that ends remember as
      many spikes as fit into it.)
    """

    causal: AbstractKernel
    anticausal: AbstractKernel
    tau_ref: float
    pairing: AbstractPairing = AllPairs()
    coincidence: AbstractCoincidence = Dropped()

    def init(self, pre: tuple[int, ...], post: tuple[int, ...]) -> PyTree:
        """The traces before the first spike of neurons [*replicas, pre] and [*replicas, post]."""
        pre_trace, post_trace = self.pairing.trace(self.causal), self.pairing.trace(self.anticausal)
        return pre_trace.init(pre, self.tau_ref), post_trace.init(post, self.tau_ref)

    def update(self, state: PyTree, pre: Raster, post: Raster) -> tuple[Sums, PyTree]:
        """Sums over the pairs whose second spike is in the rasters, averaged over replicas, and the traces after them.

        Raises `ValueError` if the rasters differ in duration, time step or replicas, or do not fit the state.
        """
        _check(pre, post)
        add = _add_nearest if self.pairing.nearest_only else _add_traces
        return add(self, state, pre, post)

    def pairs(self, pre: SpikeTimes, post: SpikeTimes, neurons: tuple[int, int]) -> Sums:
        """Sums over the pairs of two whole spike trains, given as times, onto `neurons` (post, pre)."""
        return _pairs(self, pre, post, neurons)


def _check(pre: Raster, post: Raster) -> None:
    if pre.spikes.shape[:-1] != post.spikes.shape[:-1]:
        raise ValueError(
            "pre and post must have the same time and replica axes, "
            f"got rasters of shapes {pre.spikes.shape} and {post.spikes.shape}"
        )
    if pre.dt != post.dt:
        raise ValueError(f"pre and post must have the same time step, got dt {pre.dt} and {post.dt}")


def _mean_product(post: Array, pre: Array) -> Float[Array, "post pre"]:
    """Sum over time, mean over replicas, of the outer products."""
    flat = [x.reshape(-1, x.shape[-1]) for x in (post, pre)]
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
    traces = stdp.pairing.trace(stdp.causal), stdp.pairing.trace(stdp.anticausal)

    def step(state, spikes):
        new = tuple(trace.update(s, x, dt) for trace, s, x in zip(traces, state, spikes, strict=True))
        before = tuple(trace.read(s, elapsed, dt) for trace, s in zip(traces, state, strict=True))
        after = tuple(trace.read(s, elapsed, dt) for trace, s in zip(traces, new, strict=True))
        return new, (before, after)

    state, (before, after) = lax.scan(step, state, (pre.spikes, post.spikes))
    first = coincidence.pre_first
    last = None if first is None else (not first if isinstance(first, bool) else ~first)
    causal = _select(first, lambda: _mean_product(post.spikes, after[0]), lambda: _mean_product(post.spikes, before[0]))
    anticausal = _select(
        last, lambda: _mean_product(after[1], pre.spikes), lambda: _mean_product(before[1], pre.spikes)
    )
    return _with_coincidences(stdp, causal, anticausal, pre, post), state


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
    (state, causal, anticausal), _ = lax.scan(step, start, (pre.spikes, post.spikes))
    return _with_coincidences(stdp, causal, anticausal, pre, post), state


def _pairs(stdp: STDP, pre: SpikeTimes, post: SpikeTimes, neurons: tuple[int, int]) -> Sums:
    """Every pair of events, [post events, pre events], then summed over the events of each neuron."""
    order = stdp.coincidence.pre_first
    order = order if order is None or isinstance(order, bool) else order[post.index][:, pre.index]

    def forth(t_pre, t_post):
        return (t_pre < t_post) if order is None else (t_pre < t_post) | ((t_pre == t_post) & order)

    def back(t_pre, t_post):
        return (t_post < t_pre) if order is None else (t_post < t_pre) | ((t_pre == t_post) & jnp.logical_not(order))

    t_pre, t_post = pre.times[None, :], post.times[:, None]
    (last_pre, next_pre), (last_post, next_post) = _neighbours(pre), _neighbours(post)
    causal, anticausal = forth(t_pre, t_post), back(t_pre, t_post)
    if stdp.pairing.last_only:
        causal &= ~forth(next_pre[None, :], t_post)
        anticausal &= ~back(t_pre, next_post[:, None])
    if stdp.pairing.nearest_only:
        causal &= ~forth(t_pre, last_post[:, None])
        anticausal &= ~back(last_pre[None, :], t_post)

    present = jnp.isfinite(t_pre) & jnp.isfinite(t_post)
    delay = jnp.where(present, jnp.where(jnp.isfinite(t_post), t_post, 0) - jnp.where(jnp.isfinite(t_pre), t_pre, 0), 0)
    share = stdp.coincidence.share * (delay == 0)
    onto = (
        jax.nn.one_hot(post.index, neurons[0], dtype=delay.dtype),
        jax.nn.one_hot(pre.index, neurons[1], dtype=delay.dtype),
    )

    def total(window, mask, delay):
        return onto[0].T @ (present * (mask + share) * window(delay)) @ onto[1]

    return Sums(total(stdp.causal, causal, delay), total(stdp.anticausal, anticausal, -delay))


def _neighbours(spikes: SpikeTimes) -> tuple[Float[Array, " events"], Float[Array, " events"]]:
    """For each event, the times of the last and the next event of the same neuron; infinite where there is none."""
    same = spikes.index[:, None] == spikes.index[None, :]
    earlier = jnp.tril(same, -1)
    last = jnp.max(jnp.where(earlier, spikes.times[None, :], -jnp.inf), axis=1, initial=-jnp.inf)
    following = jnp.min(jnp.where(earlier.T, spikes.times[None, :], jnp.inf), axis=1, initial=jnp.inf)
    return last, following
