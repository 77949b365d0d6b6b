"""What arrives at a population: the spikes of all its sources after their delays, in the order of arrival."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from eventprop.connections.base import AbstractConnection
from eventprop.spikes import Spikes, sorted_positions


class InFlight(eqx.Module):
    """Events that have been sent along a connection, and have not reached every neuron.

    times: when they arrive (`inf`: they have, or there is no event), counted as the window is; one column for all
        neurons, or one for each with a delay per synapse. index: who sent them.
    """

    times: Float[Array, "events columns"]
    index: Int[Array, " events"]


class Afferents(eqx.Module):
    """Arrivals, ascending in every column (`inf`: none): event k delivers charge[index[k]].

    One column of times for all neurons, or one for each.
    """

    times: Float[Array, "events columns"]
    index: Int[Array, " events"]
    charge: Float[Array, "rows neurons"]


def no_flight(connection: AbstractConnection, dtype: Any) -> InFlight | None:
    """Nothing under way; None where nothing ever is."""
    return None if connection.delay is None else no_events(connection, dtype)


def no_events(connection: AbstractConnection, dtype: Any) -> InFlight:
    """An empty list of events."""
    columns = connection.neurons if connection.per_synapse else 1
    return InFlight(jnp.zeros((0, columns), dtype), jnp.zeros(0, jnp.int32))


def arrivals(connection: AbstractConnection, spikes: Spikes, flight: InFlight | None, t1: Array) -> InFlight:
    """All events of a connection in a window, those that were under way first. Spikes at `t1` or later are none."""
    times, delay = spikes.times[:, None], connection.delays(spikes.index)
    if delay is None:
        return InFlight(times, spikes.index)
    times = jnp.where(times < t1, times + delay, jnp.inf)
    if flight is None:
        return InFlight(times, spikes.index)
    return InFlight(jnp.concatenate([flight.times, times]), jnp.concatenate([flight.index, spikes.index]))


def still_in_flight(arriving: InFlight, t1: Array, capacity: int) -> tuple[InFlight, Int[Array, ""]]:
    """What arrives at `t1` or later, counted from there, and the number of events beyond the `capacity`."""
    times = jnp.where((arriving.times >= t1) & (arriving.times < jnp.inf), arriving.times - t1, jnp.inf)
    first = lax.stop_gradient(jnp.min(times, axis=1, initial=jnp.inf))
    lost = jnp.maximum(jnp.sum(first < jnp.inf, dtype=jnp.int32) - capacity, 0)
    order = jnp.argsort(first, stable=True)[:capacity]
    room = capacity - order.shape[0]
    times = jnp.pad(times[order], ((0, room), (0, 0)), constant_values=jnp.inf)
    return InFlight(times, jnp.pad(arriving.index[order], (0, room))), lost


def gather(connections: Sequence[AbstractConnection], arriving: Sequence[InFlight]) -> Afferents:
    """The events of several connections onto one population as one list."""
    in_order = len(connections) == 1 and connections[0].delay is None
    if in_order:
        charge, index = connections[0].table(arriving[0].index)
        return Afferents(arriving[0].times, index, charge)
    if any(events.times.shape[1] > 1 for events in arriving):
        return _one_column_each(connections, arriving)
    times = jnp.concatenate([events.times[:, 0] for events in arriving])
    tables, rows, first = [], [], 0
    for connection, events in zip(connections, arriving, strict=True):
        charge, index = connection.table(events.index)
        tables.append(charge)
        # An index out of range is clipped within its own table.
        rows.append(first + jnp.clip(index, 0, charge.shape[0] - 1))
        first += charge.shape[0]
    order = sorted_positions(lax.stop_gradient(times), lax.iota(jnp.int32, times.shape[0]))
    return Afferents(times[order][:, None], jnp.concatenate(rows)[order], jnp.concatenate(tables))


def _one_column_each(connections: Sequence[AbstractConnection], arriving: Sequence[InFlight]) -> Afferents:
    neurons = connections[0].neurons
    times = jnp.concatenate([jnp.broadcast_to(x.times, (x.times.shape[0], neurons)) for x in arriving])
    charge = jnp.concatenate([c.charges(x.index) for c, x in zip(connections, arriving, strict=True)])
    order = jnp.argsort(lax.stop_gradient(times), axis=0, stable=True)
    times, charge = (jnp.take_along_axis(x, order, axis=0) for x in (times, charge))
    return Afferents(times, lax.iota(jnp.int32, times.shape[0]), charge)
