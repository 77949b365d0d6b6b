"""The training problem that every contender solves: one batch of Yin-Yang for a network of two spiking layers."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

import eventprop as ep
from benchmarks.datasets import yinyang

TAU_MEM = 20.0
"""Membrane time constant, ms."""
TAU_SYN = 5.0
"""Synaptic time constant, ms."""
THRESHOLD = 1.0
"""Firing threshold."""
T_LATEST = 30.0
"""Latest input spike, ms."""
T_END = 100.0
"""End of a trial, ms, for those who need one: long after the last spike."""


@dataclass(frozen=True)
class Problem:
    """A batch and the initial weights, the same arrays for every contender.

    - `spikes`: a batch of trials, four latency-coded features and a bias spike at 0 each;
    - `hidden` and `output`: weights drawn from N(1.5, 0.78) and N(0.93, 0.1);
    - `lateral`: for those whose hidden neurons hear each other, at once; drawn from N(0, 0.1).
    """

    spikes: ep.Spikes
    labels: Int[Array, " batch"]
    hidden: Float[Array, "inputs hidden"]
    output: Float[Array, "hidden outputs"]
    lateral: Float[Array, "hidden hidden"]

    @staticmethod
    def make(hidden: int, batch: int) -> "Problem":
        """The first `batch` trials of the training set and weights for `hidden` neurons."""
        split = yinyang.sample(batch, seed=42)
        encode = ep.Latency(0.0, T_LATEST, t_bias=0.0)
        random = np.random.default_rng(0)
        return Problem(
            jax.vmap(encode)(jnp.asarray(split.features, jnp.float32)),
            jnp.asarray(split.labels),
            jnp.asarray(random.normal(1.5, 0.78, (split.features.shape[1] + 1, hidden)), jnp.float32),
            jnp.asarray(random.normal(0.93, 0.1, (hidden, len(yinyang.CLASSES))), jnp.float32),
            jnp.asarray(random.normal(0.0, 0.1, (hidden, hidden)), jnp.float32),
        )

    def times_by_source(self) -> Float[np.ndarray, "batch inputs"]:
        """The one spike time of each source, in the order of the sources."""
        times, index = np.asarray(self.spikes.times), np.asarray(self.spikes.index)
        present = np.isfinite(times)
        by_source = np.full((len(times), self.hidden.shape[0]), np.inf, times.dtype)
        trial, _ = np.nonzero(present)
        by_source[trial, index[present]] = times[present]
        return by_source


def first_spike_loss(first_spikes: Float[Array, "batch outputs"], labels: Int[Array, " batch"]) -> Float[Array, ""]:
    """Eq. 35 with the time constants of the later recipe, averaged over the batch; silent neurons count as T_END."""

    def one(times, label):
        return ep.first_spike_cross_entropy(times, label, tau0=0.5, tau1=6.4, alpha=0.003, silent_time=T_END)

    return jnp.mean(jax.vmap(one)(first_spikes, labels))


OPTIMISER = optax.adam(5e-3)
"""Of every contender's training step."""
