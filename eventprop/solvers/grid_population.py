"""Populations that are stepped together, from the first point of a grid to the last."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from eventprop.adjoint import AbstractAdjoint
from eventprop.loops import vary_alike
from eventprop.neurons.base import AbstractNeuron
from eventprop.neurons.noise import Diffusive
from eventprop.solvers.grid_arrivals import Grating, Known, spike_time
from eventprop.solvers.grid_lines import AbstractLine
from eventprop.solvers.grid_step import Step, Stepped, step
from eventprop.spikes import SpikeTrains
from eventprop.surrogate import Surrogate

_NOISE = 2**32 - 1
"""Folded into a population's key it is that of the noise: neurons count their draws from 0."""
LONGEST_STRETCH = 32
"""Most steps between two states that are kept for the backward pass. Products of known spikes are as many at once."""


class Population(eqx.Module):
    """A population, its state at the beginning, and what it hears.

    known: for each receptor what arrives at every point; lines: those from populations that are stepped with it, each
    with the number of its source; key: its own; slots: the most spikes of a neuron that are wanted.
    """

    number: int = eqx.field(static=True)
    neuron: AbstractNeuron
    y: Any
    known: tuple[tuple[int, Known], ...]
    lines: tuple[tuple[int, AbstractLine], ...]
    key: PRNGKeyArray | None
    slots: int = eqx.field(static=True)


class Course(eqx.Module):
    """What became of a population: spikes (0 or 1) and their moments in each step, and the state at the end.

    record: the moment where somebody fires in a step, else minus the number of steps since the last spike; latest: the
    step of the last spike that is wanted, -1 for none; fired: how many spikes each neuron has had; v: potentials at
    the points of `Looks`; twice: whether somebody should have fired twice in a step.
    """

    spikes: Float[Array, "steps neurons"]
    moments: Float[Array, "steps neurons"]
    record: Float[Array, "steps neurons"]
    latest: Int[Array, " neurons"]
    fired: Int[Array, " neurons"]
    v: Float[Array, "rows neurons"] | None
    y: Any
    twice: Bool[Array, ""]


class Looks(eqx.Module):
    """Times at which potentials are wanted, and for every point the row that keeps it; the last row is nobody's."""

    ts: Float[Array, " times"]
    row: Int[Array, " points"]
    rows: int = eqx.field(static=True)

    @classmethod
    def at(cls, grating: Grating, ts: Float[Array, " times"]) -> "Looks":
        """At both ends of the steps around these times."""
        points = jnp.arange(grating.steps + 1, dtype=jnp.int32)
        if 2 * ts.shape[0] > grating.steps:
            return cls(ts, points, grating.steps + 2)
        point, _ = _between(grating, ts)
        kept = jnp.sort(jnp.concatenate([point, point + 1, points[-1:] + 1]))
        row = jnp.searchsorted(kept, points).astype(jnp.int32)
        return cls(ts, jnp.where(kept[row] == points, row, kept.size - 1), kept.size)


class _Progress(NamedTuple):
    """Of one population, from step to step."""

    y: Any
    lines: tuple[Any, ...]
    fired: Int[Array, " neurons"]
    latest: Int[Array, " neurons"]
    twice: Bool[Array, " neurons"]
    v: Float[Array, "rows neurons"] | None


