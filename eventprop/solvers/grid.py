"""Fixed steps: any neuron, topology and delay, with noise, and with implicit or surrogate gradients."""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from eventprop.adjoint import AbstractAdjoint, Implicit
from eventprop.network import AbstractNetwork, Projection
from eventprop.neurons.base import sends_spikes
from eventprop.parameters import as_float, check_positive, check_type, is_concrete
from eventprop.results import RESULTS
from eventprop.solvers.afferents import InFlight, arrivals, still_in_flight
from eventprop.solvers.base import AbstractSolver, NetworkState, Trajectory, resting_state
from eventprop.solvers.bounds import bound, per_population
from eventprop.solvers.exponential_midpoint import ExponentialMidpoint
from eventprop.solvers.grid_arrivals import Grating, Known, arriving_at_points
from eventprop.solvers.grid_lines import AbstractLine, heard, line_of
from eventprop.solvers.grid_population import Course, Looks, Population, run_component, trains_of, voltages_at
from eventprop.spikes import Spikes, SpikeTrains
from eventprop.surrogate import Surrogate


class Plan(NamedTuple):
    """What `Grid.prepare` has found out: the number of steps, and the rows of each projection's delay line."""

    steps: int
    rows: tuple[int, ...]


class Grid(AbstractSolver):
    """Steps of length `dt`: any neuron, topology and delay, membrane noise, implicit or surrogate gradients.

    In every step all neurons of a population move at once. Then their guards are looked at: one that has reached zero
    is an event, whose moment the chord of the guard tells. The state on the chord jumps there, and is carried to the
    end of the step. So spikes have times within their steps, and errors shrink as dt^2 with methods of order 2 and more
    (the default, `ExponentialMidpoint()`), as dt with those of order 1, and for
    exponential upstrokes (EIF, AdEx) that are over within a step. Arrivals between two points of the grid are
    shared between both in proportion, which keeps their mean time, and lets derivatives pass to input times and delays.
    What populations that hear themselves or each other send without delay, or with one that ends before the step,
    arrives at its end. Potentials at times within a step are those on the chord between its ends, also where a spike
    lies between.

    - At most one spike per neuron and step: a second one is an error. Guards are looked at where steps end: a crossing
      that is undone within the step is missed, with noise as without.
    - Gradients: `Implicit()` differentiates the moments of all events; `Surrogate(...)` gives spikes, 0 or 1 in a step,
      a pseudo-derivative (`Solution.raster`). Forward and reverse mode. Spikes and states are the same with both.
    - The window must be a whole number of steps, whose number is a part of the program: `t1` cannot be traced. Cuts at
      points of the grid give the whole (with noise: as it is drawn in each window).
    - Delays of the weight's shape cost a scatter over all synapses per step, others next to nothing. Traced delays need
      a row of memory per step; known ones, one per step of the longest delay.

    dt: length of a step; a Python number. max_spikes: most spikes per neuron and trial, as for `Exact`.
    solver: `ExponentialMidpoint()`, of order 2, `ExponentialEuler()`, of order 1 and hardly faster, or one of diffrax
        (Euler, Heun, Midpoint, Tsit5, ...), of which steps are taken.
    max_in_flight: most events of a connection with delays that may be under way at the end. None: as many as there
        could be.
    """

    dt: float = eqx.field(static=True, converter=float)
    max_spikes: int | tuple[int, ...] = eqx.field(static=True, converter=bound)
    solver: diffrax.AbstractSolver = ExponentialMidpoint()
    max_in_flight: int | None = eqx.field(static=True, converter=bound, default=None)
    plan: Plan | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        check_positive("dt", self.dt, "it is the length of a step")
        check_type("solver", self.solver, diffrax.AbstractSolver)
        bounds = self.max_spikes if isinstance(self.max_spikes, tuple) else (self.max_spikes,)
        for name, values in (("max_spikes", bounds), ("max_in_flight", (self.max_in_flight or 1,))):
            if not all(isinstance(x, int) and x >= 1 for x in values):
                raise ValueError(f"{name} sets the size of arrays: it must be a whole number from 1, but is {values}.")

    def prepare(self, network: AbstractNetwork, t1: Any, adjoint: AbstractAdjoint) -> "Grid":
        """The solver for so many steps. Raises ValueError for a `t1` that is traced or no whole number of steps."""
        if not isinstance(adjoint, Implicit | Surrogate):
            raise ValueError(
                f"adjoint of Grid must be an Implicit or a Surrogate, but is {adjoint!r}: take Hybrid for it."
            )
        steps = whole_steps(t1, self.dt)
        rows = tuple(_rows(p, steps, self.dt) for p in network.projections)
        solver = self.solver
        if getattr(solver, "scan_kind", "lax") is None:  # of diffrax' loops, the one with all modes of derivatives
            solver = eqx.tree_at(lambda s: s.scan_kind, solver, "bounded", is_leaf=lambda x: x is None)
        return Grid(self.dt, self.max_spikes, solver, self.max_in_flight, Plan(steps, rows))

    def run(
        self,
        network: AbstractNetwork,
        spikes: Spikes,
        t1: Float[Array, ""],
        *,
        adjoint: AbstractAdjoint,
        ts: Float[Array, " times"] | None,
        state: NetworkState | None,
        keys: tuple[PRNGKeyArray | None, ...],
    ) -> Trajectory:
        """Component by component; see `simulate`."""
        assert self.plan is not None
        start = resting_state(network, t1.dtype) if state is None else state
        grating = Grating(self.plan.steps, t1 / self.plan.steps, t1)
        spiking = [number for number, neuron in enumerate(network.neurons) if sends_spikes(neuron)]
        slots = per_population("max_spikes", self.max_spikes, spiking)
        looks = None if ts is None else Looks.at(grating, ts)
        courses: dict[int, Course] = {}
        for component in network.components():
            populations = tuple(
                Population(
                    number,
                    network.neurons[number],
                    start.neurons[number],
                    self._known(network, number, component, grating, spikes, start, courses),
                    self._lines(network, number, component),
                    keys[number],
                    slots.get(number, 0),
                )
                for number in component
            )
            courses |= run_component(populations, grating, solver=self.solver, adjoint=adjoint, looks=looks)
        found = [courses[number] for number in range(len(network.neurons))]
        return self._trajectory(network, grating, spikes, start, found, slots, looks)

    def _known(self, network, number, component, grating, spikes, start, courses) -> tuple[tuple[int, Known], ...]:
        """What is known to arrive at a population: input, what other components send, and what was under way."""

        def of(k: int, p: Projection) -> list[Known]:
            connection, flight = p.connection, start.in_flight[k]
            if p.source is None:
                arriving = arrivals(connection, spikes, flight, grating.t1)
                return [arriving_at_points(grating, connection, _snapped(grating, arriving))]
            under_way = [] if flight is None else [arriving_at_points(grating, connection, _snapped(grating, flight))]
            if p.source in component:
                return under_way
            sent = courses[p.source]
            return [*under_way, heard(grating, connection, self._plan_rows(k), sent.spikes, sent.moments)]

        return tuple((p.connection.port, known) for k, p in network.into(number) for known in of(k, p))

    def _plan_rows(self, projection: int) -> int:
        assert self.plan is not None
        return self.plan.rows[projection]

    def _lines(self, network, number, component) -> tuple[tuple[int, AbstractLine], ...]:
        """The projections from within the component, with their sources."""
        return tuple(
            (p.source, line_of(p.connection, self._plan_rows(k)))
            for k, p in network.into(number)
            if p.source in component
        )

    def _trajectory(self, network, grating, spikes, start, found, slots, looks) -> Trajectory:
        lost = jnp.zeros((len(found), 3), jnp.int32)
        trains: list[SpikeTrains | None] = [None] * len(found)
        sent: dict[int | None, Spikes] = {None: spikes}
        for number, most in slots.items():
            trains[number], beyond = trains_of(grating, found[number], most)
            lost = lost.at[number, 0].set(beyond)
        flights: list[InFlight | None] = []
        for k, p in enumerate(network.projections):
            left = None
            if p.connection.delay is not None:
                if p.source not in sent:
                    sent[p.source] = trains[p.source].merge()[0]
                arriving = arrivals(p.connection, sent[p.source], start.in_flight[k], grating.t1)
                capacity = self.max_in_flight or sent[p.source].times.shape[0]
                left, beyond = still_in_flight(_snapped(grating, arriving), grating.t1, capacity)
                lost = lost.at[p.target, 2].add(beyond)
            flights.append(left)
        twice = jnp.any(jnp.stack([course.twice for course in found]))
        return Trajectory(
            tuple(trains),
            None if looks is None else tuple(voltages_at(grating, course, looks) for course in found),
            NetworkState(tuple(course.y for course in found), tuple(flights)),
            lost,
            RESULTS.where(twice, RESULTS.step_too_long, RESULTS.successful),
            tuple(course.spikes if number in slots else None for number, course in enumerate(found)),
        )


