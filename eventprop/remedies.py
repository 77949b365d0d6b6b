"""Remedies for silent neurons. The exact gradient is blind to spikes that do not exist, so it cannot bring them back.

Each remedy is an optax transformation that acts on weights. Its signal, an extra argument of `update`, is a sequence
with one entry per layer; None leaves that layer alone.

    optimiser = optax.chain(spike_count_regulariser(1e-3, low=(0.5, 1.0), high=(4.0, 2.0)),
                            optax.adam(1e-3),
                            weight_bump(1e-4, allowed=(0.15, 0.0)))
    updates, state = optimiser.update(gradients, state, counts=counts, silent=silent)

In a network, of any topology, the layers are its populations by their numbers, and the weights of a layer those of all
projections onto it. Of any other pytree, e.g. a tuple of weights, they are the matrices in the order of the leaves;
where one is None or `optax.MaskedNode()`, a frozen one. A frozen layer, none of whose weights has an update
(`equinox.partition`, `optax.masked`), keeps its entry, and is passed over; of a layer with several projections, those
that have updates are acted on. Delays and the parameters of neurons are left alone.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float

from eventprop.connections.base import AbstractConnection
from eventprop.connections.dense import Dense
from eventprop.network import AbstractNetwork, Projection
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
        del extra
        waiting = jnp.asarray(False)

        def increment(dtype: Any, missing: AnyScalar, ratio: AnyScalar) -> Array:
            nonlocal waiting
            if np.ndim(missing) != 0:
                raise ValueError(
                    f"silent must hold one number per layer, got shape {np.shape(missing)}; take the mean over trials "
                    "and neurons"
                )
            if is_concrete(missing) and not 0 <= float(missing) <= 1:
                raise ValueError(f"silent must hold fractions of missing spikes, from 0 to 1, got {missing}")
            too_silent = jnp.asarray(missing) > jnp.asarray(ratio)
            amount = jnp.where(too_silent & ~waiting, jnp.asarray(bump, dtype), 0)
            waiting |= too_silent
            return amount

        return _add_to_weights(updates, params, increment, silent=silent, allowed=allowed), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)  # pyright: ignore[reportArgumentType]


def spike_count_regulariser(
    strength: AnyScalar, low: Sequence[AnyScalar], high: Sequence[AnyScalar]
) -> optax.GradientTransformationExtraArgs:
    """Homeostasis: a gradient that drives each neuron's spike count into [low, high]; stands before the optimiser.

        dE/dw_ji += strength ( max(count_j - high, 0) - max(low - count_j, 0) )       for every synapse i -> j

    So a neuron that fires too rarely gets stronger synapses, one that fires too often weaker ones. No derivative of the
    count is meant: it is piecewise constant. A weight that several synapses share (`Conv`) gets the sum of theirs.
    `Sparse` needs its targets: where the updates are a filtered tree, pass the whole network as `params`.

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

    def increment(dtype: Any, count: Float[Array, "neurons"], least: AnyScalar, most: AnyScalar) -> Array:
        if np.ndim(count) != 1:
            raise ValueError(f"counts must hold one value per neuron for each layer, got shape {np.shape(count)}")
        factor, count, least, most = (jnp.asarray(x, dtype) for x in (strength, count, least, most))
        return factor * (jnp.maximum(count - most, 0) - jnp.maximum(least - count, 0))

    def update(updates, state, params=None, *, counts: Sequence[Any], **extra):
        del extra
        return _add_to_weights(updates, params, increment, counts=counts, low=low, high=high), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)  # pyright: ignore[reportArgumentType]


