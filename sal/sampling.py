"""Spiking sampling networks: what their spikes say about the distribution they sample from (section 4.3)."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from sal.boltzmann import Moments, state_index
from sal.kernels import Triangular
from sal.network import Clamp, Moment, Network, State, simulate
from sal.pairing import LastPairs, Shared
from sal.results import RESULTS
from sal.spikes import Raster
from sal.stdp import STDP


def refractory_states(moment: Moment) -> Bool[Array, " neurons"]:
    """z, for `simulate(observe=...)`: a neuron is in the state 1 while it is refractory."""
    return moment.z


def state_moments(z: Bool[Array, "time neurons"]) -> Moments:
    """Correlations and activities of a sequence of states (for Eqs. 32, 33)."""
    z = z.astype(jnp.result_type(float))
    correlations = z.T @ z / z.shape[0]
    return Moments(correlations * (1 - jnp.eye(z.shape[1])), jnp.mean(z, axis=0))


def overlap(tau_ref: float) -> STDP:
    """The STDP of spike-based wake-sleep: a pair of spikes counts by the overlap of their refractory periods."""
    window = Triangular(tau_ref)
    return STDP(window, window, tau_ref, LastPairs(), Shared())


def spike_moments(stdp: STDP, state: Any, spikes: Raster) -> tuple[Moments, Any]:
    """Correlations and activities measured by spikes alone, at the synapses, and the traces to go on with.

        <z_i z_j> = tau_ref / T sum over pairs of max(1 - |Dt| / tau_ref, 0)      <z_i> = tau_ref / T (number of spikes)

    Equal to `state_moments` but for refractory periods that the ends of the raster cut. `stdp` is `overlap(tau_ref)`.
    """
    sums, state = stdp.update(state, spikes, spikes)
    neurons = spikes.spikes.shape[-1]
    share = stdp.tau_ref / (spikes.spikes.shape[0] * spikes.dt)
    correlations = share * (sums.causal + sums.anticausal) * (1 - jnp.eye(neurons))
    rates = jnp.sum(spikes.spikes.reshape(spikes.spikes.shape[0], -1, neurons), axis=0)
    return Moments(correlations, share * jnp.mean(rates, axis=0)), state


class Samples(eqx.Module):
    """What `sample` found."""

    counts: Int[Array, " states"]
    """How many steps were spent in each state."""
    state: State
    result: RESULTS

    @property
    def probabilities(self) -> Float[Array, " states"]:
        """The sampled distribution."""
        return self.counts / jnp.sum(self.counts)


def sample(
    network: Network,
    duration: float,
    *,
    dt: float,
    key: PRNGKeyArray,
    state: State | None = None,
    clamp: Clamp | None = None,
    chunks: int = 1,
    throw: bool = True,
) -> Samples:
    """Counts the states of all neurons (2^N, so N is at most 20) for `chunks` times `duration`.

    Memory grows with one `duration`, not with their number.
    """
    neurons = network.connectivity.neurons
    if neurons > 20:
        raise ValueError(f"sample: at most 20 neurons' states can be counted, got {neurons}; observe fewer in simulate")

    def chunk(carry, _):
        state, counts, result = carry
        solution = simulate(
            network, duration, dt=dt, key=key, state=state, clamp=clamp, observe=refractory_states, throw=throw
        )
        counts = counts.at[state_index(solution.observed)].add(1)
        result = RESULTS.where(result == RESULTS.successful, solution.result, result)
        return (solution.state, counts, result), None

    start = network.init() if state is None else state
    counts = jnp.zeros(2**neurons, jnp.int32)
    (state, counts, result), _ = lax.scan(chunk, (start, counts, RESULTS.successful), length=chunks)
    return Samples(counts, state, result)
