"""Spikes on their way from population to population, step by step."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from eventprop.connections.base import AbstractConnection
from eventprop.loops import vary_alike
from eventprop.solvers.grid_arrivals import Grating, Known, spike_time


class AbstractLine(eqx.Module):
    """Spikes of a population that are on their way to the next points of a grid.

    rows: of memory, three more than the longest delay has steps. earliest: the first point that a spike may reach, 0
    for that where its step begins, 1 for the end of its step.
    """

    connection: eqx.AbstractVar[AbstractConnection]
    rows: eqx.AbstractVar[int]
    earliest: eqx.AbstractVar[int]

    @abc.abstractmethod
    def empty(self, dtype: Any) -> Any:
        """The line with nothing under way."""

    @abc.abstractmethod
    def take(self, grating: Grating, line: Any, point: Int[Array, ""]) -> tuple[Float[Array, " neurons"], Any]:
        """What every neuron gets at a point, and the line without it."""

    @abc.abstractmethod
    def put(self, grating: Grating, line: Any, point: Int[Array, ""], spikes: Array, moment: Array) -> Any:
        """The line with the spikes of the step that begins at a point. What leaves the window is not put there."""


class EndOfStep(AbstractLine):
    """Without delay, to populations that are stepped together: all arrives at the end of the step."""

    connection: AbstractConnection
    rows: int = eqx.field(static=True)
    earliest: int = eqx.field(static=True)

    def empty(self, dtype: Any) -> Float[Array, " sources"]:
        """Nobody has fired."""
        return jnp.zeros(self.connection.sources, dtype)

    def take(self, grating: Grating, line: Float[Array, " sources"], point: Int[Array, ""]) -> tuple[Array, Array]:
        """The spikes of the last step."""
        return self.connection.project(line), line

    def put(self, grating: Grating, line: Array, point: Array, spikes: Array, moment: Array) -> Array:
        """The spikes of this step."""
        return spikes


class SourceLine(AbstractLine):
    """One delay for all synapses of a source, (whole + part) h.

    Spikes are shared between the three points around moment + part. Row k % rows holds the shares of point k, which are
    read so many `whole` steps later. The line: these rows, and what the row after the next has got already.
    """

    connection: AbstractConnection
    rows: int = eqx.field(static=True)
    earliest: int = eqx.field(static=True)

    def _delay(self, grating: Grating) -> tuple[Int[Array, "..."], Float[Array, "..."]]:
        """The delay as whole steps, one number or one per source, and the rest."""
        steps = self.connection.delay / grating.h
        whole = jnp.clip(jnp.floor(lax.stop_gradient(steps)), 0, self.rows - 2)
        return whole.astype(jnp.int32), steps - whole

    def empty(self, dtype: Any) -> tuple[Array, Array]:
        """Nothing is under way."""
        zeros = jnp.zeros((self.rows, self.connection.sources), dtype)
        return zeros, zeros[0]

    def take(self, grating: Grating, line: tuple[Array, Array], point: Int[Array, ""]) -> tuple[Array, Any]:
        """What has been shared out to a point that lies `whole` steps before."""
        rows, _ = line
        whole, _ = self._delay(grating)
        row = (point - whole) % self.rows
        found = rows[row] if row.ndim == 0 else rows[row, jnp.arange(self.connection.sources)]
        return self.connection.project(found), line

    def put(self, grating: Grating, line: tuple[Array, Array], point: Array, spikes: Array, moment: Array) -> Any:
        """Shares for this point and the next two."""
        rows, later = line
        whole, _ = self._delay(grating)
        here, after, there = self._shares(whole, *self._under_way(grating, point, spikes, moment))
        now = lax.dynamic_index_in_dim(rows, point % self.rows, keepdims=False) + here
        rows = lax.dynamic_update_index_in_dim(rows, now, point % self.rows, 0)
        rows = lax.dynamic_update_index_in_dim(rows, later + after, (point + 1) % self.rows, 0)
        return rows, there

    def all_at_once(
        self, grating: Grating, spikes: Float[Array, "steps sources"], moments: Float[Array, "steps sources"]
    ) -> Float[Array, "points sources"]:
        """What every point gets of the spikes of all steps."""
        whole, _ = self._delay(grating)
        given = self._under_way(grating, jnp.arange(grating.steps)[:, None], spikes, moments)
        before = self.rows  # so many steps without spikes, as many as a delay may have, and two
        given = [jnp.pad(x, ((before, 1), (0, 0))) for x in given]
        found = jnp.zeros((), spikes.dtype)
        for later in range(3):
            first = before - later - whole
            if whole.ndim == 0:
                sent = [lax.dynamic_slice_in_dim(x, first, grating.steps + 1) for x in given]
            else:
                at = first + jnp.arange(grating.steps + 1)[:, None]
                sent = [jnp.take_along_axis(x, at, axis=0) for x in given]
            found += self._shares(whole, *sent)[later]
        return found

    def _under_way(self, grating: Grating, point: Array, spikes: Array, moment: Array) -> tuple[Array, Array]:
        """The spikes of a step that stay in the window, and when they arrive without the whole steps, 0 to 2."""
        _, part = self._delay(grating)
        return jnp.where(_leaves(grating, point, moment, self.connection.delay), 0, spikes), moment + part

    def _shares(self, whole: Array, amount: Array, position: Array) -> tuple[Array, Array, Array]:
        """What the point of their step and the next two get of spikes under way."""
        here, there = jnp.maximum(1 - position, 0), jnp.maximum(position - 1, 0)
        after = 1 - jnp.abs(position - 1)
        if self.earliest == 1:  # what would have to be here already arrives at the end of the step
            here, after = jnp.where(whole == 0, 0, here), jnp.where(whole == 0, 1 - there, after)
        return here * amount, after * amount, there * amount


class SynapseLine(AbstractLine):
    """A delay for every synapse. Row k % rows holds what every neuron gets at point k."""

    connection: AbstractConnection
    rows: int = eqx.field(static=True)
    earliest: int = eqx.field(static=True)

    def empty(self, dtype: Any) -> Float[Array, "rows neurons"]:
        """Nothing is under way."""
        return jnp.zeros((self.rows, self.connection.neurons), dtype)

    def take(self, grating: Grating, line: Float[Array, "rows neurons"], point: Int[Array, ""]) -> tuple[Array, Array]:
        """The row of this point, which is empty from then on."""
        row = point % self.rows
        found = lax.dynamic_index_in_dim(line, row, keepdims=False)
        return found, lax.dynamic_update_index_in_dim(line, jnp.zeros_like(found), row, 0)

    def put(self, grating: Grating, line: Array, point: Array, spikes: Array, moment: Array) -> Array:
        """Every synapse's charge, shared between two rows."""
        sources = jnp.arange(self.connection.sources)
        delay, charge = self.connection.delays(sources), self.connection.charges(sources)
        assert delay is not None
        moment = moment[:, None]
        amount = jnp.where(_leaves(grating, point, moment, delay), 0, charge * spikes[:, None])
        first, here, there = grating.share(moment + delay / grating.h, self.earliest)
        neurons = jnp.arange(self.connection.neurons)[None]
        line = line.at[(point + first) % self.rows, neurons].add(amount * here)
        return line.at[(point + first + 1) % self.rows, neurons].add(amount * there)


