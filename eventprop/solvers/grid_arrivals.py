"""What arrives at the points of a grid."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from eventprop.connections.base import AbstractConnection
from eventprop.solvers.afferents import InFlight

SNAP = 1e-3
"""Arrivals that are so close to the end of a window, in steps, are at its end: rounding must not tell."""


class Grating(eqx.Module):
    """A window of `steps` steps of length h, which ends at t1. An arrival between two points is shared between both.

    The share of a point falls linearly with the distance, so the mean time of arrival is kept.
    """

    steps: int = eqx.field(static=True)
    h: Float[Array, ""]
    t1: Float[Array, ""]

    def snapped(self, arrival: Float[Array, "..."]) -> Float[Array, "..."]:
        """Times of arrival that are at the end of the window, or clearly not."""
        near = jnp.abs(lax.stop_gradient(arrival) - self.t1) < SNAP * self.h
        return jnp.where(near, arrival + lax.stop_gradient(self.t1 - arrival), arrival)

    def share(
        self, position: Float[Array, "..."], least: Any = 0
    ) -> tuple[Int[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
        """The point before a position, counted in steps, and the shares of this point and of the next.

        A position before the point `least` is that point.
        """
        point = jnp.maximum(jnp.floor(lax.stop_gradient(position)), least)
        rest = jnp.maximum(position - point, 0)
        return point.astype(jnp.int32), 1 - rest, rest


def known_charges(
    grating: Grating, connection: AbstractConnection, arriving: InFlight
) -> Float[Array, "points neurons"]:
    """What events with known times of arrival deliver at every point."""
    inside = arriving.times < grating.t1
    point, here, there = grating.share(jnp.where(inside, arriving.times / grating.h, 0))
    here, there = jnp.where(inside, here, 0), jnp.where(inside, there, 0)
    if connection.per_synapse:
        charge, columns = connection.charges(arriving.index), jnp.arange(connection.neurons)[None]
        empty = jnp.zeros((grating.steps + 1, connection.neurons), charge.dtype)
        return empty.at[point, columns].add(charge * here).at[point + 1, columns].add(charge * there)
    empty = jnp.zeros((grating.steps + 1, connection.sources), here.dtype)
    point, here, there, index = point[:, 0], here[:, 0], there[:, 0], arriving.index
    return connection.project(empty.at[point, index].add(here).at[point + 1, index].add(there))


class DelayLine(eqx.Module):
    """Spikes of a population on their way to the next points: row k % rows is what arrives at point k.

    Rows hold spikes of the sources; or, with a delay for every synapse, charges of the neurons. `earliest`: the first
    point that a spike may reach, 0 for the one where its step begins, 1 for the end of its step.
    """

    connection: AbstractConnection
    rows: int = eqx.field(static=True)
    earliest: int = eqx.field(static=True)

    def empty(self, dtype: Any) -> Float[Array, "rows columns"]:
        """Nothing is under way."""
        columns = self.connection.neurons if self.connection.per_synapse else self.connection.sources
        return jnp.zeros((self.rows, columns), dtype)

    def take(self, line: Float[Array, "rows columns"], point: Int[Array, ""]) -> tuple[Array, Array]:
        """What every neuron gets at a point, and the line without it."""
        row = point % self.rows
        found = lax.dynamic_index_in_dim(line, row, keepdims=False)
        line = lax.dynamic_update_index_in_dim(line, jnp.zeros_like(found), row, 0)
        return (found if self.connection.per_synapse else self.connection.project(found)), line

    def put(
        self, grating: Grating, line: Float[Array, "rows columns"], point: Int[Array, ""], spikes: Array, moment: Array
    ) -> Float[Array, "rows columns"]:
        """The line with the spikes of the step that begins at a point. What leaves the window is not put there."""
        connection = self.connection
        if connection.delay is None and self.earliest == 1:
            return lax.dynamic_update_index_in_dim(line, spikes, (point + 1) % self.rows, 0)
        amount, position = spikes, moment
        if connection.delay is not None:
            sources = jnp.arange(connection.sources)
            delay = connection.delays(sources)
            assert delay is not None
            if connection.per_synapse:
                amount, moment = connection.charges(sources) * spikes[:, None], moment[:, None]
            else:
                delay = delay[:, 0]
            position = moment + delay / grating.h
            amount = jnp.where(self._leaves(grating, point, moment, delay), 0, amount)
        first, here, there = grating.share(position, self.earliest)
        columns = jnp.arange(line.shape[1])
        columns = columns[None] if connection.per_synapse else columns
        line = line.at[(point + first) % self.rows, columns].add(amount * here)
        return line.at[(point + first + 1) % self.rows, columns].add(amount * there)

    def all(
        self, grating: Grating, spikes: Float[Array, "steps sources"], moments: Float[Array, "steps sources"]
    ) -> Float[Array, "points neurons"]:
        """What every neuron gets at every point, if the spikes of all steps are known."""
        if self.connection.delay is None:
            here, there = (1 - moments) * spikes, moments * spikes
            return self.connection.project(jnp.pad(here, ((0, 1), (0, 0))) + jnp.pad(there, ((1, 0), (0, 0))))

        def move(line, step):
            found, line = self.take(self.put(grating, line, *step), step[0])
            return line, found

        points = jnp.arange(grating.steps, dtype=jnp.int32)
        line, found = lax.scan(move, self.empty(spikes.dtype), (points, spikes, moments))
        last, _ = self.take(line, jnp.asarray(grating.steps, jnp.int32))
        return jnp.concatenate([found, last[None]])

    def _leaves(self, grating: Grating, point: Array, moment: Array, delay: Array) -> Bool[Array, "..."]:
        return grating.snapped(spike_time(grating, point, moment) + delay) >= grating.t1


def spike_time(grating: Grating, point: Int[Array, "..."], moment: Float[Array, "..."]) -> Float[Array, "..."]:
    """The time of a spike in the step that begins at a point."""
    return (point + moment) * grating.h
