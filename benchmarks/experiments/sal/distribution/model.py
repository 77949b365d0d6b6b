"""A spiking sampling network and the distribution that it samples (Gierlich et al., Fig. 3)."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

import sal
from benchmarks.training import Metrics
from sal import RESULTS


@dataclasses.dataclass(frozen=True)
class Distribution:
    """Spiking neurons sample a Boltzmann distribution."""

    units: int = 4
    largest: float = 1.0
    """Weights and biases are drawn uniformly between minus this and this."""
    duration: int = 100_000
    """Refractory periods of samples."""
    steps: int = 10
    """Time steps per refractory period."""


CHUNK, SHOWN = 20.0, 20.0
"""Refractory periods simulated in one piece, and shown as traces."""


class Found(NamedTuple):
    """What the figure shows."""

    sampled: Float[Array, " states"]
    target: Float[Array, " states"]
    potential: Float[Array, "time units"]
    z: Bool[Array, "time units"]
    spikes: Bool[Array, "time units"]


def distribution(config: Distribution, key: PRNGKeyArray) -> tuple[Metrics, sal.Network, RESULTS, Found]:
    """D_KL between samples and target, and the largest difference of a probability."""
    weight_key, bias_key, key = jax.random.split(key, 3)
    low, high = -config.largest, config.largest
    upper = jnp.triu(jax.random.uniform(weight_key, (config.units, config.units), minval=low, maxval=high), 1)
    bias = jax.random.uniform(bias_key, (config.units,), minval=low, maxval=high)
    network, dt = sal.Network(sal.Recurrent(upper + upper.T), bias, 1.0), 1 / config.steps
    target = sal.Boltzmann(upper + upper.T, bias).probabilities()
    first = sal.simulate(network, SHOWN, dt=dt, key=key, observe=lambda m: (m.potential, m.z, m.spikes), throw=False)
    chunks = round(config.duration / CHUNK)
    sampled, _, result = sal.sample(network, CHUNK, chunks=chunks, dt=dt, key=key, state=first.state, throw=False)
    metrics = {
        "kl": sal.kl_divergence(sampled, target),
        "largest_difference": jnp.max(jnp.abs(sampled - target)),
    }
    return metrics, network, result, Found(sampled, target, *first.observed)