def line_of(connection: AbstractConnection, rows: int) -> AbstractLine:
    """The line of a connection between populations that are stepped together."""
    if connection.per_synapse:
        return SynapseLine(connection, rows, earliest=1)
    return (EndOfStep if connection.delay is None else SourceLine)(connection, rows, earliest=1)


def heard(
    grating: Grating, connection: AbstractConnection, rows: int, spikes: Float[Array, "steps sources"], moments: Array
) -> Known:
    """What the spikes of another population, known for all steps with their moments, deliver."""
    if connection.delay is None:
        here, there = (1 - moments) * spikes, moments * spikes
        return Known(connection, jnp.pad(here, ((0, 1), (0, 0))) + jnp.pad(there, ((1, 0), (0, 0))))
    if not connection.per_synapse:
        return Known(connection, SourceLine(connection, rows, earliest=0).all_at_once(grating, spikes, moments))
    line = SynapseLine(connection, rows, earliest=0)

    def move(carry, step):
        found, carry = line.take(grating, line.put(grating, carry, *step), step[0])
        return carry, found

    points = jnp.arange(grating.steps, dtype=jnp.int32)
    empty = vary_alike(line.empty(spikes.dtype), spikes, connection)
    carry, found = lax.scan(move, empty, (points, spikes, moments))
    last, _ = line.take(grating, carry, jnp.asarray(grating.steps, jnp.int32))
    return Known(None, jnp.concatenate([found, last[None]]))


def _leaves(grating: Grating, point: Array, moment: Array, delay: Any) -> Bool[Array, "..."]:
    """Whether a spike arrives after the window."""
    return grating.snapped(spike_time(grating, point, moment) + delay) >= grating.t1
