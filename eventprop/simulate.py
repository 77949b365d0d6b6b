"""One call that runs a network through a trial."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from eventprop.adjoint import Implicit
from eventprop.network import FeedForward
from eventprop.results import RESULTS
from eventprop.solvers.base import AbstractSolver, Trajectory
from eventprop.spikes import Spikes, SpikeTrains


class Solution(eqx.Module):
    """What `simulate` returns.

    - `spikes`: the spike trains of each layer (None for layers that do not spike);
    - `ys`: membrane potentials of each layer [len(saveat.ts), neurons], if `saveat` asked for them;
    - `state`: the state of each layer at `t1`, from which another trial can go on;
    - `stats`: "spikes_lost", the number of spikes that found no place in the solver's bounds;
    - `result`: `RESULTS.successful`, or why not.
    """

    spikes: tuple[SpikeTrains | None, ...]
    ys: tuple[Float[Array, "times _"], ...] | None
    state: tuple[Any, ...]
    stats: dict[str, Int[Array, ""]]
    result: RESULTS


@eqx.filter_jit
def simulate(
    network: FeedForward,
    spikes: Spikes,
    t1: Float[Array, ""] | float,
    *,
    solver: AbstractSolver,
    adjoint: Implicit = Implicit(),
    saveat: diffrax.SaveAt | None = None,
    state: tuple[Any, ...] | None = None,
    throw: bool = True,
) -> Solution:
    """Run one trial of a spiking network from time 0 to `t1`. Use `jax.vmap` for a batch of trials.

    - `spikes`: the input events. Events at `t1` or later have no effect.
    - `t1`: end of the trial; `jnp.inf` lets every potential decay.
    - `solver`: `Exact(...)`.
    - `adjoint`: how gradients pass through spikes.
    - `saveat`: `diffrax.SaveAt(ts=...)` for membrane potentials at these times (just after a spike at that time).
    - `state`: states to start from, one per layer as in `Solution.state`; by default all neurons rest.
    - `throw`: raise if spikes were lost, an input is not a sorted list of times or a number is not finite. With False
      the caller has to look at `Solution.result`; spikes that were lost are missing downstream.

    Everything is differentiable with respect to the network's arrays, the input times and the initial state.
    """
    dtype = network.layers[0][0].weight.dtype
    spikes = Spikes(spikes.times.astype(dtype), spikes.index)
    t1 = jnp.asarray(t1, dtype)
    _check_saveat(saveat)
    ts = None if saveat is None else jnp.asarray(saveat.subs.ts, dtype)
    state = _initial_state(network, state, dtype)
    found = solver.run(network, spikes, t1, adjoint=adjoint, ts=ts, state=state)
    result = _judge(network, spikes, state, found)
    solution = Solution(found.spikes, found.ys, found.state, {"spikes_lost": found.lost}, result)
    return result.error_if(solution, result != RESULTS.successful) if throw else solution


def _check_saveat(saveat: diffrax.SaveAt | None) -> None:
    if saveat is None:
        return
    subs = saveat.subs
    only_ts = isinstance(subs, diffrax.SubSaveAt) and subs.ts is not None and not (subs.t0 or subs.t1 or subs.steps)
    if saveat.dense or not only_ts:
        raise ValueError(
            "saveat must be diffrax.SaveAt(ts=...): a closed form has no steps, and `state` holds the end."
        )


def _initial_state(network: FeedForward, state: tuple[Any, ...] | None, dtype: Any) -> tuple[Any, ...]:
    resting = tuple(neuron.init(connection.neurons, dtype) for connection, neuron in network.layers)
    if state is None:
        return resting
    if jax.tree.structure(state) != jax.tree.structure(resting):
        raise ValueError(f"state must be a tuple of one neuron state per layer, like {resting}, but is {state}.")
    for given, rest in zip(jax.tree.leaves(state), jax.tree.leaves(resting), strict=True):
        if np.shape(given) != np.shape(rest):
            raise ValueError(f"state has an array of shape {np.shape(given)} where the network needs {np.shape(rest)}.")
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), state)


def _judge(network: FeedForward, spikes: Spikes, state: tuple[Any, ...], found: Trajectory) -> RESULTS:
    """What became of a trial; what was wrong with its input comes first. (NaN fails every comparison below.)"""
    times, sources = spikes.times, network.layers[0][0].sources
    previous = jnp.concatenate([jnp.zeros_like(times[:1]), times[:-1]])
    valid = [neuron.valid(y) for (_, neuron), y in zip(network.layers, state, strict=True)]
    conditions = [
        (found.lost == 0, RESULTS.spikes_lost),
        (_is_finite(network, found.state), RESULTS.non_finite),
        (jnp.all(jnp.stack(valid)), RESULTS.invalid_parameters),
        (jnp.all((spikes.index >= 0) & (spikes.index < sources)), RESULTS.unknown_source),
        (jnp.all(times >= previous), RESULTS.unsorted_times),
    ]
    result = RESULTS.successful
    for well, problem in conditions:
        result = RESULTS.where(well, result, problem)
    return result


def _is_finite(network: FeedForward, state: tuple[Any, ...]) -> Array:
    """Whether weights and final potentials are finite. (Infinite refractory periods are fine.)"""
    arrays = [connection.weight for connection, _ in network.layers]
    arrays += [x for y in state for x in (y.v, y.i)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in arrays]))