def whole_steps(t1: Any, dt: float) -> int:
    """The number of steps of a window, at least 1."""
    t1 = as_float("t1", t1)
    if not is_concrete(t1):
        raise ValueError(
            "t1 is traced, but sets the number of steps of Grid, which is a part of the program: give a Python number, "
            "or name t1 among the static_argnames of jax.jit."
        )
    length = float(np.asarray(t1))
    steps = round(length / dt) if np.isfinite(length) else 0
    if steps < 1 or abs(steps * dt - length) > 1e-5 * dt * steps:
        near = max(steps, 1) * dt
        remedy = "are both in one unit, as µs on a chip?" if length < dt else f"give t1 = {near:g}, say."
        raise ValueError(f"t1 = {length:g} must be a whole number of steps of dt = {dt:g}: {remedy}")
    return steps


def _rows(projection: Projection, steps: int, dt: float) -> int:
    delay = projection.connection.delay
    if delay is None:
        return 2
    if not is_concrete(delay):
        return steps + 2
    longest = float(np.max(np.asarray(delay), initial=0))
    return min(int(min(max(longest, 0) / dt, steps)) + 3, steps + 2)


def _snapped(grating: Grating, arriving: InFlight) -> InFlight:
    return InFlight(grating.snapped(arriving.times), arriving.index)
