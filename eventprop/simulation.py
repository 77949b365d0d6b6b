"""One call that runs a network through a trial."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from eventprop.adjoint import AbstractAdjoint, Implicit
from eventprop.failures import raise_unless_successful
from eventprop.network import AbstractNetwork, network_as_arrays
from eventprop.neurons.base import Stochastic
from eventprop.parameters import AnyScalar, as_arrays, as_float, check_not_negative, check_type
from eventprop.results import RESULTS
from eventprop.solvers.base import AbstractSolver, NetworkState, Trajectory, resting_state, state_as_arrays
from eventprop.spikes import Spikes, SpikeTrains


class Solution(eqx.Module):
    """What `simulate` returns.

    - `spikes`: the spike trains of each population, a layer or whatever else (None for those that do not spike);
    - `ys`: membrane potentials of each population [len(saveat.ts), neurons], if `saveat` asked for them;
    - `state`: the state of each population at `t1`, and what is in flight then, from which another trial can go on;
    - `stats`: "spikes_lost", the number of spikes that found no place in the solver's bounds;
    - `result`: `RESULTS.successful`, or why not;
    - `raster`: of solvers with steps of one length (`Grid`), the spikes of each population in each step
      [steps, neurons], 0 or 1, which carry surrogate gradients.
    """

    spikes: tuple[SpikeTrains | None, ...]
    ys: tuple[Float[Array, "times _"], ...] | None
    state: NetworkState
    stats: dict[str, Int[Array, ""]]
    result: RESULTS
    raster: tuple[Float[Array, "steps _"] | None, ...] | None = None


def simulate(
    network: AbstractNetwork,
    spikes: Spikes,
    t1: AnyScalar,
    *,
    solver: AbstractSolver,
    adjoint: AbstractAdjoint = Implicit(),
    saveat: diffrax.SaveAt | None = None,
    state: NetworkState | None = None,
    key: PRNGKeyArray | None = None,
    throw: bool = True,
) -> Solution:
    """Run one trial of a spiking network from time 0 to `t1`. Use `jax.vmap` for a batch of trials.

    - `spikes`: the input events. Events at `t1` or later have no effect.
    - `t1`: end of the trial; `jnp.inf` lets every potential decay.
    - `solver`: `Exact(...)`; `Hybrid(...)` or `Grid(dt, ...)` for any neuron; `Replay(...)` of given spikes.
    - `adjoint`: how gradients pass through spikes, `Implicit()` (with any solver), `EventProp()` (with `Hybrid` and
      `Replay`) or `Surrogate(...)` (with `Grid`).
    - `saveat`: `diffrax.SaveAt(ts=...)` for membrane potentials at these times (just after a spike at that time).
    - `state`: where to start, as in `Solution.state`; by default all neurons rest, below their thresholds, and nothing
      is in flight. A neuron at its threshold, or above, fires at 0, before any input then, and is reset as from the
      threshold; within its refractory period it must be below.
    - `key`: for neurons that draw at random; another one for every trial.
    - `throw`: raise if spikes were lost, an input is not a sorted list of times or a number is not finite. With False
      the caller has to look at `Solution.result`; spikes that were lost are missing downstream.

    A trial is the window [0, t1). A spike at `t1` is none of its spikes: it is in the state, whose potential is at the
    threshold, and fires at 0 of the trial that goes on from there. So a trial can be cut into windows at any moments,
    each with the input times counted from its own beginning.

    Everything is differentiable with respect to the network's arrays, the input times and the initial state. The call
    compiles itself, once for each set of shapes: numbers, Python's own among them, are arguments of the program. All
    is computed in the precision of the weights. Raises ValueError for shapes and types that do not fit.
    """
    _check_types(network, spikes, solver, adjoint)
    weights = [as_float(f"weight of layer {p.target}", p.connection.weight) for p in network.projections]
    dtype = jnp.result_type(*weights)
    network = network_as_arrays(network, dtype)
    _check_shapes(network, spikes, t1)
    spikes = Spikes(as_arrays("spikes", spikes.times, dtype), spikes.index)
    check_not_negative("t1", t1, "a trial goes from 0 to t1")
    solver, keys = solver.prepare(network, t1, adjoint), _keys(network, key)
    t1 = jnp.asarray(as_float("t1", t1), dtype)
    ts = _times_to_save(saveat, dtype)
    state = _initial_state(network, state, dtype)
    # The policy at tangential crossings has no part in what is differentiated.
    adjoint = jax.tree.map(jax.lax.stop_gradient, as_arrays("adjoint", adjoint, dtype))
    return _simulate(network, spikes, t1, ts, state, keys, solver=solver, adjoint=adjoint, throw=bool(throw))


@eqx.filter_jit
def _simulate(network, spikes, t1, ts, state, keys, *, solver, adjoint, throw) -> Solution:
    if any(key is not None for key in keys):
        state = _begin(network, resting_state(network, spikes.times.dtype) if state is None else state, keys)
    found = solver.run(network, spikes, t1, adjoint=adjoint, ts=ts, state=state, keys=keys)
    result = _judge(network, spikes, t1, ts, state, found)
    lost = jnp.sum(found.lost, dtype=jnp.int32)
    solution = Solution(found.spikes, found.ys, found.state, {"spikes_lost": lost}, result, found.raster)
    return raise_unless_successful(solution, result, found.lost) if throw else solution


def _check_types(network: AbstractNetwork, spikes: Spikes, solver: AbstractSolver, adjoint: AbstractAdjoint) -> None:
    check_type("network", network, AbstractNetwork)
    check_type("spikes", spikes, Spikes, "Spikes.from_events(times, sources) makes them")
    check_type("solver", solver, AbstractSolver)
    check_type("adjoint", adjoint, AbstractAdjoint)
    for p in network.projections:
        if not isinstance(p.connection.weight, jax.Array | np.ndarray):
            raise ValueError(
                f"the weight of layer {p.target} is {p.connection.weight!r}: combine the parts of a network that was "
                "partitioned (equinox.combine) before it is simulated."
            )


def _keys(network: AbstractNetwork, key: PRNGKeyArray | None) -> tuple[PRNGKeyArray | None, ...]:
    """One key for each population."""
    if key is not None:
        return tuple(jax.random.fold_in(key, number) for number in range(len(network.neurons)))
    for number, neuron in enumerate(network.neurons):
        if isinstance(neuron, Stochastic):
            raise ValueError(f"key is missing: the neurons of layer {number}, {type(neuron).__name__}, draw at random.")
    return (None,) * len(network.neurons)


def _begin(network: AbstractNetwork, state: NetworkState, keys: tuple[PRNGKeyArray | None, ...]) -> NetworkState:
    """What neurons draw before a trial."""
    neurons = tuple(
        neuron.begin(y, key) if isinstance(neuron, Stochastic) and key is not None else y
        for neuron, y, key in zip(network.neurons, state.neurons, keys, strict=True)
    )
    return NetworkState(neurons, state.in_flight)


def _check_shapes(network: AbstractNetwork, spikes: Spikes, t1: Any) -> None:
    if spikes.times.ndim != 1:
        raise ValueError(
            f"spikes must be those of one trial, [events], but have the shape {spikes.times.shape}: "
            "jax.vmap(lambda spikes: simulate(network, spikes, ...))(spikes) runs a batch."
        )
    if jnp.ndim(t1) != 0:
        raise ValueError(f"t1 must be one number, but has the shape {jnp.shape(t1)}; use jax.vmap for several.")
    for p in network.projections:
        p.connection.check_shapes(f"layer {p.target}")
    for number, (neuron, size) in enumerate(zip(network.neurons, network.sizes, strict=True)):
        for path, parameter in jax.tree_util.tree_leaves_with_path(neuron):
            if jnp.ndim(parameter) > 1 or jnp.shape(parameter) not in ((), (size,)):
                raise ValueError(
                    f"layer {number} has {size} neurons, but its {type(neuron).__name__}"
                    f"{jax.tree_util.keystr(path)} has the shape {jnp.shape(parameter)}: give one number or one per "
                    "neuron, and use jax.vmap for a batch of networks."
                )


def _times_to_save(saveat: diffrax.SaveAt | None, dtype: Any) -> Float[Array, " times"] | None:
    if saveat is None:
        return None
    check_type("saveat", saveat, diffrax.SaveAt, "diffrax.SaveAt(ts=times)")
    subs = saveat.subs
    only_ts = isinstance(subs, diffrax.SubSaveAt) and subs.ts is not None and not (subs.t0 or subs.t1 or subs.steps)
    if saveat.dense or not only_ts:
        raise ValueError(
            "saveat must be diffrax.SaveAt(ts=...): a closed form has no steps, and `state` holds the end."
        )
    ts = jnp.asarray(as_float("saveat.ts", subs.ts), dtype)
    if ts.ndim != 1:
        raise ValueError(f"saveat.ts must be a vector of times, but has the shape {ts.shape}.")
    check_not_negative("saveat.ts", ts, "a trial begins at 0")
    return ts


def _initial_state(network: AbstractNetwork, state: NetworkState | None, dtype: Any) -> NetworkState | None:
    if state is None:
        return None
    resting = resting_state(network, dtype)
    if isinstance(state, NetworkState) and state.in_flight == ():
        state = NetworkState(state.neurons, resting.in_flight)
    if jax.tree.structure(state) != jax.tree.structure(resting):
        raise ValueError(f"state must be a NetworkState like that of this network at rest, {resting}, but is {state}.")
    for given, rest in zip(jax.tree.leaves(state.neurons), jax.tree.leaves(resting.neurons), strict=True):
        if np.shape(given) != np.shape(rest):
            raise ValueError(f"state has an array of shape {np.shape(given)} where the network needs {np.shape(rest)}.")
    for given, rest in zip(state.in_flight, resting.in_flight, strict=True):
        if given is not None and rest is not None and np.shape(given.times)[1:] != np.shape(rest.times)[1:]:
            raise ValueError(
                f"what is in flight has times of the shape {np.shape(given.times)}, but must have "
                f"{np.shape(rest.times)[1]} column(s)."
            )
    return state_as_arrays(state, dtype)


def _judge(
    network: AbstractNetwork, spikes: Spikes, t1: Array, ts: Array | None, state: NetworkState | None, found: Trajectory
) -> RESULTS:
    """What became of a trial; what was wrong with its input comes first. (NaN fails every comparison below.)"""
    times = spikes.times
    previous = jnp.concatenate([jnp.zeros_like(times[:1]), times[:-1]])
    start = resting_state(network, times.dtype) if state is None else state
    valid = [neuron.valid(y) for neuron, y in zip(network.neurons, start.neurons, strict=True)]
    if state is None:  # at rest nobody is about to fire
        valid += [
            jnp.all(event.guard(0.0, y, None) < 0)
            for neuron, y in zip(network.neurons, start.neurons, strict=True)
            for event in neuron.events
            if event.emits
        ]
    weights = [jnp.all(jnp.isfinite(p.connection.weight)) for p in network.projections]
    ends = [neuron.valid(y) for neuron, y in zip(network.neurons, found.state.neurons, strict=True)]
    delays = [jnp.asarray(p.connection.delay) for p in network.projections if p.connection.delay is not None]
    flying = [flight.times for flight in start.in_flight if flight is not None]
    conditions = [
        (jnp.all(found.lost == 0), RESULTS.spikes_lost),
        (jnp.all(jnp.stack([*weights, *ends])), RESULTS.non_finite),
        (jnp.all(jnp.stack(valid)), RESULTS.invalid_parameters),
        (jnp.all(jnp.stack([jnp.all(delay >= 0) for delay in delays] or [True])), RESULTS.negative_delay),
        (jnp.all((spikes.index >= 0) & (spikes.index < network.inputs)), RESULTS.unknown_source),
        (jnp.all(times >= previous), RESULTS.unsorted_times),
        (jnp.all(jnp.stack([jnp.all(times >= 0) for times in flying] or [True])), RESULTS.unsorted_times),
        ((t1 >= 0) & (True if ts is None else jnp.all(ts >= 0)), RESULTS.invalid_time),
    ]
    result = found.result
    for well, problem in conditions:
        result = RESULTS.where(well, result, problem)
    return result
