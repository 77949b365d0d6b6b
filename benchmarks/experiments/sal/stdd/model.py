"""Simulated spike-timing differences of two neurons beside the theory (Gierlich et al., Fig. 13)."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

import sal
from benchmarks.training import Metrics
from sal import RESULTS
from sal.theory import SpikeTimingDifferences, steady_state, two_neurons


@dataclasses.dataclass(frozen=True)
class STDD:
    """Simulated spike-timing differences pass a chi-square test.

    Random weights and biases, rectangular and alpha-shaped PSPs, sweeps and parallel updates; time in refractory
    periods.
    """

    pairs: int = 2
    """How many random pairs of neurons per PSP and update order."""
    low: float = -1.0
    """Weights and biases are drawn uniformly between this ..."""
    high: float = 1.0
    """... and this."""
    tau_syn: float = 1 / 3
    """Time constant of the alpha-shaped PSP."""
    steps: int = 10
    """Time steps per refractory period."""
    duration: int = 33
    """Simulated time per replica, in refractory periods."""
    replicas: int = 4000
    """Replicas, over which the covariance of the counts is estimated. (The paper has one, 33 000 long.)"""


LAGS = 30
"""Differences that are told apart on each side; longer ones are one bin."""
SETTLING = 30
"""Refractory periods before counting starts."""


class Comparison(NamedTuple):
    """One pair of neurons: what was counted, and what was to be expected."""

    counted: Float[Array, "2 lags"]
    """Pairs per unit of time and difference; which neuron was last, time difference."""
    error: Float[Array, "2 lags"]
    """Its standard error, above zero wherever something was to be expected."""
    expected: SpikeTimingDifferences
    chi_square: Float[Array, ""]
    p_value: Float[Array, ""]


def shapes(config: STDD) -> dict[str, tuple[sal.AbstractKernel, sal.AbstractOrder]]:
    """The PSPs and update orders that are tested."""
    kernels = {"rectangular": sal.Rectangular(1.0), "alpha": sal.Alpha(config.tau_syn, 1.0)}
    orders = {"sweeps": sal.Sweep(), "parallel": sal.Parallel()}
    return {f"{k}, {o}": (kernel, order) for k, kernel in kernels.items() for o, order in orders.items()}


def count_pairs(spikes: Float[Array, "time 2"], order: sal.AbstractOrder, settling: int) -> Float[Array, "2 bins"]:
    """Nearest pairs that end after `settling` steps, by the neuron that is last and by time difference.

    The last bin holds all longer ones.
    """
    swept = isinstance(order, sal.Sweep)

    def step(age, inputs):
        # Steps since the last spike of each neuron before this step, 1 if it was in the step before.
        fired, now = inputs
        first, second = fired[0] > 0, fired[1] > 0
        ends_first = first & (age[1] <= age[0])
        # In a sweep, the second neuron fires half a step after the first.
        seen = jnp.where(first, 0, age[0]) if swept else age[0] - 1
        ends_second = second & (seen < age[1])
        lags = jnp.stack([age[1] - 1, seen])
        counted = (jnp.stack([ends_first, ends_second]) & (now >= settling))[:, None]
        hit = jnp.minimum(lags, LAGS)[:, None] == jnp.arange(LAGS + 1)[None]
        return jnp.where(fired > 0, 1, age + 1), (counted & hit).astype(fired.dtype)

    never = jnp.full(2, 10**6)
    return jnp.sum(jax.lax.scan(step, never, (spikes, jnp.arange(len(spikes))))[1], axis=0)


def compare(
    config: STDD, psp: sal.AbstractKernel, order: sal.AbstractOrder, weights: Array, biases: Array, key: PRNGKeyArray
) -> Comparison:
    """Simulates one pair of neurons, and tests its counts of differences."""
    network, dt = two_neurons(weights, biases, psp, 1.0, order=order), 1 / config.steps

    def replica(key):
        spikes = sal.simulate(network, float(SETTLING + config.duration), dt=dt, key=key, throw=False).spikes.spikes
        return count_pairs(spikes, order, SETTLING * config.steps) / config.duration

    counts = jax.vmap(replica)(jax.random.split(key, config.replicas))
    theory = steady_state(network, dt=dt).differences
    bins = jnp.concatenate([theory.probabilities(LAGS), theory.tail(LAGS)[:, None]], axis=1) * theory.rate
    mean = jnp.mean(counts, axis=0)
    # Pairs that follow each other are not independent: their covariance is that between replicas, not a multinomial's.
    deviations = (counts - mean[None]).reshape(config.replicas, -1)
    covariance = deviations.T @ deviations / (config.replicas - 1) / config.replicas
    off = (mean - bins).ravel()
    # Where spikes of both kinds alternate, the counts of both sides are all but equal: one direction has no noise.
    values, vectors = jnp.linalg.eigh(covariance)
    kept = values > 1e-3 * jnp.median(values)
    chi_square = jnp.sum(jnp.where(kept, (vectors.T @ off) ** 2 / jnp.where(kept, values, 1), 0))
    p_value = jax.scipy.stats.chi2.sf(chi_square, jnp.sum(kept))
    estimated = jnp.sqrt(jnp.diag(covariance)).reshape(mean.shape)
    error = filled(estimated, bins, config.replicas * config.duration)
    return Comparison(mean[:, :LAGS], error[:, :LAGS], theory, chi_square, p_value)


def filled(estimated: Float[Array, "*bins"], expected: Float[Array, "*bins"], duration: int) -> Float[Array, "*bins"]:
    """Standard errors of rates, for bins that no replica has hit that of rare events: sqrt(rate / duration)."""
    return jnp.where(estimated > 0, estimated, jnp.sqrt(expected / duration))


def in_errors(found: Comparison) -> Float[Array, "*pairs 2 lags"]:
    """|counted - expected| in standard errors, zero where nothing was expected and nothing was counted."""
    off = jnp.abs(found.counted - _rates(found.expected))
    return jnp.where(off > 0, off / jnp.where(found.error > 0, found.error, 1), 0)


def comparisons(config: STDD, key: PRNGKeyArray) -> dict[str, Comparison]:
    """One `Comparison`, stacked over random pairs, per PSP and update order."""
    found = {}
    for number, (name, (psp, order)) in enumerate(shapes(config).items()):
        drawing, running = jax.random.split(jax.random.fold_in(key, number))
        draws = jax.random.uniform(drawing, (config.pairs, 4), minval=config.low, maxval=config.high)
        keys = jax.random.split(running, config.pairs)
        found[name] = jax.lax.map(
            lambda x, psp=psp, order=order: compare(config, psp, order, x[0][:2], x[0][2:], x[1]), (draws, keys)
        )
    return found


def sal_stdd(config: STDD, key: PRNGKeyArray) -> tuple[Metrics, sal.Network, RESULTS, dict[str, Comparison]]:
    """p values of simulated against theoretical counts, their smallest corrected for the number of tests."""
    found = comparisons(config, key)
    values = {name: comparison.p_value for name, comparison in found.items()}
    metrics = {f"p_{name.replace(', ', '_')}": jnp.min(value) for name, value in values.items()}
    every = jnp.concatenate(list(values.values()))
    # The smallest of n uniform numbers exceeds p with probability (1 - p)^n.
    metrics["p_smallest_of_all"] = 1 - (1 - jnp.min(every)) ** every.size
    metrics["largest_deviation_in_errors"] = jnp.max(jnp.stack([jnp.max(in_errors(c)) for c in found.values()]))
    return metrics, two_neurons((0.0, 0.0), (0.0, 0.0), sal.Rectangular(1.0), 1.0), RESULTS.successful, found


def _rates(expected: SpikeTimingDifferences) -> Float[Array, "pairs 2 lags"]:
    return jax.vmap(lambda theory: theory.probabilities(LAGS) * theory.rate)(expected)
