"""Pairs of spikes that are given as times: events of many neurons, or a list per neuron."""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from sal._mesh import error_if
from sal._numbers import as_float
from sal.kernels import AbstractKernel
from sal.pairing import AbstractCoincidence, AbstractPairing


@runtime_checkable
class SpikeTimes(Protocol):
    """Spike times: with `index` events of many neurons, [..., events], without it one list per neuron.

    The latter are [..., neurons, slots]. Infinite times are no spikes. As in
    `eventprop.Spikes` and `eventprop.SpikeTrains`.
    """

    @property
    def times(self) -> Float[Array, "..."]:
        """When."""
        ...


class _Events(eqx.Module):
    times: Float[Array, "*replicas events"]
    index: Int[Array, "*replicas events"]


def pair_sums(
    causal: AbstractKernel,
    anticausal: AbstractKernel,
    pairing: AbstractPairing,
    coincidence: AbstractCoincidence,
    pre: SpikeTimes,
    post: SpikeTimes,
    neurons: tuple[int, int],
) -> tuple[Float[Array, "post pre"], Float[Array, "post pre"]]:
    """The sums of `sal.STDP.pairs`, over causal and over anti-causal pairs."""
    first, second = _events("pre", pre, neurons[1]), _events("post", post, neurons[0])
    replicas = first.times.shape[:-1]
    if second.times.shape[:-1] != replicas or 0 in replicas:
        raise ValueError(
            "pre and post must have the same replicas, at least one, got spike times with the leading axes "
            f"{replicas} and {second.times.shape[:-1]}"
        )
    return _sums(causal, anticausal, pairing, coincidence, first, second, neurons)


def _events(name: str, spikes: Any, neurons: int) -> _Events:
    times = as_float(f"{name}: times", spikes.times)
    message = f"{name}: times must not be NaN; where there is no spike they are infinite"
    times = error_if(times, jnp.isnan(times), message)
    if not hasattr(spikes, "index"):
        if times.ndim < 2 or times.shape[-2] != neurons:
            raise ValueError(
                f"{name} must have {neurons} neurons, as the weights have, got spike trains [..., neurons, slots] of "
                f"shape {times.shape}"
            )
        index = jnp.broadcast_to(jnp.arange(neurons)[:, None], times.shape)
        flat = (*times.shape[:-2], neurons * times.shape[-1])
        return _Events(times.reshape(flat), index.reshape(flat))
    index = jnp.asarray(spikes.index)
    if times.ndim < 1 or index.shape != times.shape:
        raise ValueError(
            f"{name}: times and index must have the same shape [..., events], got {times.shape} and {index.shape}"
        )
    if index.size and not jnp.issubdtype(index.dtype, jnp.integer):
        raise ValueError(f"{name}: index must be the integer numbers of neurons, got {index.dtype}")
    outside = jnp.isfinite(times) & ((index < 0) | (index >= neurons))
    message = f"{name} must have {neurons} neurons, as the weights have, got spikes of others"
    if not isinstance(outside, Tracer) and np.any(outside):
        raise ValueError(f"{message}: index {np.asarray(index)[np.asarray(outside)][0]}")
    return _Events(error_if(times, outside, message), index.astype(jnp.int32))


@eqx.filter_jit
def _sums(
    causal: AbstractKernel,
    anticausal: AbstractKernel,
    pairing: AbstractPairing,
    coincidence: AbstractCoincidence,
    pre: _Events,
    post: _Events,
    neurons: tuple[int, int],
) -> tuple[Array, Array]:
    def one(pre: _Events, post: _Events) -> tuple[Array, Array]:
        return _trial(causal, anticausal, pairing, coincidence, pre, post, neurons)

    if pre.times.ndim == 1:
        sums = one(pre, post)
    else:
        pre, post = jax.tree.map(lambda x: x.reshape(-1, x.shape[-1]), (pre, post))
        sums = jax.tree.map(lambda x: jnp.mean(x, axis=0), jax.vmap(one)(pre, post))
    mask = coincidence.mask
    return sums if mask is None else jax.tree.map(lambda x: jnp.where(mask, x, 0), sums)


def _trial(
    causal_window: AbstractKernel,
    anticausal_window: AbstractKernel,
    pairing: AbstractPairing,
    coincidence: AbstractCoincidence,
    pre: _Events,
    post: _Events,
    neurons: tuple[int, int],
) -> tuple[Float[Array, "post pre"], Float[Array, "post pre"]]:
    """Every pair of events, [post events, pre events], then summed over the events of each neuron."""
    order = coincidence.pre_first
    order = order if order is None or isinstance(order, bool) else order[post.index][:, pre.index]

    def forth(t_pre, t_post):
        return (t_pre < t_post) if order is None else (t_pre < t_post) | ((t_pre == t_post) & order)

    def back(t_pre, t_post):
        return (t_post < t_pre) if order is None else (t_post < t_pre) | ((t_pre == t_post) & jnp.logical_not(order))

    t_pre, t_post = pre.times[None, :], post.times[:, None]
    (last_pre, next_pre), (last_post, next_post) = _neighbours(pre), _neighbours(post)
    causal, anticausal = forth(t_pre, t_post), back(t_pre, t_post)
    if pairing.last_only:
        causal &= ~forth(next_pre[None, :], t_post)
        anticausal &= ~back(t_pre, next_post[:, None])
    if pairing.nearest_only:
        causal &= ~forth(t_pre, last_post[:, None])
        anticausal &= ~back(last_pre[None, :], t_post)

    present = jnp.isfinite(t_pre) & jnp.isfinite(t_post)
    delay = jnp.where(present, jnp.where(jnp.isfinite(t_post), t_post, 0) - jnp.where(jnp.isfinite(t_pre), t_pre, 0), 0)
    share = coincidence.share * (delay == 0)
    onto = (
        jax.nn.one_hot(post.index, neurons[0], dtype=delay.dtype),
        jax.nn.one_hot(pre.index, neurons[1], dtype=delay.dtype),
    )

    def total(window, mask, delay):
        return onto[0].T @ (present * (mask + share) * window(delay)) @ onto[1]

    return total(causal_window, causal, delay), total(anticausal_window, anticausal, -delay)


def _neighbours(spikes: _Events) -> tuple[Float[Array, " events"], Float[Array, " events"]]:
    """For each event, the times of the last and the next event of the same neuron; infinite where there is none."""
    same = spikes.index[:, None] == spikes.index[None, :]
    own, other = spikes.times[:, None], spikes.times[None, :]
    earlier = same & ((other < own) | ((other == own) & jnp.tril(jnp.ones_like(same), -1)))
    last = jnp.max(jnp.where(earlier, other, -jnp.inf), axis=1, initial=-jnp.inf)
    following = jnp.min(jnp.where(earlier.T, other, jnp.inf), axis=1, initial=jnp.inf)
    return last, following
