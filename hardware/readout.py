"""What a decision is read from: first spikes, and the highest sample of a trace."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from eventprop import Spikes
from eventprop.failures import error_if
from eventprop.parameters import whole


def first_spikes(spikes: Spikes, neurons: int) -> Float[Array, "*batch neurons"]:
    """The time of each neuron's first event, `inf` for none; differentiable in the times.

    Raises ValueError unless `neurons` is a whole number; events of other neurons are an error when it runs.
    """
    neurons = whole("neurons", neurons, 1)
    lost = (spikes.times < jnp.inf) & ((spikes.index < 0) | (spikes.index >= neurons))
    spikes = error_if(spikes, lost, f"first_spikes: there are events of other neurons than 0 to {neurons - 1}.")
    shape = (*spikes.times.shape[:-1], neurons)
    batch = jnp.indices(spikes.times.shape)[:-1]
    return jnp.full(shape, jnp.inf, spikes.times.dtype).at[(*batch, spikes.index)].min(spikes.times)


def maximum(samples: Float[Array, "*batch samples neurons"]) -> Float[Array, "*batch neurons"]:
    """The highest sample of each neuron over time, of `Recording.voltage` or `Recording.cadc`.

    Samples hold whole LSB, so several may be the highest: they share the derivative.
    """
    return jnp.max(samples, axis=-2)
