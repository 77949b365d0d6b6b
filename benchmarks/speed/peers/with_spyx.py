"""The training step in spyx: surrogate gradients through 100 time steps."""

import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.speed.contender import Contender
from benchmarks.speed.problem import TAU_MEM, TAU_SYN, THRESHOLD, Problem

STEPS = 100
DT = 0.5
"""Time step, ms: 100 of them cover the inputs and four synaptic time constants."""


def build(problem: Problem) -> Contender:
    """The outputs do not spike; the loss is the cross entropy of their largest potentials."""
    import spyx  # pyright: ignore[reportMissingImports]
    from flax import nnx  # pyright: ignore[reportMissingImports]

    inputs, hidden = problem.hidden.shape
    outputs = problem.output.shape[1]
    alpha, beta = np.exp(-DT / TAU_SYN), np.exp(-DT / TAU_MEM)
    rngs = nnx.Rngs(0)
    network = spyx.nn.Sequential(
        nnx.Linear(inputs, hidden, use_bias=False, rngs=rngs),
        spyx.nn.CuBaLIF((hidden,), alpha=alpha, beta=beta, threshold=THRESHOLD, rngs=rngs),
        nnx.Linear(hidden, outputs, use_bias=False, rngs=rngs),
        spyx.nn.LI((outputs,), beta=beta, rngs=rngs),
    )
    # Its membranes integrate the current without the factor dt / tau_mem.
    network.layers[0].kernel[...] = problem.hidden * (1 - beta)
    network.layers[2].kernel[...] = problem.output * (1 - beta)
    graph, weights, rest = nnx.split(network, lambda path, _: "kernel" in path, ...)

    rasters = np.stack([_raster(times) for times in problem.times_by_source()], axis=1)
    hidden_layer = spyx.nn.Sequential(*network.layers[:2])
    spikes, _ = spyx.nn.run(hidden_layer, jnp.asarray(rasters))

    def loss(weights, rasters, labels):
        potentials, _ = spyx.nn.run(nnx.merge(graph, weights, rest), rasters)
        return optax.softmax_cross_entropy_with_integer_labels(potentials.max(axis=0), labels).mean(), 0

    return Contender(
        loss,
        weights,
        (jnp.asarray(rasters), problem.labels),
        bound=f"{STEPS} steps of {DT:g} ms",
        spikes=None,
        hidden_spikes=float(spikes.sum(axis=(0, 2)).mean()),
        remark="surrogate gradient, outputs without synapse and spikes",
    )


def _raster(times: np.ndarray) -> np.ndarray:
    raster = np.zeros((STEPS, len(times)), np.float32)
    raster[(times / DT).astype(int), np.arange(len(times))] = 1
    return raster
