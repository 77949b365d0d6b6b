"""Losses on first spike times: one trial each, `jax.vmap` for a batch."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Real

from eventprop.parameters import AnyIndex, AnyScalar, as_float, check_positive, check_scalars

# exp(t / tau1) is continued by its tangent from here on: e^30 = 1e13 leaves room for sums and squares in float32.
_LARGEST_EXPONENT = 30.0

_Times = Real[Array | np.ndarray, " classes"] | Sequence[AnyScalar]


def first_spike_cross_entropy(
    times: _Times,
    label: AnyIndex,
    *,
    tau0: AnyScalar,
    tau1: AnyScalar,
    alpha: AnyScalar,
    silent_time: AnyScalar,
) -> Float[Array, ""]:
    """Cross-entropy of first spike times: the neuron of the right class shall fire first, and early.

        L = -log( exp(-t_label / tau0) / sum_k exp(-t_k / tau0) ) + alpha (exp(t_label / tau1) - 1)

    Wunderlich and Pehle (2021), Eq. 35, with xi tau_syn = tau0 and beta tau_syn = tau1. Two recipes for tau_syn = 5 ms:
    the paper's, tau0 = 0.4 tau_syn = 2 ms, tau1 = 2 tau_syn = 10 ms, alpha = 0.01; and a later, more accurate one,
    tau0 = 0.5 ms, tau1 = 6.4 ms, alpha = 0.003.

    **Arguments**

    - `times`: first spike of each output neuron, `inf` if it is silent (`SpikeTrains.first`).
    - `label`: index of the right class. One that does not exist makes the loss NaN.
    - `tau0`, `tau1`: time constants of the softmax and of the early-spike term, in the unit of `times`.
    - `alpha`: weight of the early-spike term.
    - `silent_time`: stands in for the missing time of a silent neuron, so that the value is finite; the end of the
      trial, or later than any spike. The exact gradient is blind to spikes that do not exist: only a remedy
      (`weight_bump`, `spike_count_regulariser`) brings them about.

    A trial whose label is silent has no gradient at all. Its loss cannot fall by an earlier spike of the label, so its
    gradient would only drive the other neurons to fire later and less, until they are silent as well (measured on
    Yin-Yang: training collapses within some epochs).

    Beyond t_label = 30 tau1 the exponential is continued by its tangent, so that no time overflows.

    Raises `ValueError` for other shapes, and for time constants that are not positive (traced ones make the loss NaN).
    """
    times, label = _first_spikes(times), _label(label)
    numbers = {"tau0": tau0, "tau1": tau1, "alpha": alpha, "silent_time": silent_time}
    check_scalars(**numbers)
    check_positive("tau0", tau0)
    check_positive("tau1", tau1)
    tau0, tau1, alpha, silent_time = (jnp.asarray(as_float(*item), times.dtype) for item in numbers.items())
    fired = times != jnp.inf
    times = jnp.where(fired, times, silent_time)
    times = jnp.where(fired[label], times, lax.stop_gradient(times))
    target = times.at[label].get(mode="fill", fill_value=jnp.nan)
    target = jnp.where((label >= 0) & (tau0 > 0) & (tau1 > 0), target, jnp.nan)
    cross_entropy = jax.nn.logsumexp((target - times) / tau0)
    exponent = target / tau1
    bounded = jnp.minimum(exponent, _LARGEST_EXPONENT)
    # Not `exponent - bounded`: its derivative, 1 - 1, times e^30 would cancel the digits of the other terms.
    excess = jnp.maximum(exponent - _LARGEST_EXPONENT, 0)
    return cross_entropy + alpha * (jnp.expm1(bounded) + jnp.exp(_LARGEST_EXPONENT) * excess)


def first_spike_prediction(times: _Times) -> Int[Array, ""]:
    """The class whose neuron fires first; the lowest one of coincident spikes; -1, no class, if all are silent."""
    times = _first_spikes(times)
    winner = jnp.argmin(times)
    return jnp.where(times[winner] < jnp.inf, winner, -1)


def first_spike_accuracy(times: _Times, label: AnyIndex) -> Float[Array, ""]:
    """1 if the neuron of the right class fires first, else 0, also if all are silent. Average it over the trials."""
    times = _first_spikes(times)
    label = _label(label)
    return ((label >= 0) & (first_spike_prediction(times) == label)).astype(times.dtype)


def _first_spikes(times: Any) -> Float[Array, "classes"]:
    times = as_float("times", times)
    if jnp.ndim(times) != 1 or jnp.size(times) == 0:
        shape = jnp.shape(times)
        raise ValueError(f"times must be the first spikes of one trial, [classes], got shape {shape}; use jax.vmap")
    return times


def _label(label: Any) -> Int[Array, ""]:
    if jnp.ndim(label) != 0 or not jnp.issubdtype(jnp.result_type(label), jnp.integer):
        raise ValueError(
            f"label must be one whole number, the index of a class, got {label} of shape {jnp.shape(label)}; "
            "use jax.vmap for a batch"
        )
    return jnp.asarray(label)
