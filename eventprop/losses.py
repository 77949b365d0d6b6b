"""Losses on first spike times and membrane potentials: one trial each, `jax.vmap` for a batch.

None is on spike counts. A count is piecewise constant, so its exact derivative is 0 wherever it has one, and no loss on
counts teaches anything by exact gradients; nothing here puts another function's derivative in its place. Counts serve
for predictions, and for `spike_count_regulariser`, which says openly that it is a rule and no gradient.
"""

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


def first_spike_mse(times: _Times, label: AnyIndex, *, delta: AnyScalar, silent_time: AnyScalar) -> Float[Array, ""]:
    """Mean-squared error of first spike times that does not depend on when the label fires.

        L = 1/2 sum_k (t_k - t_label - delta [k != label])^2

    The other neurons shall fire `delta` after the label (Goeltz et al. 2021; theirs is 0.2 tau_syn). Silent neurons as
    for `first_spike_cross_entropy`: they count with `silent_time`, and have no gradient; nor has a trial whose label
    is silent. Raises `ValueError` for other shapes.
    """
    times, label = _first_spikes(times), _label(label)
    check_scalars(delta=delta, silent_time=silent_time)
    delta, silent_time = (jnp.asarray(as_float("", x), times.dtype) for x in (delta, silent_time))
    fired = times != jnp.inf
    times = jnp.where(fired, times, silent_time)
    times = jnp.where(fired[label], times, lax.stop_gradient(times))
    target = times.at[label].get(mode="fill", fill_value=jnp.nan)
    other = jnp.arange(times.shape[0]) != label
    return 0.5 * jnp.sum((times - target - jnp.where(other, delta, 0)) ** 2)


def voltage_cross_entropy(
    voltages: Float[Array | np.ndarray, " classes"] | Sequence[AnyScalar], label: AnyIndex
) -> Float[Array, ""]:
    """Cross-entropy of membrane potentials: the readout of the right class shall reach the highest one.

        L = -log( exp(V_label) / sum_k exp(V_k) ),      V_k = max_t V_k(t)

    for `voltages` from `voltage_maximum`, as for MNIST, or from `voltage_integral`, or anything else of the readouts.
    The prediction is `jnp.argmax(voltages)`. A label that does not exist makes the loss NaN. Raises `ValueError` for
    other shapes.
    """
    values: Any = as_float("voltages", voltages)
    if jnp.ndim(values) != 1 or jnp.size(values) == 0:
        shape = jnp.shape(values)
        raise ValueError(f"voltages must be those of one trial, [classes], got shape {shape}; use jax.vmap")
    return jax.nn.logsumexp(values - values.at[_label(label)].get(mode="fill", fill_value=jnp.nan))


def spike_count_prediction(counts: Int[Array | np.ndarray, " classes"]) -> Int[Array, ""]:
    """The class whose neuron spikes most often (`SpikeTrains.count`), the lowest of equals; -1 if all are silent."""
    counts = jnp.asarray(counts)
    if counts.ndim != 1 or counts.size == 0:
        raise ValueError(f"counts must be those of one trial, [classes], got shape {counts.shape}; use jax.vmap")
    return jnp.where(jnp.max(counts) > 0, jnp.argmax(counts), -1)


def moments(weight: Float[Array, "neurons sources"], raster: Real[Array, "time sources"]) -> Float[Array, "3 neurons"]:
    """The first three moments over time of what each neuron gets from a raster of spikes.

        m_k,i = mean_t ( sum_j w_ij S_j(t) )^k,    k = 1, 2, 3

    (Gardner 2021). S is piecewise constant in whatever moves spikes, so gradients reach the weights alone. A raster
    comes from `Spikes.to_raster`. Raises `ValueError` for shapes that do not fit.
    """
    weight = as_float("weight", weight)
    if jnp.ndim(weight) != 2 or jnp.ndim(raster) != 2 or jnp.shape(weight)[1] != jnp.shape(raster)[1]:
        raise ValueError(
            f"weight must be [neurons, sources] and raster [time, sources], got {jnp.shape(weight)} and "
            f"{jnp.shape(raster)}; use jax.vmap for a batch"
        )
    summed = jnp.matmul(jnp.asarray(raster, weight.dtype), weight.T, precision="highest")
    return jnp.stack([jnp.mean(summed**k, axis=0) for k in (1, 2, 3)])


def moment_regulariser(
    weight: Float[Array, "neurons sources"], raster: Real[Array, "time sources"], *, variance: AnyScalar = 1.0
) -> Float[Array, ""]:
    """R = sum_i m_1,i^2 + (m_2,i - variance)^2 + m_3,i^2 of the `moments`: a drive of that variance, no bias or skew.

    A term of the loss, differentiable in the weights, that reaches silent neurons too: they need input, not spikes.
    """
    check_scalars(variance=variance)
    first, second, third = moments(weight, raster)
    return jnp.sum(first**2 + (second - jnp.asarray(as_float("variance", variance), second.dtype)) ** 2 + third**2)


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
