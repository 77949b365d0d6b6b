"""Temporal and spatio-temporal receptive fields of streaming networks (Ellenberger et al. 2024, Fig. 7)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import gle

WIDTH = 1.0
"""Units of time between two values of the sequences that are streamed, interpolated linearly."""


def receptive_fields(network: gle.Network, duration: float, dt: float) -> list[Float[Array, "sources time neurons"]]:
    """How the prospective potentials of each layer answer, in first order, one value more on an input, at rest.

    Of the value's area; it is a triangle from 0 to 2 `WIDTH`, as between neighbours that are zero. What it does after
    t is what a neuron makes of an input t ago. Of n linear neurons in a row with weight 1 it is, on average, by WIDTH
    + n (tau_m - tau_r) late.
    """
    still = network.frozen()
    t = jnp.arange(round(duration / dt)) * dt
    silence = jnp.zeros((len(t), network.sources), network.layers[0].tau_m.dtype)
    value = jnp.clip(1 - jnp.abs(t - WIDTH) / WIDTH, 0) / WIDTH
    rest = gle.settle(gle.start(still), silence[0], throw=False)

    def potentials(inputs):
        return gle.online(rest, inputs, dt=dt, observe=lambda _, signals: signals.potential, throw=False)[1]

    def answer(source):
        return jax.jvp(potentials, (silence,), (silence.at[:, source].set(value),))[1]

    return list(jax.jit(jax.vmap(answer))(jnp.arange(network.sources)))
