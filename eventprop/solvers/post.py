"""What is sent from neuron to neuron in a trial, and when it is due."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from eventprop.network import AbstractNetwork
from eventprop.solvers.afferents import InFlight, arrivals
from eventprop.solvers.base import NetworkState
from eventprop.spikes import Spikes


class Post(eqx.Module):
    """All arrivals that a trial can have, [arrivals], and the moments on which they depend, [moments].

    The first moments are the times of arrivals that are known from the start, one for each; then follow the spikes of
    all populations, `room` for each. An arrival comes a delay after its moment: `due` (`inf`: not sent, or none).
    column: the neuron that it reaches, -1 for all; projection: the one that it comes by.
    """

    due: Float[Array, " arrivals"]
    moment: Int[Array, " arrivals"]
    projection: Int[Array, " arrivals"]
    column: Int[Array, " arrivals"]
    times: Float[Array, " moments"]
    sender: Int[Array, " moments"]
    room: tuple[int, ...] = eqx.field(static=True)

    @property
    def known(self) -> int:
        """Number of arrivals that are known from the start."""
        return self.times.shape[0] - sum(self.room)

    def first(self, population: int) -> int:
        """The first moment that belongs to a population."""
        return self.known + sum(self.room[:population])

    def of_population(self, moments: Array, population: int) -> Array:
        """Its part of an array [moments]."""
        first = self.first(population)
        return moments[first : first + self.room[population]]


def post_of(network: AbstractNetwork, spikes: Spikes, state: NetworkState, t1: Array, room: Sequence[int]) -> Post:
    """The post of a trial at its beginning."""
    known, internal = [], []
    for number, p in enumerate(network.projections):
        flight = state.in_flight[number]
        if p.source is None:
            known.append((number, arrivals(p.connection, spikes, flight, t1)))
        elif flight is not None:
            known.append((number, flight))
    times, index, projection, column = (
        jnp.concatenate([jnp.asarray(x) for x in parts]) for parts in zip(*map(_flat, known), strict=True)
    )
    count = times.shape[0]
    first = count + np.concatenate([[0], np.cumsum(room)])
    for number, p in enumerate(network.projections):
        if p.source is not None:
            columns = np.arange(p.connection.neurons) if p.connection.per_synapse else np.array([-1])
            rows = first[p.source] + np.arange(room[p.source])
            internal.append((np.repeat(rows, columns.size), number, np.tile(columns, rows.size)))
    moment = np.concatenate([np.arange(count), *(rows for rows, _, _ in internal)]).astype(np.int32)
    numbers = [np.full(rows.size, number, np.int32) for rows, number, _ in internal]
    columns = [columns.astype(np.int32) for _, _, columns in internal]
    pad = (0, max(int(first[-1]) - count, 1 - count))  # never empty
    return Post(
        due=jnp.pad(lax.stop_gradient(times), (0, moment.size - count), constant_values=jnp.inf),
        moment=jnp.asarray(moment),
        projection=jnp.concatenate([projection, *numbers]),
        column=jnp.concatenate([column, *columns]),
        times=jnp.pad(times, pad, constant_values=jnp.inf),
        sender=jnp.pad(index, pad),
        room=tuple(room),
    )


def _flat(known: tuple[int, InFlight]) -> tuple[Any, ...]:
    """Arrivals one by one: their times, senders, projection and column."""
    number, events = known
    rows, columns = events.times.shape
    column = np.arange(columns) if columns > 1 else np.array([-1])
    return (
        events.times.reshape(-1),
        jnp.repeat(events.index.astype(jnp.int32), columns),
        np.full(rows * columns, number, np.int32),
        np.tile(column, rows).astype(np.int32),
    )


def send(
    network: AbstractNetwork,
    post: Post,
    due: Float[Array, " arrivals"],
    population: Any,
    row: Any,
    neuron: Any,
    time: Any,
) -> Float[Array, " arrivals"]:
    """What is due ([arrivals]) after the spike of a neuron, the `row`-th of its population.

    A row out of range sends nothing.
    """
    begin = post.known
    for p in network.projections:
        if p.source is None:
            continue
        room, columns = post.room[p.source], p.connection.neurons if p.connection.per_synapse else 1
        delay = p.connection.delays(jnp.clip(neuron, 0, p.connection.sources - 1)[None])
        arriving = jnp.full(columns, time) if delay is None else jnp.broadcast_to(time + delay[0], (columns,))
        sends = (population == p.source) & (row < room)
        place = begin + jnp.clip(row, 0, room - 1) * columns
        old = lax.dynamic_slice_in_dim(due, place, columns)
        due = lax.dynamic_update_slice_in_dim(due, jnp.where(sends, arriving, old), place, 0)
        begin += room * columns
    return due
