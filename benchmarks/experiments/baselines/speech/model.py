"""Speech Commands, reduced, by usual networks, trained offline on the split and features of `gle-speech`."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from benchmarks.datasets import DataSet, speech_commands
from benchmarks.experiments.baselines.offline import Offline, OfflineTraining
from benchmarks.experiments.gle.speech.model import CLASSES, SHIFT, shifted
from benchmarks.results import RESULTS
from benchmarks.training import Metrics, train

FRAMES, BANDS = 41, 32


class Perceptron(eqx.Module):
    """128 ReLU neurons that see the whole clip at once: 169 612 parameters."""

    layers: eqx.nn.MLP

    def __init__(self, key: PRNGKeyArray):
        self.layers = eqx.nn.MLP(FRAMES * BANDS, CLASSES, 128, 1, key=key)

    def __call__(self, x: Float[Array, "frames bands"]) -> Float[Array, " classes"]:
        return self.layers(x.ravel())


class ConvolutionalNetwork(eqx.Module):
    """Three causal convolutions over time, 64 channels, kernel 5, dilation 1, 2, 4, and the mean over time: 52 172."""

    convolutions: list[eqx.nn.Conv1d]
    readout: eqx.nn.Linear

    def __init__(self, key: PRNGKeyArray):
        *keys, last = jax.random.split(key, 4)
        self.convolutions = [
            eqx.nn.Conv1d(channels, 64, 5, dilation=dilation, padding=((4 * dilation, 0),), key=k)
            for channels, dilation, k in zip((BANDS, 64, 64), (1, 2, 4), keys, strict=True)
        ]
        self.readout = eqx.nn.Linear(64, CLASSES, key=last)

    def __call__(self, x: Float[Array, "frames bands"]) -> Float[Array, " classes"]:
        signal = x.T
        for convolution in self.convolutions:
            signal = jax.nn.relu(convolution(signal))
        return self.readout(jnp.mean(signal, axis=1))


class RecurrentNetwork(eqx.Module):
    """A layer of gated recurrent units (112: 50 188 parameters) or of long short-term memories (96: 50 700), and the
    mean of its states over time.
    """

    cell: eqx.nn.GRUCell | eqx.nn.LSTMCell
    readout: eqx.nn.Linear

    def __init__(self, kind: Any, neurons: int, key: PRNGKeyArray):
        cell, last = jax.random.split(key)
        self.cell, self.readout = kind(BANDS, neurons, key=cell), eqx.nn.Linear(neurons, CLASSES, key=last)

    def __call__(self, x: Float[Array, "frames bands"]) -> Float[Array, " classes"]:
        zeros = jnp.zeros(self.cell.hidden_size, x.dtype)

        def step(state, now):
            state = self.cell(now, state)
            return state, jax.tree.leaves(state)[0]  # a memory's state is (output, cell)

        _, states = jax.lax.scan(step, (zeros, zeros) if isinstance(self.cell, eqx.nn.LSTMCell) else zeros, x)
        return self.readout(jnp.mean(jnp.asarray(states), axis=0))


@dataclasses.dataclass(frozen=True)
class MLP(Offline):
    """Speech Commands, reduced: a perceptron on whole clips."""

    epochs: int = 40
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2


@dataclasses.dataclass(frozen=True)
class TCN(MLP):
    """Speech Commands, reduced: temporal convolutions."""

    learning_rate: float = 3e-3


@dataclasses.dataclass(frozen=True)
class GRU(TCN):
    """Speech Commands, reduced: gated recurrent units."""


@dataclasses.dataclass(frozen=True)
class LSTM(TCN):
    """Speech Commands, reduced: long short-term memories."""


NETWORKS: dict[type, Any] = {
    MLP: Perceptron,
    TCN: ConvolutionalNetwork,
    GRU: lambda key: RecurrentNetwork(eqx.nn.GRUCell, 112, key),
    LSTM: lambda key: RecurrentNetwork(eqx.nn.LSTMCell, 96, key),
}
"""The network of each configuration."""


class SpeechBaselineTraining(OfflineTraining):
    """The reduced Speech Commands, offline."""

    config: MLP

    def __init__(self, config: MLP, data: DataSet | None = None):
        super().__init__(config, speech_commands.load() if data is None else data)

    def build(self, key: PRNGKeyArray) -> eqx.Module:
        return NETWORKS[type(self.config)](key)

    def vary(self, features: Float[Array, "batch frames bands"], key: PRNGKeyArray) -> Array:
        return shifted(features, key, SHIFT)


def speech_baseline(config: MLP, key: PRNGKeyArray) -> tuple[Metrics, eqx.Module, RESULTS]:
    """Train and judge one network."""
    return train(SpeechBaselineTraining(config), key)
