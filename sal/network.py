"""Networks of stochastic neurons, and their simulation (Gierlich et al., section 4.1)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray, PyTree

from sal._mesh import after, agreed, vary_alike
from sal._numbers import Clock, as_arrays, as_float, as_static, form
from sal.connectivity import AbstractConnectivity, AbstractSynapses
from sal.escape import AbstractEscape, LogisticEscape
from sal.kernels import NEVER, AbstractTrace, Rectangular, Time
from sal.order import AbstractOrder, Sweep
from sal.results import RESULTS
from sal.spikes import Raster


class Network(eqx.Module):
    """Generalised linear neurons with an absolute refractory period.

        u_i(t) = b_i + sum_j W_ij sum_k kappa(t - t_j^k)                                              (Eq. 8)

    A neuron whose last spike is at least `tau_ref` ago fires with the probability that `escape` gives for u. The PSP is
    `trace` (default: rectangular, as long as the refractory period). With the defaults and symmetric weights a network
    samples from a Boltzmann distribution, see `sal.boltzmann`.

    `tau_ref` decides numbers of steps, and so is static; all else may be traced, and `jax.vmap` builds and runs many
    networks side by side.
    """

    connectivity: AbstractConnectivity
    bias: Float[Array, " neurons"]
    tau_ref: float = eqx.field(static=True)
    trace: AbstractTrace
    escape: AbstractEscape
    order: AbstractOrder

    def __init__(
        self,
        connectivity: AbstractConnectivity,
        bias: ArrayLike | Sequence,
        tau_ref: Time | int,
        *,
        trace: AbstractTrace | None = None,
        escape: AbstractEscape = LogisticEscape(),
        order: AbstractOrder = Sweep(),
    ):
        tau_ref, bias = as_static("Network: tau_ref", tau_ref), as_float("Network: bias", bias)
        if not tau_ref > 0:
            raise ValueError(f"Network: tau_ref must be positive, got {tau_ref}")
        if np.shape(bias) != (connectivity.neurons,):
            raise ValueError(f"Network: bias must have the shape ({connectivity.neurons},), got {np.shape(bias)}")
        self.connectivity, self.bias, self.tau_ref = connectivity, bias, tau_ref
        self.trace = Rectangular(tau_ref) if trace is None else trace
        self.escape, self.order = escape, order

    def init(self, dt: float | None = None) -> "State":
        """The state of a network that has never spiked.

        With `dt` it is one for steps of `dt`, known while a program is traced. Else the first simulation decides, and
        whether the following ones have the same dt can be seen only when they run.
        """
        shape = (self.connectivity.neurons,)
        trace = self.trace.init(shape, self.tau_ref)
        return State(jnp.full(shape, NEVER, jnp.int32), trace, jnp.int32(0), Clock.new(dt))

    def signals(self, spikes: Raster) -> dict[str, "Network"]:
        """`pre` and `post` for learning rules: `rule.update(updates, state, params, **network.signals(spikes))`.

        Both have the structure of the network's arrays (`equinox.filter(network, equinox.is_inexact_array)`): at each
        weight [post, pre] the spikes of its sources, or of its neurons, and None elsewhere. `spikes` are those of this
        network, with any replicas.
        """
        nothing = jax.tree.map(lambda _: None, eqx.filter(self, eqx.is_inexact_array))
        pairs = self.connectivity.signals(spikes)
        return {
            name: eqx.tree_at(lambda n: n.connectivity, nothing, pair)
            for name, pair in zip(("pre", "post"), pairs, strict=True)
        }


class State(eqx.Module):
    """What a network carries from step to step."""

    age: Int[Array, " neurons"]
    """Steps since the last spike."""
    trace: PyTree
    step: Int[Array, ""]
    """How many steps lie behind; with the key it names the random numbers of the next one."""
    clock: Clock
    """The time step in which the state counts."""


class Clamp(eqx.Module):
    """Neurons held in a state: where `neurons` is True they are refractory (z = 1) or silent (z = 0) as `z` says.

    A neuron held at 1 fires after every refractory period. Use `jax.vmap` for a batch of patterns.

    Raises `ValueError` for `neurons` that are no bools (numbers of neurons, say), for a `z` that is known to be
    neither 0 nor 1, and for shapes that differ.
    """

    neurons: Bool[Array, "*patterns neurons"] = eqx.field(converter=jnp.asarray)
    z: Bool[Array, "*patterns neurons"] = eqx.field(converter=lambda z: _as_states(z))

    def __check_init__(self):
        if self.neurons.dtype != bool:
            raise ValueError(
                f"Clamp: neurons must be bools, one per neuron, got {self.neurons.dtype}; for the neurons with the "
                "numbers `held` use jnp.zeros(n, bool).at[held].set(True)"
            )
        if self.neurons.shape != self.z.shape:
            raise ValueError(
                f"Clamp: neurons and z must have the same shape, got {self.neurons.shape} and {self.z.shape}"
            )


def _as_states(z: Any) -> Bool[Array, "*patterns neurons"]:
    if not isinstance(z, Tracer) and not np.all(np.isin(z, (0, 1))):
        raise ValueError(f"Clamp: z must be 0 or 1, the states in which neurons are held, got {z}")
    return jnp.asarray(z).astype(bool)


class Snapshot(eqx.Module):
    """One step of a network, as `observe` sees it."""

    spikes: Bool[Array, " neurons"]
    z: Bool[Array, " neurons"]
    """True while refractory: from the step of a spike on, for tau_ref."""
    potential: Float[Array, " neurons"]
    """u, as it was when the neuron was updated."""


class Solution(eqx.Module):
    """What `simulate` returns."""

    spikes: Raster
    state: State
    observed: PyTree
    """What `observe` returned at each step."""
    saturated: Int[Array, ""]
    """How many times a rate exceeded 1 / dt."""
    result: RESULTS

    def signals(self, network: Network) -> dict[str, Network]:
        """`pre` and `post` for learning rules: `network.signals(self.spikes)`."""
        return network.signals(self.spikes)


def simulate(
    network: Network,
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

    - `t1`, `dt`: decide the number of steps, and so are plain numbers. A new one compiles a new program; other numbers
        in `network`, `drive` and `clamp` do not, nor does a second call. (`observe` should be the same function, too.)
    - `state`: of an earlier solution; with the same key the run then goes on as if it had not been cut.
    - `drive`: is added to the membrane potentials, constant, [neurons], or step by step, [time, neurons].
    - `observe`: what to record of every step beside the spikes, stacked in `Solution.observed`.

    Use `jax.vmap` over keys for replicas of a network, and over networks for many different ones.

    Raises `ValueError` if `tau_ref` or `t1` is no multiple of `dt`, if `drive`, `clamp` or `state` are those of another
    number of neurons, if `state` is that of another kind of trace or counts in steps of another dt (an error at
    run time where only that tells); a runtime error, or with `throw=False` a result, if a rate
    saturates or a potential is not finite.
    """
    t1, dt = as_static("t1", t1), as_static("dt", dt)
    steps, refractory = count_steps("t1", t1, dt), count_steps("tau_ref", network.tau_ref, dt)
    begin = network.init(dt) if state is None else state
    driven = None if drive is None else as_float("drive", drive)
    _check_shapes(network, steps, begin, driven, clamp)
    age, clock = begin.clock.checked(begin.age, dt)
    begin = State(age, begin.trace, begin.step, clock)
    network, begin, clamp = as_arrays((network, begin, clamp))
    return _simulate(network, begin, driven, clamp, key, steps, refractory, dt, observe, throw)


