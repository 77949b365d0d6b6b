"""The spike-timing differences that the paper's authors calculate, to compare with their figures."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from sal.network import Network
from sal.state import count_steps
from sal.theory import SpikeTimingDifferences, Step, psp_of_last_spike, steady_state, step_probabilities


def published_differences(network: Network, *, dt: float, states: int) -> SpikeTimingDifferences:
    """What `steady_state(...).differences` is in the authors' calculation, for `Parallel()` updates.

    It differs from the distribution of nearest spikes: differences of `states` and more are left out, coincident spikes
    do not end the search for a pair but start it anew, the search takes `states` + 1 steps in all, and each side is
    normalised to 1/2. `sal.two_neurons` with `Rectangular(tau_ref - dt)` is their rectangular PSP.
    """
    step = step_probabilities(
        network, psp_of_last_spike(network), dt, count_steps("tau_ref", network.tau_ref, dt), states
    )
    found = steady_state(network, dt=dt, states=states)
    mirrored = Step(step.none.T, step.only_second.T, step.only_first.T, step.both.T)
    sides = _later(mirrored, found.states.T), _later(step, found.states)
    zero = jnp.zeros_like(found.differences.ratio)
    later = jnp.stack([side / (2 * jnp.sum(side)) for side in sides])
    return SpikeTimingDifferences(later, zero, zero + 1, zero, found.differences.rate, dt, dt)


def _later(step: Step, stationary: Float[Array, "states states"]) -> Float[Array, " lags"]:
    """Spikes of neuron 2 by their distance from the last one of neuron 1."""
    just_spiked = jnp.zeros_like(stationary).at[0].set(stationary[0])

    def advance(occupied, _):
        ends = jnp.sum(occupied * (step.only_second + step.both), axis=1)[:-1]
        stay = occupied * step.none
        # Both counters go up by one; the last state stands for all longer times.
        moved = jnp.zeros_like(stay).at[1:, 1:].set(stay[:-1, :-1])
        moved = moved.at[1:, -1].add(stay[:-1, -1]).at[-1, 1:].add(stay[-1, :-1]).at[-1, -1].add(stay[-1, -1])
        return moved.at[0, 0].add(jnp.sum(occupied * step.both)), ends

    _, ends = lax.scan(advance, just_spiked, length=len(stationary) + 1)
    return jnp.sum(ends, axis=0)
