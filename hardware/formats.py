"""Data as other programs have them: dense spikes of hxtorch, traces at steps."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from eventprop import Spikes
from eventprop.parameters import check_finite, check_positive, whole


def to_dense(spikes: Spikes, neurons: int, dt: float, steps: int) -> Float[Array, "time batch neurons"]:
    """hxtorch's spikes: how many fall into each step [k dt, (k + 1) dt), [time, batch, neuron] as floats.

    A single trial is a batch of one. Errors as for `Spikes.to_raster`, of which it is another order of axes.
    """
    flat = jax.tree.map(lambda x: x.reshape(-1, x.shape[-1]), spikes)
    return jnp.moveaxis(flat.to_raster(neurons, dt, steps), 0, 1).astype(spikes.times.dtype)


def from_dense(dense: ArrayLike, dt: float) -> Spikes:
    """Events of [time, batch, neuron] at the middle of their steps, a batch of trials.

    Raises ValueError for other shapes and for counts that are negative or fractional.
    """
    counts = np.asarray(dense)
    if counts.ndim != 3:
        raise ValueError(f"dense must be [time, batch, neurons], but has the shape {counts.shape}.")
    return Spikes.stack([Spikes.from_raster(trial, dt) for trial in np.moveaxis(counts, 1, 0)])


def trace_to_dense(
    samples: Float[Array, "*batch samples neurons"], times: Float[Array, " samples"], dt: float, steps: int
) -> Float[Array, "time batch neurons"]:
    """hxtorch's traces: samples (`Recording.voltage` or `.cadc`) at the times k dt, linear in between, [time, batch,
    neuron]; constant beyond the first and the last sample. Differentiable in the samples.

    Raises ValueError for steps that are not positive and finite, and a number of them that is none.
    """
    check_positive("dt", dt)
    check_finite("dt", dt)
    steps = whole("steps", steps)
    flat = samples.reshape(-1, *samples.shape[-2:])
    at = dt * jnp.arange(steps, dtype=flat.dtype)
    return jnp.moveaxis(jax.vmap(lambda trace: interpolated(at, times, trace))(flat), 0, 1)


def interpolated(times: Array, known: Array, values: Float[Array, "known neurons"]) -> Float[Array, "times neurons"]:
    """Values of each neuron at other times than the known ones, linear in between."""
    return jax.vmap(lambda x: jnp.interp(times, known, x), in_axes=1, out_axes=1)(values)
