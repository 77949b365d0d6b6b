"""Diffrax' integrators from event to event: any neuron, any topology."""

from collections.abc import Sequence
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from eventprop.adjoint import AbstractAdjoint, EventProp, Implicit
from eventprop.network import AbstractNetwork
from eventprop.neurons.base import sends_spikes
from eventprop.neurons.noise import Diffusive
from eventprop.parameters import Parameter, as_float, check_largest_step, check_type, constant, is_concrete, numeric
from eventprop.results import RESULTS
from eventprop.solvers.afferents import InFlight, arrivals, still_in_flight
from eventprop.solvers.backward import follow_backwards
from eventprop.solvers.base import AbstractSolver, NetworkState, Trajectory, resting_state
from eventprop.solvers.bounds import bound, per_population
from eventprop.solvers.course import Givens, Outcome, delays_and_charges, follow
from eventprop.solvers.dynamics import Dynamics
from eventprop.solvers.find import Stepping, done, find_events
from eventprop.solvers.happen import Given, Search, Trial
from eventprop.solvers.post import Post, post_of
from eventprop.spikes import Spikes, SpikeTrains


class Hybrid(AbstractSolver):
    """Any diffrax solver from event to event: any neuron, topology and delay.

    A step ends where an input arrives or a guard crosses zero. Crossings are looked for at the ends of each step, and
    inside where the tangents of a guard at both ends meet above zero; they are bisected on the step's interpolant, and
    the step is taken again to there. Guards within eps^(2/3) largest_step of their zero are events of the same moment;
    each spike time is then mended by a Newton step. (`diffrax.Event` looks at the ends of steps only.)

    What can be missed: a guard that rises above zero and falls again within one step, if it bends both ways there.
    `largest_step` bounds that; a quarter of the shortest time constant is on the safe side.

    max_spikes: most spikes per neuron and trial, one number or one per spiking population. max_events: most spikes per
        population, one number or one for each, or None for as many as its neurons could fire together. Lost spikes are
        counted, and by default an error.
    max_steps: most steps and events in a trial together; more are an error.
    largest_step: no step is longer, and the first one is tried with it.
    solver, stepsize_controller: of diffrax. Derivatives are those of the solver's own steps, and of every mode that
        `adjoint` has.
    """

    largest_step: Parameter = eqx.field(converter=numeric("largest_step"))
    max_spikes: int | tuple[int, ...] = eqx.field(static=True, converter=bound)
    max_steps: int = eqx.field(static=True, converter=bound, default=4096)
    max_events: int | tuple[int, ...] | None = eqx.field(static=True, converter=bound, default=None)
    solver: diffrax.AbstractSolver = diffrax.Tsit5()
    stepsize_controller: diffrax.AbstractStepSizeController = diffrax.PIDController(rtol=1e-6, atol=1e-6)

    def __check_init__(self):
        check_largest_step(self.largest_step)
        check_type("solver", self.solver, diffrax.AbstractSolver)
        check_type("stepsize_controller", self.stepsize_controller, diffrax.AbstractStepSizeController)
        for name in ("max_spikes", "max_steps", "max_events"):
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                if not (isinstance(one, int) and one >= 1) and not (name == "max_events" and value is None):
                    raise ValueError(f"{name} sets the size of arrays: it must be a whole number from 1, but is {one}.")

    def prepare(self, network: AbstractNetwork, t1: Any, adjoint: AbstractAdjoint) -> "Hybrid":
        """The same, with loops that can be differentiated in every mode. `t1` must be finite."""
        check_adjoint(self, adjoint)
        return prepared(self, network, t1)

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
        """Search for the events, then differentiate along them; see `simulate`."""
        spiking = [number for number, neuron in enumerate(network.neurons) if sends_spikes(neuron)]
        slots = per_population("max_spikes", self.max_spikes, spiking)
        most = per_population("max_events", self.max_events, spiking)
        rooms = [slots.get(number, 0) for number in range(len(network.neurons))]
        sends = [most.get(number) for number in range(len(network.neurons))]
        return run_hybrid(self, rooms, network, spikes, t1, adjoint, ts, state, keys, None, sends)


