"""Remedies for silent neurons. The exact gradient is blind to spikes that do not exist, so it cannot bring them back.

Each remedy is an optax transformation that acts on the weights of the layers. Its signal, an extra argument of
`update`, is a sequence with one entry per layer; None leaves that layer alone.

    optimiser = optax.chain(spike_count_regulariser(1e-3, low=(0.5, 1.0), high=(4.0, 2.0)),
                            optax.adam(1e-3),
                            weight_bump(1e-4, allowed=(0.15, 0.0)))
    updates, state = optimiser.update(gradients, state, counts=counts, silent=silent)

In a `FeedForward` network the layers are its own. Of any other pytree, e.g. a tuple of weights, they are the matrices
in the order of the leaves; where one is None or `optax.MaskedNode()`, a frozen one.
A frozen layer, which has no update (`equinox.partition`, `optax.masked`), keeps its entry, and is passed over.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from eventprop.network import FeedForward
from eventprop.parameters import AnyScalar, check_not_negative, check_scalars, is_concrete


def weight_bump(bump: AnyScalar, allowed: Sequence[AnyScalar]) -> optax.GradientTransformationExtraArgs:
    """Adds `bump` to all weights of the first layer in which too many spikes are missing; stands after the optimiser.

    Wunderlich and Pehle (2021): "If the activity of one of the two layers fell below a certain threshold for a given
    minibatch, we incremented all weights"; bump = 1e-4, allowed = (0.15, 0) for the hidden and the output layer. Layers
    above wait until those below are active enough, as in the authors' code. (Nobody waits for a frozen layer.)

    `update` takes the signal `silent`: for each layer the fraction of all pairs (trial, neuron) of the minibatch
    without any spike, e.g. `jnp.mean(trains.silent())`, which must not exceed its entry of `allowed`. Raises
    `ValueError` if `allowed`, `silent` and the layers differ in number, and for fractions beyond 0 and 1.
    """
    for ratio in allowed:
        if is_concrete(ratio) and not np.all((np.asarray(ratio) >= 0) & (np.asarray(ratio) <= 1)):
            raise ValueError(f"allowed must hold fractions of missing spikes, from 0 to 1, got {ratio}")
    check_scalars(bump=bump)
    check_not_negative("bump", bump, "it brings spikes back")

    def update(updates, state, params=None, *, silent: Sequence[Any], **extra):
        del params, extra
        waiting = jnp.asarray(False)

        def increment(weight: Array, missing: AnyScalar, ratio: AnyScalar) -> Array:
            nonlocal waiting
            if np.ndim(missing) != 0:
                raise ValueError(
                    f"silent must hold one number per layer, got shape {np.shape(missing)}; take the mean over trials "
                    "and neurons"
                )
            if is_concrete(missing) and not 0 <= float(missing) <= 1:
                raise ValueError(f"silent must hold fractions of missing spikes, from 0 to 1, got {missing}")
            too_silent = jnp.asarray(missing) > jnp.asarray(ratio)
            amount = jnp.where(too_silent & ~waiting, jnp.asarray(bump, weight.dtype), 0)
            waiting |= too_silent
            return amount

        return _add_to_weights(updates, increment, silent=silent, allowed=allowed), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)  # pyright: ignore[reportArgumentType]


def spike_count_regulariser(
    strength: AnyScalar, low: Sequence[AnyScalar], high: Sequence[AnyScalar]
) -> optax.GradientTransformationExtraArgs:
    """Homeostasis: a gradient that drives each neuron's spike count into [low, high]; stands before the optimiser.

        dE/dw_ji += strength ( max(count_j - high, 0) - max(low - count_j, 0) )       for every synapse i -> j

    So a neuron that fires too rarely gets stronger synapses, one that fires too often weaker ones. No derivative of the
    count is meant: it is piecewise constant.

    `update` takes the signal `counts`: for each layer each neuron's mean spike count over the minibatch, [neurons],
    e.g. `jnp.mean(trains.count(), axis=0)`. `low` and `high` hold one bound per layer. Raises `ValueError` if these
    and the layers differ in number, and for bounds out of order.
    """
    check_scalars(strength=strength)
    check_not_negative("strength", strength, "a negative one drives counts away from their bounds")
    for least, most in zip(low, high, strict=False):
        known = is_concrete(least) and is_concrete(most)
        if known and not np.all((np.asarray(least) >= 0) & (np.asarray(least) <= np.asarray(most))):
            raise ValueError(f"low must not be negative nor exceed high, got low = {least}, high = {most}")

    def increment(weight: Array, count: Float[Array, "neurons"], least: AnyScalar, most: AnyScalar) -> Array:
        if np.shape(count) != weight.shape[:1]:
            raise ValueError(f"counts must hold one value for each of {weight.shape[0]} neurons, got {np.shape(count)}")
        factor, count, least, most = (jnp.asarray(x, weight.dtype) for x in (strength, count, least, most))
        slope = factor * (jnp.maximum(count - most, 0) - jnp.maximum(least - count, 0))
        return slope[:, None]

    def update(updates, state, params=None, *, counts: Sequence[Any], **extra):
        del params, extra
        return _add_to_weights(updates, increment, counts=counts, low=low, high=high), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)  # pyright: ignore[reportArgumentType]


def _add_to_weights(updates: Any, increment: Callable[..., Array], **signals: Sequence[Any]) -> Any:
    """Adds increment(weight, *entries) layer by layer; nothing where the weight or the first signal is missing."""
    leaves, structure = jax.tree.flatten(updates, is_leaf=_is_missing)
    layers = _layers(updates, leaves, {len(signal) for signal in signals.values()})
    for name, signal in signals.items():
        if len(signal) != len(layers):
            raise ValueError(
                f"{name} has {len(signal)} entries for {len(layers)} layers of weights; give one per layer"
            )
    for place, *entries in zip(layers, *signals.values(), strict=True):
        if not (place is None or _is_missing(leaves[place]) or entries[0] is None):
            leaves[place] = leaves[place] + increment(leaves[place], *entries)
    return jax.tree.unflatten(structure, leaves)


def _layers(updates: Any, leaves: list[Any], numbers: set[int]) -> list[int | None]:
    """Which leaf is each layer's weight; None for a layer that has none. `numbers`: of layers, by the signals."""
    if isinstance(updates, FeedForward):
        return _layers_of_network(updates)
    matrices = [place for place, leaf in enumerate(leaves) if np.ndim(leaf) == 2]
    # What is missing may have been a weight or anything else: weights, if so the numbers agree.
    with_missing = [place for place, leaf in enumerate(leaves) if _is_missing(leaf) or np.ndim(leaf) == 2]
    return with_missing if len(matrices) not in numbers and len(with_missing) in numbers else matrices  # pyright: ignore[reportReturnType]


def _layers_of_network(updates: FeedForward) -> list[int | None]:
    """Those of a network, in which masks may have taken away weights, connections or whole layers."""
    places, start = [], 0
    for layer in updates.layers:
        connection = None if _is_missing(layer) else layer[0]
        places.append(None if _is_missing(connection) else start)  # a connection's first leaf is its weight
        start += len(jax.tree.leaves(layer, is_leaf=_is_missing))
    return places


def _is_missing(x: Any) -> bool:
    return x is None or isinstance(x, optax.MaskedNode)
