"""What a rule that learns from spikes wants to know, in the form in which optax transformations get it."""

from typing import Any

import equinox as eqx
import jax

from eventprop.network import AbstractNetwork
from eventprop.simulation import Solution
from eventprop.spikes import Spikes


def signals(network: AbstractNetwork, spikes: Spikes, solution: Solution) -> dict[str, Any]:
    """The spikes before and behind each weight: {"pre": tree, "post": tree}, signals of `optimiser.update`.

        updates, state = optimiser.update(gradients, state, params, **signals(network, spikes, solution))

    Both trees have the structure of `eqx.filter(network, eqx.is_inexact_array)`, with spikes in the place of each
    weight and None in that of every other array (and of a weight that `network` has not, e.g. a frozen one that
    `eqx.partition` took out). `pre` of what the input projects to are the input `Spikes`; everything else are the
    `SpikeTrains` of a population. `post` is None for one that does not spike. Spikes are those sent: delays are not in
    their times.

    `spikes` and `solution` are what `simulate` took and gave, of one trial or with the leading axes of `jax.vmap`.
    Raises ValueError if they do not fit the network or each other.
    """
    trains = solution.spikes
    if len(trains) != len(network.neurons):
        raise ValueError(f"solution has {len(trains)} layers, but the network has {len(network.neurons)}.")
    for p in network.projections:
        train, connection = trains[p.target], p.connection
        if train is None:
            continue
        if connection.weight is not None and train.times.shape[-2] != connection.neurons:
            raise ValueError(
                f"layer {p.target} has {connection.neurons} neurons, but its spike trains have the shape "
                f"{train.times.shape}, [..., neurons, slots]."
            )
        if train.times.shape[:-2] != spikes.times.shape[:-1]:
            raise ValueError(
                f"spikes have the leading axes {spikes.times.shape[:-1]}, but solution has {train.times.shape[:-2]} in "
                f"layer {p.target}: give both as they went into and came out of the same call."
            )
    blank = jax.tree.map(lambda _: None, network)
    pre = [spikes if p.source is None else trains[p.source] for p in network.projections]
    post = [trains[p.target] for p in network.projections]
    return {"pre": _at_weights(blank, network, pre), "post": _at_weights(blank, network, post)}


def _at_weights(blank: Any, network: AbstractNetwork, values: list[Any]) -> Any:
    """`blank`, a network of None, with these values in the places of the weights that `network` has."""
    kept = [
        None if p.connection.weight is None else value for p, value in zip(network.projections, values, strict=True)
    ]
    return eqx.tree_at(
        lambda tree: [p.connection.weight for p in tree.projections], blank, kept, is_leaf=lambda x: x is None
    )
