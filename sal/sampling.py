"""Spiking sampling networks: what their spikes say about the distribution they sample from (section 4.3)."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from sal._mesh import vary_alike
from sal._numbers import as_arrays, as_count, as_static
from sal.boltzmann import LARGEST, Moments, state_index
from sal.kernels import Triangular
from sal.network import AbstractNetwork
from sal.pairing import LastPairs, Shared
from sal.results import RESULTS
from sal.simulation import Solution, simulate
from sal.spikes import Raster
from sal.state import Clamp, Snapshot, State
from sal.stdp import STDP


def refractory_states(snapshot: Snapshot) -> Bool[Array, " neurons"]:
    """z, for `simulate(observe=...)`: a neuron is in the state 1 while it is refractory."""
    return snapshot.z


def state_moments(z: Bool[Array, "time neurons"]) -> Moments:
    """Correlations and activities of a sequence of states (for Eqs. 32, 33)."""
    z = jnp.asarray(z).astype(jnp.result_type(float))
    if z.ndim != 2 or z.shape[0] == 0:
        raise ValueError(f"state_moments: z must have the shape [time, neurons], of some time, got {z.shape}")
    correlations = z.T @ z / z.shape[0]
    return Moments(correlations * (1 - jnp.eye(z.shape[1])), jnp.mean(z, axis=0))


def overlap_stdp(tau_ref: float) -> STDP:
    """The STDP of spike-based wake-sleep: a pair of spikes counts by the overlap of their refractory periods."""
    window = Triangular(tau_ref)
    return STDP(window, window, tau_ref, LastPairs(), Shared())


def spike_moments(stdp: STDP, state: Any, spikes: Raster) -> tuple[Moments, Any]:
    """Correlations and activities measured by spikes alone, at the synapses, and the traces to go on with.

        <z_i z_j> = tau_ref / T sum over pairs of max(1 - |Dt| / tau_ref, 0)      <z_i> = tau_ref / T (number of spikes)

    Equal to `state_moments` but for refractory periods that the ends of the raster cut. `stdp` is
    `overlap_stdp(tau_ref)`.
    """
    if spikes.spikes.shape[0] == 0:
        raise ValueError(f"spike_moments: spikes must last some time, got a raster of shape {spikes.spikes.shape}")
    sums, state = stdp.update(state, spikes, spikes)
    neurons = spikes.spikes.shape[-1]
    share = stdp.tau_ref / (spikes.spikes.shape[0] * spikes.dt)
    correlations = share * (sums.causal + sums.anticausal) * (1 - jnp.eye(neurons))
    rates = jnp.sum(spikes.spikes.reshape(spikes.spikes.shape[0], -1, neurons), axis=0)
    return Moments(correlations, share * jnp.mean(rates, axis=0)), state


def accumulate(
    add: Callable[[PyTree, Solution], PyTree],
    start: PyTree,
    network: AbstractNetwork,
    duration: float,
    *,
    chunks: int,
    dt: float,
    key: PRNGKeyArray,
    state: State | None = None,
    clamp: Clamp | None = None,
    observe: Callable[[Snapshot], Any] | None = None,
    throw: bool = True,
) -> tuple[PyTree, State, RESULTS]:
    """Simulates `chunks` times `duration` and folds each piece into `start` by `add`, so that no long raster is stored.

    Returns what has been accumulated, the network's state, and the first result that is no success. (`add` and
    `observe` should be the same functions at each call, or modules, or a new program is compiled.)
    """
    begin, chunks = network.init(dt) if state is None else state, as_count("chunks", chunks)
    start, network, begin, clamp = as_arrays((start, network, begin, clamp))
    duration, dt = as_static("duration", duration), as_static("dt", dt)
    return _accumulate(add, start, network, begin, clamp, key, duration, chunks, dt, observe, throw)


@eqx.filter_jit
def _accumulate(add, start, network, begin, clamp, key, duration, chunks, dt, observe, throw):
    def chunk(carry, _):
        carry, state, result = carry
        solution = simulate(network, duration, dt=dt, key=key, state=state, clamp=clamp, observe=observe, throw=throw)
        result = RESULTS.where(result == RESULTS.successful, solution.result, result)
        return (add(carry, solution), solution.state, result), None

    carry = vary_alike((start, begin, RESULTS.successful), add, network, clamp, key)
    carry, _ = lax.scan(chunk, carry, length=chunks)
    return carry


def sample(
    network: AbstractNetwork,
    duration: float,
    *,
    chunks: int = 1,
    dt: float,
    key: PRNGKeyArray,
    state: State | None = None,
    clamp: Clamp | None = None,
    throw: bool = True,
) -> tuple[Float[Array, " states"], State, RESULTS]:
    """The distribution that a network of at most 20 neurons samples from, over `chunks` times `duration`.

    The order of states is that of `sal.all_states`; `sal.marginal` leaves the visible units. Memory grows with
    `duration`, not with `chunks`.
    """
    neurons = network.neurons
    if neurons > LARGEST:
        raise ValueError(f"sample: at most {LARGEST} neurons' states can be counted, got {neurons}; see accumulate")
    counts, state, result = accumulate(
        _count_states,
        jnp.zeros(2**neurons, jnp.int32),
        network,
        duration,
        chunks=chunks,
        dt=dt,
        key=key,
        state=state,
        clamp=clamp,
        observe=refractory_states,
        throw=throw,
    )
    return counts / jnp.sum(counts), state, result


def measure_moments(
    network: AbstractNetwork,
    duration: float,
    *,
    chunks: int = 1,
    dt: float,
    key: PRNGKeyArray,
    state: State | None = None,
    clamp: Clamp | None = None,
    throw: bool = True,
) -> tuple[Moments, State, RESULTS]:
    """Moments measured by spikes over `chunks` times `duration`: a sleep phase, or with `clamp` a part of a wake phase.

    (`wake_moments` does so for all patterns of visible units.)
    """
    stdp, chunks = overlap_stdp(network.tau_ref), as_count("chunks", chunks)
    shape = (network.neurons,)
    zero = Moments(jnp.zeros(shape * 2), jnp.zeros(shape))
    (moments, _), state, result = accumulate(
        _MeanMoments(stdp, 1 / chunks),
        (zero, stdp.init(shape, shape, dt)),
        network,
        duration,
        chunks=chunks,
        dt=dt,
        key=key,
        state=state,
        clamp=clamp,
        throw=throw,
    )
    return moments, state, result


def wake_moments(
    network: AbstractNetwork,
    duration: float,
    *,
    clamp: Clamp,
    chunks: int = 1,
    dt: float,
    key: PRNGKeyArray,
    states: State | None = None,
    throw: bool = True,
) -> tuple[Moments, State, RESULTS]:
    """Moments of a wake phase with hidden units: the mean over patterns in which visible units are clamped.

        <.>_wake = 1 / P sum_p <.>_{visible units = pattern p}                                      (for Eqs. 32, 33)

    - `clamp`: all patterns, [patterns, neurons]; what is not held is hidden.
    - `states`: those of the last wake phase, [patterns], so that each pattern's chain goes on where it was (persistent
        chains). Without them all start from silence.

    Returns the moments, the states to go on with, and the first result that is no success.
    """
    if clamp.neurons.ndim != 2:
        raise ValueError(f"wake_moments: clamp must hold patterns, [patterns, neurons], got {clamp.neurons.shape}")
    patterns = len(clamp.neurons)
    if states is None:
        states = jax.tree.map(lambda x: jnp.broadcast_to(x, (patterns, *x.shape)), network.init(dt))

    def one(clamp: Clamp, state: State | None, key: PRNGKeyArray) -> tuple[Moments, State, RESULTS]:
        return measure_moments(network, duration, chunks=chunks, dt=dt, key=key, state=state, clamp=clamp, throw=throw)

    moments, states, results = jax.vmap(one)(clamp, states, jax.random.split(key, patterns))
    return jax.tree.map(lambda x: jnp.mean(x, axis=0), moments), states, first_failure(results)


def measure_activities(
    network: AbstractNetwork,
    duration: float,
    *,
    chunks: int = 1,
    dt: float,
    key: PRNGKeyArray,
    state: State | None = None,
    clamp: Clamp | None = None,
    throw: bool = True,
) -> tuple[Float[Array, " neurons"], State, RESULTS]:
    """The part of the time that each neuron is in the state 1, over `chunks` times `duration`.

    With `clamp` on some of the visible units: what the network completes the pattern to (p(z_i = 1 | clamped), of which
    0.5 is the threshold). `jax.vmap` over `clamp` completes many.
    """
    return accumulate(
        _MeanStates(1 / as_count("chunks", chunks)),
        jnp.zeros(network.neurons),
        network,
        duration,
        chunks=chunks,
        dt=dt,
        key=key,
        state=state,
        clamp=clamp,
        observe=refractory_states,
        throw=throw,
    )


def first_failure(results: RESULTS) -> RESULTS:
    """Of a batch: the first result that is no success, if there is one."""
    failed = results != RESULTS.successful
    return jax.tree.map(lambda x: x[jnp.argmax(failed)], results)


def _count_states(counts: Array, solution: Solution) -> Array:
    return counts.at[state_index(solution.observed)].add(1)


class _MeanMoments(eqx.Module):
    stdp: STDP
    share: float = eqx.field(static=True)

    def __call__(self, carry: tuple[Moments, Any], solution: Solution) -> tuple[Moments, Any]:
        moments, traces = carry
        new, traces = spike_moments(self.stdp, traces, solution.spikes)
        return jax.tree.map(lambda sum, x: sum + self.share * x, moments, new), traces


class _MeanStates(eqx.Module):
    share: float = eqx.field(static=True)

    def __call__(self, carry: Array, solution: Solution) -> Array:
        return carry + self.share * jnp.mean(solution.observed, axis=0)