def run_component(
    populations: tuple[Population, ...],
    grating: Grating,
    *,
    solver: diffrax.AbstractSolver,
    adjoint: AbstractAdjoint,
    looks: Looks | None,
) -> dict[int, Course]:
    """Step populations that hear each other together, stretch by stretch.

    For a backward pass the state before each stretch is kept, and the stretch gone through again.
    """
    place = {population.number: place for place, population in enumerate(populations)}

    def move(progress, at):
        point, charges, noise, row = at
        progress = _arrive(populations, grating, progress, charges, point, row)
        found = tuple(
            step(p.neuron, own.y, _step(p, own_noise, point, grating), solver=solver, adjoint=adjoint)
            for p, own, own_noise in zip(populations, progress, noise, strict=True)
        )
        lines = tuple(
            tuple(
                line.put(grating, rows, point, found[place[source]].spikes, found[place[source]].moment)
                for (source, line), rows in zip(p.lines, own.lines, strict=True)
            )
            for p, own in zip(populations, progress, strict=True)
        )
        after = [_after(*each, point) for each in zip(populations, progress, found, lines, strict=True)]
        # Every array that a step leaves behind costs: without surrogate gradients the record tells who has fired.
        spikes = [x.spikes if isinstance(adjoint, Surrogate) else None for x in found]
        return tuple(own for own, _ in after), tuple(zip(spikes, (record for _, record in after), strict=True))

    def stretch(progress, at):
        points, rows, looking = at
        noise = tuple(_noise(p, points) for p in populations)
        return lax.scan(move, progress, (points, _charges(populations, rows), noise, looking))

    progress = vary_alike(tuple(_begin(p, looks) for p in populations), populations)
    rows = tuple(tuple(known.rows for _, known in p.known) for p in populations)
    points = jnp.arange(grating.steps + 1, dtype=jnp.int32)
    at = points, rows, None if looks is None else looks.row
    length = max(n for n in range(1, LONGEST_STRETCH + 1) if grating.steps % n == 0)
    cut = jax.tree.map(lambda x: x[:-1].reshape(-1, length, *x.shape[1:]), at)
    progress, seen = lax.scan(jax.checkpoint(stretch, prevent_cse=False), progress, cut)
    point, rows, row = jax.tree.map(lambda x: x[-1], at)
    progress = _arrive(populations, grating, progress, _charges(populations, rows), point, row)
    seen = jax.tree.map(lambda x: x.reshape(grating.steps, *x.shape[2:]), seen)
    return {p.number: _course(own, *each) for p, own, each in zip(populations, progress, seen, strict=True)}


def _begin(population: Population, looks: Looks | None) -> _Progress:
    v = population.neuron.voltage(population.y)
    lines = tuple(line.empty(v.dtype) for _, line in population.lines)
    fired, twice = jnp.zeros(v.shape, jnp.int32), jnp.zeros(v.shape, bool)
    kept = None if looks is None else jnp.zeros((looks.rows, *v.shape), v.dtype)
    return _Progress(population.y, lines, fired, fired - 1, twice, kept)


def _charges(populations: tuple[Population, ...], rows: Any) -> tuple[dict[int, Array], ...]:
    """The charge for each receptor of each population."""
    return tuple(
        _by_port([(port, known.charges(own)) for (port, known), own in zip(p.known, each, strict=True)])
        for p, each in zip(populations, rows, strict=True)
    )


def _by_port(charges: Sequence[tuple[int, Array]]) -> dict[int, Array]:
    """The sums of what arrives at each receptor."""
    summed: dict[int, Array] = {}
    for port, charge in charges:
        summed[port] = summed[port] + charge if port in summed else charge
    return summed


def _arrive(
    populations: tuple[Population, ...],
    grating: Grating,
    progress: tuple[_Progress, ...],
    charges: tuple[dict[int, Array], ...],
    point: Int[Array, ""],
    row: Int[Array, ""] | None,
) -> tuple[_Progress, ...]:
    """The states with what arrives at a point, and the lines without it. Potentials are those before."""
    after = []
    for p, own, known in zip(populations, progress, charges, strict=True):
        y, v = own.y, own.v
        if v is not None:
            v = lax.dynamic_update_index_in_dim(v, p.neuron.voltage(y), row, 0)
        taken = [line.take(grating, rows, point) for (_, line), rows in zip(p.lines, own.lines, strict=True)]
        here = [(line.connection.port, charge) for (_, line), (charge, _) in zip(p.lines, taken, strict=True)]
        for port, charge in _by_port([*known.items(), *here]).items():
            y = p.neuron.receive(y, port, charge)
        after.append(own._replace(y=y, v=v, lines=tuple(rows for _, rows in taken)))
    return tuple(after)


