"""Populations that are stepped together, from the first point of a grid to the last."""

from collections.abc import Sequence
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from eventprop.adjoint import AbstractAdjoint
from eventprop.neurons.base import AbstractNeuron
from eventprop.neurons.noise import Diffusive
from eventprop.solvers.grid_arrivals import Grating, spike_time
from eventprop.solvers.grid_lines import AbstractLine
from eventprop.solvers.grid_step import Step, step
from eventprop.spikes import SpikeTrains
from eventprop.surrogate import Surrogate

_NOISE = 2**32 - 1
"""Folded into a population's key it is that of the noise: neurons count their draws from 0."""


class Population(eqx.Module):
    """A population, its state at the beginning, and what it hears.

    known: the charge for each receptor at every point; lines: those from populations that are stepped with it, each
    with the number of its source; key: its own.
    """

    number: int = eqx.field(static=True)
    neuron: AbstractNeuron
    y: Any
    known: dict[int, Float[Array, "points neurons"]]
    lines: tuple[tuple[int, AbstractLine], ...]
    key: PRNGKeyArray | None


class Course(eqx.Module):
    """What became of a population: spikes (0 or 1) and their moments in each step, and the state at the end.

    fired: how many spikes each neuron has had after each step; v: potentials at every point, if they were asked for;
    twice: whether somebody should have fired twice in a step.
    """

    spikes: Float[Array, "steps neurons"]
    moments: Float[Array, "steps neurons"]
    fired: Int[Array, "steps neurons"]
    v: Float[Array, "points neurons"] | None
    y: Any
    twice: Bool[Array, ""]


def charges_by_port(charges: Sequence[tuple[int, Array]]) -> dict[int, Array]:
    """The sums of what arrives at each receptor."""
    summed: dict[int, Array] = {}
    for port, charge in charges:
        summed[port] = summed[port] + charge if port in summed else charge
    return summed


def run_component(
    populations: tuple[Population, ...],
    grating: Grating,
    *,
    solver: diffrax.AbstractSolver,
    adjoint: AbstractAdjoint,
    save: bool,
) -> dict[int, Course]:
    """Step populations that hear each other together."""
    place = {population.number: place for place, population in enumerate(populations)}

    def move(carry, point):
        states, lines, fired, twice = carry
        before = tuple(p.neuron.voltage(y) if save else None for p, y in zip(populations, states, strict=True))
        states, lines = _arrive(populations, grating, states, lines, point)
        found = tuple(
            step(p.neuron, y, _step(p, point, grating), solver=solver, adjoint=adjoint)
            for p, y in zip(populations, states, strict=True)
        )
        lines = tuple(
            tuple(
                line.put(grating, rows, point, found[place[source]].spikes, found[place[source]].moment)
                for (source, line), rows in zip(p.lines, own, strict=True)
            )
            for p, own in zip(populations, lines, strict=True)
        )
        fired = tuple(n + (x.spikes > 0) for n, x in zip(fired, found, strict=True))
        twice = tuple(a | x.twice for a, x in zip(twice, found, strict=True))
        # Every array that a step leaves behind costs: without surrogate gradients counts tell who has fired.
        spikes = [x.spikes if isinstance(adjoint, Surrogate) else None for x in found]
        seen = tuple((z, x.moment, n, v) for z, x, n, v in zip(spikes, found, fired, before, strict=True))
        return (tuple(x.y for x in found), lines, fired, twice), seen

    voltages = [p.neuron.voltage(p.y) for p in populations]
    carry = (
        tuple(p.y for p in populations),
        tuple(tuple(line.empty(v.dtype) for _, line in p.lines) for p, v in zip(populations, voltages, strict=True)),
        tuple(jnp.zeros(v.shape, jnp.int32) for v in voltages),
        tuple(jnp.zeros(v.shape, bool) for v in voltages),
    )
    points = jnp.arange(grating.steps, dtype=jnp.int32)
    (states, lines, _, twice), seen = lax.scan(move, carry, points)
    states, _ = _arrive(populations, grating, states, lines, jnp.asarray(grating.steps, jnp.int32))
    courses = {}
    for p, y, both, (spikes, moments, fired, v) in zip(populations, states, twice, seen, strict=True):
        if spikes is None:
            spikes = jnp.diff(fired, axis=0, prepend=0).astype(moments.dtype)
        v = None if v is None else jnp.concatenate([v, p.neuron.voltage(y)[None]])
        courses[p.number] = Course(spikes, moments, fired, v, y, jnp.any(both))
    return courses


def _arrive(
    populations: tuple[Population, ...], grating: Grating, states: Any, lines: Any, point: Array
) -> tuple[Any, Any]:
    """The states with what arrives at a point, and the lines without it."""
    after, left = [], []
    for p, y, own in zip(populations, states, lines, strict=True):
        taken = [line.take(grating, rows, point) for (_, line), rows in zip(p.lines, own, strict=True)]
        here = [(line.connection.port, charge) for (_, line), (charge, _) in zip(p.lines, taken, strict=True)]
        known = [(port, lax.dynamic_index_in_dim(x, point, keepdims=False)) for port, x in p.known.items()]
        for port, charge in charges_by_port(known + here).items():
            y = p.neuron.receive(y, port, charge)
        after.append(y)
        left.append(tuple(rows for _, rows in taken))
    return tuple(after), tuple(left)


def _step(population: Population, point: Int[Array, ""], grating: Grating) -> Step:
    noise = None
    if isinstance(population.neuron, Diffusive):
        assert population.key is not None
        noise = jax.random.fold_in(jax.random.fold_in(population.key, _NOISE), point)
    return Step(point * grating.h, grating.h, population.key, noise)


def trains_of(grating: Grating, course: Course, slots: int) -> tuple[SpikeTrains, Int[Array, ""]]:
    """The first spikes of each neuron, and the number of those beyond the slots."""
    wanted = jnp.arange(1, slots + 1, dtype=jnp.int32)
    # The step in which a neuron's count reaches a number.
    point = jax.vmap(lambda fired: jnp.searchsorted(fired, wanted), in_axes=1)(course.fired).astype(jnp.int32)
    neuron = jnp.arange(course.fired.shape[1])[:, None]
    moment = course.moments.at[point, neuron].get(mode="clip")
    times = jnp.where(point < grating.steps, spike_time(grating, point, moment), jnp.inf)
    lost = jnp.sum(jnp.maximum(course.fired[-1] - slots, 0), dtype=jnp.int32)
    return SpikeTrains(times), lost


def voltages_at(grating: Grating, course: Course, ts: Float[Array, " times"]) -> Float[Array, "times neurons"]:
    """Potentials at these times, on the chord between the points of the grid."""
    assert course.v is not None
    position = jnp.minimum(ts, grating.t1) / grating.h
    point = jnp.clip(jnp.floor(lax.stop_gradient(position)), 0, grating.steps - 1)
    rest, point = (position - point)[:, None], point.astype(jnp.int32)
    return (1 - rest) * course.v[point] + rest * course.v[point + 1]