def _check_shapes(network: Network, steps: int, state: State, drive: Any, clamp: Clamp | None) -> None:
    shape = (network.connectivity.neurons,)
    if drive is not None and np.shape(drive) not in (shape, (steps, *shape)):
        raise ValueError(f"drive must have the shape {shape} or {(steps, *shape)}, got {np.shape(drive)}")
    if clamp is not None and clamp.neurons.shape != shape:
        raise ValueError(
            f"clamp must have one entry per neuron, the shape {shape}, got {clamp.neurons.shape}; use jax.vmap over "
            "clamp for a batch of patterns"
        )
    if np.shape(state.age) != shape:
        raise ValueError(f"state must be one of {shape[0]} neurons, got one of the shape {np.shape(state.age)}")
    wanted, found = form(jax.eval_shape(network.init).trace), form(state.trace)
    if wanted != found:
        raise ValueError(
            f"state must be one of a network with the trace {network.trace!r} and tau_ref = {network.tau_ref}, which "
            f"remembers arrays of {wanted} (shapes, and whether of integers or floats), got {found}; start from a new "
            "state"
        )


@eqx.filter_jit
def _simulate(
    network: Network,
    state: State,
    drive: Array | None,
    clamp: Clamp | None,
    key: PRNGKeyArray,
    steps: int,
    refractory: int,
    dt: float,
    observe: Callable[[Snapshot], Any] | None,
    throw: bool,
) -> Solution:
    begin = state
    bias = network.bias if drive is None or np.ndim(drive) == 2 else network.bias + drive
    varying = drive if drive is not None and np.ndim(drive) == 2 else None

    synapses = network.connectivity.synapses()

    def step(carry, drive):
        state, saturated, finite = carry
        now = bias if drive is None else bias + drive
        state, moment, too_fast = _step(network, synapses, state, now, clamp, refractory, dt, key)
        saturated += too_fast
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


