"""What a rule that learns from spikes wants to know, in the form in which optax transformations get it."""

from typing import Any

import equinox as eqx
import jax

from eventprop.network import FeedForward
from eventprop.simulation import Solution
from eventprop.spikes import Spikes


def signals(network: FeedForward, spikes: Spikes, solution: Solution) -> dict[str, Any]:
    """The spikes before and behind each weight: {"pre": tree, "post": tree}, signals of `optimiser.update`.

        updates, state = optimiser.update(gradients, state, params, **signals(network, spikes, solution))

    Both trees have the structure of `eqx.filter(network, eqx.is_inexact_array)`, with spikes in the place of each
    weight and None in that of every other array (and of a weight that `network` has not, e.g. a frozen one that
    `eqx.partition` took out). `pre` of the first layer are the input `Spikes`; everything else are the `SpikeTrains` of
    a layer. `post` is None for a layer that does not spike.

    `spikes` and `solution` are what `simulate` took and gave, of one trial or with the leading axes of `jax.vmap`.
    Raises ValueError if they do not fit the network or each other.
    """
    trains = solution.spikes
    if len(trains) != len(network.layers):
        raise ValueError(f"solution has {len(trains)} layers, but the network has {len(network.layers)}.")
    for number, ((connection, _), train) in enumerate(zip(network.layers, trains, strict=True)):
        if train is None:
            continue
        if connection.weight is not None and train.times.shape[-2] != connection.neurons:
            raise ValueError(
                f"layer {number} has {connection.neurons} neurons, but its spike trains have the shape "
                f"{train.times.shape}, [..., neurons, slots]."
            )
        if train.times.shape[:-2] != spikes.times.shape[:-1]:
            raise ValueError(
                f"spikes have the leading axes {spikes.times.shape[:-1]}, but solution has {train.times.shape[:-2]} in "
                f"layer {number}: give both as they went into and came out of the same call."
            )
    blank = jax.tree.map(lambda _: None, network)
    return {"pre": _at_weights(blank, network, (spikes, *trains[:-1])), "post": _at_weights(blank, network, trains)}


def _at_weights(blank: FeedForward, network: FeedForward, values: tuple[Any, ...]) -> FeedForward:
    """`blank`, a network of None, with these values in the places of the weights that `network` has."""
    kept = [
        None if connection.weight is None else value
        for (connection, _), value in zip(network.layers, values, strict=True)
    ]
    return eqx.tree_at(
        lambda tree: [connection.weight for connection, _ in tree.layers], blank, kept, is_leaf=lambda x: x is None
    )
