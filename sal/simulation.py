"""Simulating networks of stochastic neurons, step by step."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Int, PRNGKeyArray, PyTree

from sal._mesh import after, agreed, vary_alike
from sal._numbers import as_arrays, as_float, as_static, form
from sal.kernels import Time
from sal.network import AbstractNetwork
from sal.results import RESULTS
from sal.spikes import Raster
from sal.state import Clamp, Snapshot, State, count_steps


class Solution(eqx.Module):
    """What `simulate` returns."""

    spikes: Raster
    state: State
    observed: PyTree
    """What `observe` returned at each step."""
    saturated: Int[Array, ""]
    """How many times a rate exceeded 1 / dt."""
    result: RESULTS

    def signals(self, network: AbstractNetwork) -> dict[str, Any]:
        """`pre` and `post` for learning rules: `network.signals(self.spikes)`."""
        return network.signals(self.spikes)


def simulate(
    network: AbstractNetwork,
    t1: Time | int,
    *,
    dt: Time | int,
    key: PRNGKeyArray,
    state: State | None = None,
    drive: ArrayLike | Sequence | None = None,
    clamp: Clamp | None = None,
    observe: Callable[[Snapshot], Any] | None = None,
    throw: bool = True,
) -> Solution:
    """Simulates a network for the time `t1` in steps of `dt`.

    - `network`: any `AbstractNetwork`.
    - `t1`, `dt`: decide the number of steps, and so are plain numbers. A new one compiles a new program; other numbers
        in `network`, `drive` and `clamp` do not, nor does a second call. (`observe` should be the same function, too.)
    - `state`: of an earlier solution; with the same key the run then goes on as if it had not been cut.
    - `drive`: is added to the membrane potentials, constant, [neurons], or step by step, [time, neurons].
    - `observe`: what to record of every step beside the spikes, stacked in `Solution.observed`.

    Use `jax.vmap` over keys for replicas of a network, and over networks for many different ones.

    Raises `ValueError` if `tau_ref` or `t1` is no multiple of `dt`, if `drive`, `clamp` or `state` are those of another
    number of neurons, if `state` is that of another kind of network or counts in steps of another dt (an error at
    run time where only that tells); a runtime error, or with `throw=False` a result, if a rate
    saturates or a potential is not finite.
    """
    t1, dt = as_static("t1", t1), as_static("dt", dt)
    steps = count_steps("t1", t1, dt)
    count_steps("tau_ref", network.tau_ref, dt)
    begin = network.init(dt) if state is None else state
    driven = None if drive is None else as_float("drive", drive)
    _check_shapes(network, steps, dt, begin, driven, clamp)
    age, clock = begin.clock.checked(begin.age, dt)
    begin = State(age, begin.trace, begin.step, clock)
    network, begin, clamp = as_arrays((network, begin, clamp))
    return _simulate(network, begin, driven, clamp, key, steps, dt, observe, throw)


def _check_shapes(
    network: AbstractNetwork, steps: int, dt: float, state: State, drive: Any, clamp: Clamp | None
) -> None:
    shape = (network.neurons,)
    if drive is not None and np.shape(drive) not in (shape, (steps, *shape)):
        raise ValueError(f"drive must have the shape {shape} or {(steps, *shape)}, got {np.shape(drive)}")
    if clamp is not None and clamp.neurons.shape != shape:
        raise ValueError(
            f"clamp must have one entry per neuron, the shape {shape}, got {clamp.neurons.shape}; use jax.vmap over "
            "clamp for a batch of patterns"
        )
    if np.shape(state.age) != shape:
        raise ValueError(f"state must be one of {shape[0]} neurons, got one of the shape {np.shape(state.age)}")
    wanted, found = form(jax.eval_shape(lambda: network.init(dt)).trace), form(state.trace)
    if wanted != found:
        raise ValueError(
            f"state must be one of a {type(network).__name__} like this one, with tau_ref = {network.tau_ref}, which "
            f"remembers arrays of {wanted} (shapes, and whether of integers or floats), got {found}; start from a new "
            "state"
        )


@eqx.filter_jit
def _simulate(
    network: AbstractNetwork,
    state: State,
    drive: Array | None,
    clamp: Clamp | None,
    key: PRNGKeyArray,
    steps: int,
    dt: float,
    observe: Callable[[Snapshot], Any] | None,
    throw: bool,
) -> Solution:
    begin, ready = state, network.prepared()
    constant = 0.0 if drive is None else drive
    varying = drive if drive is not None and np.ndim(drive) == 2 else None

    def step(carry, drive):
        state, saturated, finite = carry
        now = constant if drive is None else drive
        state, moment = ready.step(state, now, clamp, dt, jax.random.fold_in(key, state.step))
        if moment.saturated is not None:
            saturated += jnp.sum(moment.saturated, dtype=jnp.int32)
        finite &= jnp.all(jnp.isfinite(moment.potential))
        observed = None if observe is None else observe(moment)
        return (state, saturated, finite), (moment.spikes.astype(moment.potential.dtype), observed)

    carry = vary_alike((state, jnp.int32(0), jnp.array(True)), network, drive, clamp, key)
    (state, saturated, finite), (spikes, observed) = lax.scan(step, carry, varying, length=steps)
    result = RESULTS.where(saturated > 0, RESULTS.rate_saturated, RESULTS.successful)
    result = RESULTS.where(finite, result, RESULTS.non_finite)
    # A network that is no number any more has not moved. (Saturated rates are counted, and go on.)
    state = jax.tree.map(lambda new, old: jnp.where(finite, new, old), state, begin)
    if throw:
        result_anywhere = agreed(result)
        token = result_anywhere.error_if(jnp.zeros((), jnp.int32), result_anywhere != RESULTS.successful)
        spikes = after(spikes, token)
    return Solution(Raster(spikes, dt), state, observed, saturated, result)