def _step(
    network: Network,
    synapses: AbstractSynapses,
    state: State,
    bias: Array,
    clamp: Clamp | None,
    refractory: int,
    dt: float,
    key: Any,
):
    noise = jax.random.uniform(jax.random.fold_in(key, state.step), bias.shape, bias.dtype)
    ready = state.age >= refractory - 1
    elapsed = network.order.elapsed(dt)

    def read(trace):
        return network.trace.read(trace, elapsed, dt).astype(bias.dtype)

    # A neuron's new trace depends on nothing but whether it fires, so both are known before anybody does.
    silent, spiked = (read(network.trace.update(state.trace, jnp.full_like(bias, x), dt)) for x in (0, 1))

    def fire(start, drive):
        ready_, noise_, bias_, clamp_, silent_, spiked_ = jax.tree.map(
            lambda x: lax.dynamic_slice_in_dim(x, start, drive.shape[0]), (ready, noise, bias, clamp, silent, spiked)
        )
        chance = network.escape.probability(bias_ + drive, network.tau_ref, dt)
        if clamp_ is not None:
            chance = jnp.where(clamp_.neurons, clamp_.z.astype(chance.dtype), chance)
        spikes = ready_ & (noise_ < chance)
        return jnp.where(spikes, spiked_, silent_), spikes

    drives, spikes = network.order.update(synapses, fire, read(state.trace))
    age = jnp.where(spikes, 0, jnp.minimum(state.age + 1, NEVER))
    trace = network.trace.update(state.trace, spikes.astype(bias.dtype), dt)
    saturated = ready & (network.escape.probability(bias + drives, network.tau_ref, dt) > 1)
    moment = Snapshot(spikes, age < refractory, bias + drives)
    return State(age, trace, state.step + 1, state.clock), moment, jnp.sum(saturated, dtype=jnp.int32)


def count_steps(name: str, time: Time | int, dt: Time | int) -> int:
    """How many steps `time` is."""
    time, dt = as_static(name, time), as_static("dt", dt)
    if not dt > 0:
        raise ValueError(f"dt must be positive, got {dt}")
    steps = round(time / dt)
    if steps < 1 or not math.isclose(steps * dt, time, rel_tol=1e-6):
        raise ValueError(f"{name} must be a positive multiple of dt = {dt}, got {time}; change one of them")
    return steps