def _after(
    population: Population, own: _Progress, found: Stepped, lines: tuple[Any, ...], point: Int[Array, ""]
) -> tuple[_Progress, Float[Array, " neurons"]]:
    """A population after a step, and the record of that step."""
    spiked = found.spikes > 0
    fired = own.fired + spiked
    latest = jnp.where(spiked & (fired <= population.slots), point, own.latest)
    record = jnp.where(spiked, found.moment, (own.latest - point).astype(found.moment.dtype))
    return _Progress(found.y, lines, fired, latest, own.twice | found.twice, own.v), record


def _course(progress: _Progress, spikes: Array | None, record: Array) -> Course:
    silent = record < 0
    spikes = jnp.where(silent, 0, jnp.ones_like(record)) if spikes is None else spikes
    moments = jnp.where(silent, 1, record)
    y, _, fired, latest, twice, v = progress
    return Course(spikes, moments, record, latest, fired, v, y, jnp.any(twice))


def _noise(population: Population, points: Int[Array, " steps"]) -> Float[Array, "steps neurons"] | None:
    """Standard normal numbers for a stretch of steps, drawn at once: keys cost more than what is drawn from them."""
    if not isinstance(population.neuron, Diffusive):
        return None
    assert population.key is not None
    key = jax.random.fold_in(jax.random.fold_in(population.key, _NOISE), points[0])
    v = population.neuron.voltage(population.y)
    return jax.random.normal(key, (points.shape[0], *v.shape), v.dtype)


def _step(population: Population, noise: Array | None, point: Int[Array, ""], grating: Grating) -> Step:
    one = jnp.where(point < 0, 2.0, 1.0).astype(grating.h.dtype)
    return Step(point * grating.h, grating.h, population.key, one, noise)


def trains_of(grating: Grating, course: Course, slots: int) -> tuple[SpikeTrains, Int[Array, ""]]:
    """The first spikes of each neuron, and the number of those beyond the slots."""
    neuron = jnp.arange(course.fired.shape[0])
    record = lax.stop_gradient(course.record)

    def back(step, _):
        """From the step of a spike to that of the one before."""
        since = record[jnp.maximum(step - 1, 0), neuron].astype(jnp.int32)
        before = step - 1 + jnp.minimum(since, 0)
        return jnp.where(step < 1, -1, before), step

    _, found = lax.scan(back, course.latest, None, length=slots)
    number = jnp.minimum(course.fired, slots)
    order = number[:, None] - jnp.arange(1, slots + 1)[None]
    point = found[jnp.maximum(order, 0), neuron[:, None]]
    moment = course.record[jnp.maximum(point, 0), neuron[:, None]]
    times = jnp.where(order >= 0, spike_time(grating, point, moment), jnp.inf)
    return SpikeTrains(times), jnp.sum(jnp.maximum(course.fired - slots, 0), dtype=jnp.int32)


def _between(grating: Grating, ts: Float[Array, " times"]) -> tuple[Int[Array, " times"], Float[Array, " times"]]:
    """The point before each time, and how much of the step has passed then."""
    position = jnp.minimum(ts, grating.t1) / grating.h
    point = jnp.clip(jnp.floor(lax.stop_gradient(position)), 0, grating.steps - 1)
    return point.astype(jnp.int32), position - point


def voltages_at(grating: Grating, course: Course, looks: Looks) -> Float[Array, "times neurons"]:
    """Potentials on the chord between the points of the grid; in a step with an event they lie beside it."""
    assert course.v is not None
    point, rest = _between(grating, looks.ts)
    return (1 - rest)[:, None] * course.v[looks.row[point]] + rest[:, None] * course.v[looks.row[point + 1]]