def check_adjoint(solver: AbstractSolver, adjoint: AbstractAdjoint) -> None:
    """Raise ValueError for adjoints that do not go through events."""
    if not isinstance(adjoint, Implicit | EventProp):
        raise ValueError(f"{type(solver).__name__} takes Implicit or EventProp as adjoint, but got {adjoint!r}.")


def prepared(solver: Any, network: AbstractNetwork, t1: Any) -> Any:
    """A solver with loops of diffrax that can be differentiated in every mode; `t1` must be finite."""
    t1 = as_float("t1", t1)
    if is_concrete(t1) and not np.all(np.isfinite(t1)):
        raise ValueError(f"t1 = {t1} must be finite: {type(solver).__name__} goes there in steps.")
    step = jnp.asarray(solver.largest_step, network.projections[0].connection.weight.dtype)
    solver = eqx.tree_at(lambda s: s.largest_step, solver, step)
    for number, neuron in enumerate(network.neurons):
        if isinstance(neuron, Diffusive):
            raise ValueError(f"{type(solver).__name__} has no noise, which layer {number} needs: take Grid.")
    integrator = _integrator(solver.solver, solver.stepsize_controller)
    return eqx.tree_at(lambda s: s.solver, solver, integrator)


def _integrator(solver: Any, controller: Any) -> Any:
    """A solver of diffrax ready for single steps, as `diffrax.diffeqsolve` makes it.

    Raises ValueError for those that split a field in several terms or remember the steps before, for root finders
    without tolerances, and for given times of steps.
    """
    name = type(solver).__name__
    if isinstance(controller, diffrax.StepTo):
        raise ValueError("StepTo fixes times, but steps end at events: take largest_step with ConstantStepSize.")
    if not isinstance(solver.term_structure, type) or isinstance(solver, diffrax.LeapfrogMidpoint):
        raise ValueError(
            f"{name} needs a field in several terms, or the steps before: take a Runge-Kutta method for one "
            "diffrax.ODETerm, such as Tsit5, Dopri8, Heun, Euler, or Kvaerno5 for stiff neurons."
        )
    if getattr(solver, "scan_kind", "bounded") is None:
        solver = eqx.tree_at(lambda s: s.scan_kind, solver, "bounded", is_leaf=lambda x: x is None)
    root = getattr(solver, "root_finder", None)
    missing = [x for x in ("rtol", "atol", "norm") if getattr(root, x, None) is _OF_THE_CONTROLLER]
    if not missing:
        return solver
    if not isinstance(controller, diffrax.AbstractAdaptiveStepSizeController):
        raise ValueError(
            f"{type(controller).__name__} has no tolerances for the root finder of {name}: give it its own, "
            f"{name}(root_finder=diffrax.VeryChord(rtol=1e-8, atol=1e-8))."
        )
    return eqx.tree_at(
        lambda s: [getattr(s.root_finder, x) for x in missing], solver, [getattr(controller, x) for x in missing]
    )


_OF_THE_CONTROLLER = diffrax.ImplicitEuler().root_finder.rtol
"""What diffrax' implicit solvers have in place of tolerances."""


