"""Remedies for silent neurons. The exact gradient is blind to spikes that do not exist, so it cannot bring them back.

Each remedy is an optax transformation that acts on the weights of the layers: the matrices among the leaves of the
updates, in their order, which for a `FeedForward` network is the order of the layers. Its signal, an extra argument of
`update`, is a sequence with one entry per layer; None leaves that layer alone.

    optimiser = optax.chain(spike_count_regulariser(1e-3, low=(0.5, 1.0), high=(4.0, 2.0)),
                            optax.adam(1e-3),
                            weight_bump(1e-4, allowed=(0.15, 0.0)))
    updates, state = optimiser.update(gradients, state, counts=counts, silent=silent)
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

_Scalar = float | Float[Array, ""]


def weight_bump(bump: _Scalar, allowed: Sequence[_Scalar]) -> optax.GradientTransformationExtraArgs:
    """Adds `bump` to all weights of the first layer in which too many spikes are missing; stands after the optimiser.

    Wunderlich and Pehle (2021): "If the activity of one of the two layers fell below a certain threshold for a given
    minibatch, we incremented all weights"; bump = 1e-4, allowed = (0.15, 0) for the hidden and the output layer. Layers
    above wait until those below are active enough, as in the authors' code.

    `update` takes the signal `silent`: for each layer the fraction of all pairs (trial, neuron) of the minibatch
    without any spike, e.g. `jnp.mean(jax.vmap(SpikeTrains.silent)(trains))`, which must not exceed its entry of
    `allowed`. Raises `ValueError` if `allowed`, `silent` and the weight matrices differ in number.
    """
    for ratio in allowed:
        if isinstance(ratio, float | int) and not 0 <= ratio <= 1:
            raise ValueError(f"allowed must hold fractions of missing spikes, from 0 to 1, got {ratio}")

    def update(updates, state, params=None, *, silent: Sequence[Any], **extra):
        del params, extra
        bumps, waiting = [], jnp.asarray(False)
        for missing, ratio in zip(silent, allowed, strict=False):
            too_silent = jnp.asarray(False) if missing is None else missing > ratio
            bumps.append(jnp.where(too_silent & ~waiting, bump, 0.0))
            waiting |= too_silent

        return _add_to_weights(
            updates,
            lambda weights, missing, ratio, amount: amount.astype(weights.dtype),
            silent=silent,
            allowed=allowed,
            amounts=bumps,
        ), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)  # pyright: ignore[reportArgumentType]


def spike_count_regulariser(
    strength: _Scalar, low: Sequence[_Scalar], high: Sequence[_Scalar]
) -> optax.GradientTransformationExtraArgs:
    """Homeostasis: a gradient that drives each neuron's spike count into [low, high]; stands before the optimiser.

        dE/dw_ij += strength ( max(count_j - high, 0) - max(low - count_j, 0) )       for every synapse i -> j

    So a neuron that fires too rarely gets stronger synapses, one that fires too often weaker ones. No derivative of the
    count is meant: it is piecewise constant.

    `update` takes the signal `counts`: for each layer each neuron's mean spike count over the minibatch, [neurons].
    `low` and `high` hold one bound per layer. Raises `ValueError` if these and the weight matrices differ in number.
    """
    for least, most in zip(low, high, strict=False):
        if isinstance(least, float | int) and isinstance(most, float | int) and not 0 <= least <= most:
            raise ValueError(f"low must not be negative nor exceed high, got low = {least}, high = {most}")

    def increment(weights: Array, count: Float[Array, "neurons"], least: _Scalar, most: _Scalar) -> Array:
        if np.shape(count) != weights.shape[:1]:
            raise ValueError(
                f"counts must hold one value for each of {weights.shape[0]} neurons, got {np.shape(count)}"
            )
        slope = strength * (jnp.maximum(count - most, 0) - jnp.maximum(least - count, 0))
        return slope[:, None].astype(weights.dtype)

    def update(updates, state, params=None, *, counts: Sequence[Any], **extra):
        del params, extra
        return _add_to_weights(updates, increment, counts=counts, low=low, high=high), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)  # pyright: ignore[reportArgumentType]


def _add_to_weights(updates: Any, increment: Callable[..., Array], **signals: Sequence[Any]) -> Any:
    """Adds increment(weights, *entries) to each matrix; the first signal's None leaves a layer as it is."""
    leaves, structure = jax.tree.flatten(updates)
    layers = [number for number, leaf in enumerate(leaves) if np.ndim(leaf) == 2]
    for name, signal in signals.items():
        if len(signal) != len(layers):
            raise ValueError(
                f"{name} has {len(signal)} entries for {len(layers)} layers of weights; give one per layer"
            )
    for number, *entries in zip(layers, *signals.values(), strict=True):
        if entries[0] is not None:
            leaves[number] = leaves[number] + increment(leaves[number], *entries)
    return jax.tree.unflatten(structure, leaves)