def _add_to_weights(updates: Any, params: Any, increment: Callable[..., Array], **signals: Sequence[Any]) -> Any:
    """Adds increment(dtype, *entries), one number or one per neuron, to all weights onto each layer.

    Nothing where all weights or the first signal are missing.
    """
    leaves, structure = jax.tree.flatten(updates, is_leaf=_is_missing)
    layers = _layers(updates, leaves, structure, {len(signal) for signal in signals.values()})
    for name, signal in signals.items():
        if len(signal) != len(layers):
            raise ValueError(
                f"{name} has {len(signal)} entries for {len(layers)} layers of weights; give one per layer"
            )
    for layer, *entries in zip(layers, *signals.values(), strict=True):
        present = {place: number for place, number in layer if not _is_missing(leaves[place])}
        if not present or entries[0] is None:
            continue
        amount = increment(leaves[next(iter(present))].dtype, *entries)
        for place, number in present.items():
            connection = None if number is None else _connection(updates, params, number)
            leaves[place] = leaves[place] + _at_synapses(amount, leaves[place], connection)
    return jax.tree.unflatten(structure, leaves)


_Weights = list[tuple[int, int | None]]
"""Of one layer: which leaves are its weights, and the number of the projection that each belongs to, if any."""


def _layers(updates: Any, leaves: list[Any], structure: Any, numbers: set[int]) -> list[_Weights]:
    """The weights of each layer; `numbers`: of layers, by the signals."""
    if isinstance(updates, AbstractNetwork):
        return _layers_of_network(leaves, structure)
    matrices = [place for place, leaf in enumerate(leaves) if np.ndim(leaf) == 2]
    # What is missing may have been a weight or anything else: weights, if so the numbers agree.
    with_missing = [place for place, leaf in enumerate(leaves) if _is_missing(leaf) or np.ndim(leaf) == 2]
    chosen = with_missing if len(matrices) not in numbers and len(with_missing) in numbers else matrices
    return [[(place, None)] for place in chosen]


def _layers_of_network(leaves: list[Any], structure: Any) -> list[_Weights]:
    """Those of a network, in which masks may have taken away weights, connections or whole layers.

    The network is asked where they are, holding the numbers of its leaves.
    """
    numbered = jax.tree.unflatten(structure, list(range(len(leaves))))
    # Of layers, some of which may be gone as a whole, there are as many as ever.
    layers: list[_Weights] = [[] for _ in getattr(numbered, "layers", None) or numbered.neurons]
    for number, p in enumerate(numbered.projections):
        if isinstance(p, Projection) and isinstance(p.connection, AbstractConnection):
            layers[p.target].append((p.connection.weight, number))  # pyright: ignore[reportArgumentType]
    return layers


def _connection(updates: Any, params: Any, number: int) -> AbstractConnection:
    """A connection with all that it needs to know its synapses: that of the updates, or of the parameters."""
    for tree in (updates, params):
        if isinstance(tree, AbstractNetwork):
            connection = tree.projections[number].connection
            names = [field.name for field in dataclasses.fields(connection) if field.name not in ("weight", "delay")]
            if not any(_is_missing(getattr(connection, name)) for name in names):
                return connection
    kind = type(updates.projections[number].connection).__name__
    raise ValueError(
        f"the {kind} of projection {number} does not know its synapses in a filtered tree: pass the whole network, "
        "optimiser.update(updates, state, network, ...)."
    )


def _at_synapses(amount: Array, weight: Array, connection: AbstractConnection | None) -> Array:
    """What each weight gets: the amount of the neuron that its synapse ends on, or of all such neurons together."""
    if amount.ndim == 0:
        return amount
    neurons = weight.shape[0] if connection is None else connection.neurons
    if amount.shape != (neurons,):
        raise ValueError(f"counts must hold one value for each of {neurons} neurons, got {amount.shape}")
    if connection is None or isinstance(connection, Dense):  # the general way would take a turn for each source
        return amount[:, None]

    def add(total: Array, source: Array) -> tuple[Array, None]:
        (found,) = jax.vjp(lambda synapses: connection.spread(synapses, source[None]), weight)[1](amount[None])
        return total + found, None

    return lax.scan(add, jnp.zeros_like(weight), jnp.arange(connection.sources))[0]


def _is_missing(x: Any) -> bool:
    return x is None or isinstance(x, optax.MaskedNode)