def run_hybrid(
    solver: Any,
    slots: Sequence[int],
    network: AbstractNetwork,
    spikes: Spikes,
    t1: Array,
    adjoint: AbstractAdjoint,
    ts: Array | None,
    state: NetworkState | None,
    keys: tuple[PRNGKeyArray | None, ...],
    given: Given | None,
    max_events: Sequence[int | None] | None = None,
) -> Trajectory:
    """Search, and derivatives. slots: spikes per neuron of each population; `given`: prescribed spikes."""
    start = resting_state(network, t1.dtype) if state is None else state
    dynamics = Dynamics(network.neurons, keys, network.sizes)
    all_slots = [size * most for size, most in zip(network.sizes, slots, strict=True)]
    bounds = [None] * len(all_slots) if max_events is None else max_events
    room = [min(most or total, total) for most, total in zip(bounds, all_slots, strict=True)]
    post = post_of(network, spikes, start, t1, room)
    times = jnp.zeros(0, t1.dtype) if ts is None else jnp.where(ts > t1, t1, ts)
    order = jnp.argsort(lax.stop_gradient(times))
    trial = Trial(network, dynamics, post, start.neurons, times[order], t1, given)
    stepping = Stepping(solver.solver, solver.stepsize_controller, solver.largest_step, solver.max_steps)
    trial_, stepping_ = constant((trial, stepping))
    try:
        search = find_events(trial_, stepping_)
    except TypeError as error:
        if not jax.sharding.get_abstract_mesh().manual_axes:
            raise
        raise ValueError(
            f"{type(solver).__name__} needs jax.shard_map(..., check_vma=False): the loops of diffrax do not tell what "
            "varies over the devices."
        ) from error
    delay, charges = delays_and_charges(network, search.arrived, post.known, t1.dtype)
    givens = Givens(dynamics, start.neurons, post.times, delay, charges, times[order], t1)
    found = Outcome(search.times, search.y, search.saved)
    if isinstance(adjoint, EventProp):
        options = {"solver": solver.solver, "adjoint": adjoint}
        found = follow_backwards(givens, found, search.items, search.arrived, search.number, **options)
    else:
        found = follow(found, search.items, search.arrived, givens, solver=solver.solver, adjoint=adjoint)
    ys = None if ts is None else tuple(v[jnp.argsort(order)] for v in found.saved)
    trains, sent, lost = _trains(network, slots, post, search, found)
    flights = _in_flight(network, {None: spikes, **sent}, start, t1)
    result = RESULTS.where(done(search, trial_), RESULTS.successful, RESULTS.too_many_steps)
    largest = stepping_.largest_step
    result = RESULTS.where((largest > 0) & (largest < jnp.inf), result, RESULTS.invalid_time)
    if given is not None:
        result = RESULTS.where(jnp.all(given.times >= 0), result, RESULTS.invalid_trains)
    return Trajectory(trains, ys, NetworkState(found.y, flights), lost, result)


def rank_in_group(group: Int[Array, " elements"]) -> Int[Array, " elements"]:
    """How many elements before each one belong to its group."""
    order = jnp.argsort(group, stable=True)
    first = jnp.searchsorted(group[order], group[order], side="left")
    return jnp.zeros_like(order).at[order].set(jnp.arange(group.shape[0]) - first)


def _trains(network: AbstractNetwork, slots: Sequence[int], post: Post, search: Search, found: Outcome) -> Any:
    """Spike trains, what each population sends, and what has been lost."""
    lost = jnp.zeros((len(network.neurons), 3), jnp.int32)
    trains, sent = [], {}
    for number, (size, most) in enumerate(zip(network.sizes, slots, strict=True)):
        if not most:
            trains.append(None)
            continue
        times, neuron = post.of_population(found.times, number), post.of_population(search.sender, number)
        fired = times < jnp.inf
        slot = jnp.where(fired, rank_in_group(jnp.where(fired, neuron, size)), most)
        train = jnp.full((size, most), jnp.inf, times.dtype)
        trains.append(SpikeTrains(train.at[neuron, slot].set(times, mode="drop")))
        sent[number] = Spikes(times, neuron)
        lost = lost.at[number, 0].set(jnp.sum(fired & (slot >= most), dtype=jnp.int32))
        lost = lost.at[number, 1].set(jnp.maximum(search.sent[number] - post.room[number], 0))
    return tuple(trains), sent, lost


def _in_flight(network: AbstractNetwork, sent: dict[int | None, Spikes], start: NetworkState, t1: Array) -> Any:
    """What has been sent and has not arrived."""
    flights: list[InFlight | None] = []
    for p, flight in zip(network.projections, start.in_flight, strict=True):
        left = None
        if p.connection.delay is not None:
            arriving = arrivals(p.connection, sent[p.source], flight, t1)
            left, _ = still_in_flight(arriving, t1, arriving.times.shape[0])
        flights.append(left)
    return tuple(flights)
