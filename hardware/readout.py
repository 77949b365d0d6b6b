"""What a decision is read from: first spikes, and the highest sample of a trace."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from eventprop import Spikes


def first_spikes(spikes: Spikes, neurons: int) -> Float[Array, "*batch neurons"]:
    """The time of each neuron's first event, `inf` for none; differentiable in the times."""
    shape = (*spikes.times.shape[:-1], neurons)
    batch = jnp.indices(spikes.times.shape)[:-1]
    return jnp.full(shape, jnp.inf, spikes.times.dtype).at[(*batch, spikes.index)].min(spikes.times)


def maximum(samples: Float[Array, "*batch samples neurons"]) -> Float[Array, "*batch neurons"]:
    """The highest sample of each neuron over time, of `Recording.voltage` or `Recording.cadc`.

    Samples hold whole LSB, so several may be the highest: they share the derivative.
    """
    return jnp.max(samples, axis=-2)
