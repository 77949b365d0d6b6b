"""What arrives at the points of a grid."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

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
        rest = jnp.where(position < point, 0, position - point)  # at a point it has the derivative 1
        return point.astype(jnp.int32), 1 - rest, rest


class Known(eqx.Module):
    """What is known to arrive at every point: so many spikes of each source of a connection, or charges (None)."""

    connection: AbstractConnection | None
    rows: Float[Array, "points _"]

    def charges(self, rows: Float[Array, "*batch _"]) -> Float[Array, "*batch neurons"]:
        """What some of the rows deliver."""
        return rows if self.connection is None else self.connection.project(rows)


def arriving_at_points(grating: Grating, connection: AbstractConnection, arriving: InFlight) -> Known:
    """What events with known times of arrival deliver."""
    inside = arriving.times < grating.t1
    point, here, there = grating.share(jnp.where(inside, arriving.times / grating.h, 0))
    here, there = jnp.where(inside, here, 0), jnp.where(inside, there, 0)
    if connection.per_synapse:
        charge, columns = connection.charges(arriving.index), jnp.arange(connection.neurons)[None]
        empty = jnp.zeros((grating.steps + 1, connection.neurons), charge.dtype)
        return Known(None, empty.at[point, columns].add(charge * here).at[point + 1, columns].add(charge * there))
    empty = jnp.zeros((grating.steps + 1, connection.sources), here.dtype)
    point, here, there, index = point[:, 0], here[:, 0], there[:, 0], arriving.index
    return Known(connection, empty.at[point, index].add(here).at[point + 1, index].add(there))


def spike_time(grating: Grating, point: Int[Array, "..."], moment: Float[Array, "..."]) -> Float[Array, "..."]:
    """The time of a spike in the step that begins at a point."""
    return (point + moment) * grating.h
