"""MNIST-1D by usual networks, trained offline by backpropagation (Ellenberger et al. 2024, Table 2, section 12.3)."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from benchmarks.datasets import DataSet, mnist1d
from benchmarks.experiments.baselines.offline import Offline, OfflineTraining
from benchmarks.results import RESULTS
from benchmarks.training import Metrics, train

CLASSES = 10


class Perceptron(eqx.Module):
    """Two hidden layers of 100 ReLU neurons that see the whole sequence at once: 47 210 parameters."""

    layers: eqx.nn.MLP

    def __init__(self, key: PRNGKeyArray):
        self.layers = eqx.nn.MLP(360, CLASSES, 100, 2, key=key)

    def __call__(self, x: Float[Array, " time"]) -> Float[Array, " classes"]:
        return self.layers(x)


class ConvolutionalNetwork(eqx.Module):
    """Three dilated convolutions of 25 channels with ReLU, and a linear readout: 11 960 parameters."""

    convolutions: list[eqx.nn.Conv1d]
    readout: eqx.nn.Linear

    def __init__(self, key: PRNGKeyArray):
        *keys, last = jax.random.split(key, 4)
        # The paper tells no padding; with this one there are as many parameters as in its Table 2.
        shapes = ((1, 5, 2), (25, 3, 2), (25, 3, 3))
        self.convolutions = [
            eqx.nn.Conv1d(channels, 25, kernel, stride=2, padding=padding, dilation=9, key=k)
            for (channels, kernel, padding), k in zip(shapes, keys, strict=True)
        ]
        self.readout = eqx.nn.Linear(25 * 32, CLASSES, key=last)

    def __call__(self, x: Float[Array, " time"]) -> Float[Array, " classes"]:
        signal = x[None]
        for convolution in self.convolutions:
            signal = jax.nn.relu(convolution(signal))
        return self.readout(signal.ravel())


class RecurrentNetwork(eqx.Module):
    """Six gated recurrent units in each direction of 72 time steps, and a linear readout of all their states.

    8950 parameters; the published 8974 count two biases per gate where Equinox has one.
    """

    forward: eqx.nn.GRUCell
    backward: eqx.nn.GRUCell
    readout: eqx.nn.Linear

    def __init__(self, key: PRNGKeyArray):
        forward, backward, last = jax.random.split(key, 3)
        self.forward, self.backward = eqx.nn.GRUCell(1, 6, key=forward), eqx.nn.GRUCell(1, 6, key=backward)
        self.readout = eqx.nn.Linear(2 * 6 * 72, CLASSES, key=last)

    def __call__(self, x: Float[Array, " time"]) -> Float[Array, " classes"]:
        def run(cell, reverse):
            def step(state, now):
                state = cell(now[None], state)
                return state, state

            return jax.lax.scan(step, jnp.zeros(6, x.dtype), x, reverse=reverse)[1]

        states = jnp.concatenate([run(self.forward, False), run(self.backward, True)], axis=1)
        return self.readout(states.ravel())


@dataclasses.dataclass(frozen=True)
class MLP(Offline):
    """MNIST-1D baseline: a perceptron on whole sequences."""


@dataclasses.dataclass(frozen=True)
class TCN(MLP):
    """MNIST-1D baseline: a temporal convolutional network."""

    epochs: int = 150
    learning_rate: float = 0.01


@dataclasses.dataclass(frozen=True)
class GRU(MLP):
    """MNIST-1D baseline: bidirectional gated recurrent units."""

    epochs: int = 150
    learning_rate: float = 0.01


NETWORKS: dict[type, tuple[Any, int]] = {
    MLP: (Perceptron, 360),
    TCN: (ConvolutionalNetwork, 360),
    GRU: (RecurrentNetwork, 72),
}
"""Of each configuration: the network and the number of time steps that it sees."""


class BaselineTraining(OfflineTraining):
    """MNIST-1D, offline."""

    config: MLP

    def __init__(self, config: MLP, data: DataSet | None = None):
        super().__init__(config, mnist1d.load(NETWORKS[type(config)][1]) if data is None else data)

    def build(self, key: PRNGKeyArray) -> eqx.Module:
        return NETWORKS[type(self.config)][0](key)


def baseline(config: MLP, key: PRNGKeyArray) -> tuple[Metrics, eqx.Module, RESULTS]:
    """Train and judge one network."""
    return train(BaselineTraining(config), key)
