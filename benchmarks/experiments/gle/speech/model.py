"""Speech Commands, streamed and learned online (Ellenberger et al. 2024, Fig. 8e, Table 1), reduced.

The clips are those of the published test set alone, split anew by speaker (`benchmarks.datasets.speech_commands`), the
network is a twentieth of the published one, and the only augmentation is a shift in time: nothing here compares with
Table 3.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import gle
from benchmarks.datasets import DataSet, speech_commands
from benchmarks.experiments.gle.streaming import Streaming, StreamTraining
from benchmarks.training import Metrics, train
from gle import RESULTS

DT = 0.1
STEPS_PER_FRAME = 10
POPULATIONS = ((2.4, 2.4), (0.6, 0.1), (1.2, 0.1), (1.8, 0.1), (2.4, 0.1))
"""(tau_m, tau_r) of the five populations of each hidden layer; outputs are as the first, which follows at once."""
SHIFT = 4
"""Frames, 100 ms, by which a training sample is moved at most, either way."""
CLASSES = 12


@dataclasses.dataclass(frozen=True)
class Speech(Streaming):
    """Speech Commands, reduced: words learned online.

    32 - 150 - 150 - 150 - 12 neurons with 52 062 parameters; the first hidden layer is linear. 41 frames of 32 mel
    bands are interpolated to 410 steps.
    """

    neurons: int = 30
    """Of each of the five populations of a hidden layer; published are 150."""
    hiss: float = 0.6
    """Standard deviation of white noise on the features of training samples, in place of the paper's recordings of
    background noise, which are not at hand."""
    slow: bool = True
    """Whether four of five populations are slow; else all follow at once (tau_m = tau_r), and the network sees no
    further back than the smoothness of its input."""


class SpeechTraining(StreamTraining):
    """The training problem of a configuration."""

    config: Speech
    dt: ClassVar[float] = DT

    def __init__(self, config: Speech, data: DataSet | None = None):
        data = speech_commands.load() if data is None else data
        super().__init__(config, data, STEPS_PER_FRAME * data.train.features.shape[1])

    def build(self, key: PRNGKeyArray) -> gle.Network:
        return build(self.config, key, self.train_set[0].shape[-1])

    def stream(self, features: Float[Array, "batch frames bands"]) -> Float[Array, "time batch bands"]:
        return interpolated(features, STEPS_PER_FRAME).swapaxes(0, 1)

    def vary(
        self, features: Float[Array, "batch frames bands"], key: PRNGKeyArray
    ) -> Float[Array, "batch frames bands"]:
        moved = shifted(features, key, SHIFT)
        noise = jax.random.normal(jax.random.fold_in(key, 0), moved.shape, moved.dtype)
        return moved + self.config.hiss * noise


def build(config: Speech, key: PRNGKeyArray, bands: int) -> gle.Network:
    """The network of a configuration, with softmax outputs."""
    tau_m, tau_r = (np.repeat(taus, config.neurons) for taus in zip(*POPULATIONS, strict=True))
    tau_r = tau_r if config.slow else tau_m
    sizes, layers = [bands, *[len(POPULATIONS) * config.neurons] * 3], []
    *keys, last = jax.random.split(key, len(sizes))
    for number, layer_key in enumerate(keys):
        sources, neurons = sizes[number : number + 2]
        # Variance 1 / fan-in between tanh layers, so that signals reach the outputs from the start.
        weights = jax.random.normal(layer_key, (neurons, sources)) / np.sqrt(sources)
        activation = jnp.tanh if number else gle.linear
        layers.append(gle.Layer(gle.Dense(weights, jnp.zeros(neurons)), tau_m, tau_r, activation))
    readout = gle.Dense.init(sizes[-1], CLASSES, key=last)
    return gle.Network([*layers, gle.Layer(readout, *POPULATIONS[0], jax.nn.softmax)], gle.CrossEntropy())


def interpolated(features: Float[Array, "batch frames bands"], steps: int) -> Float[Array, "batch time bands"]:
    """Linear interpolation to `steps` points per frame, each frame in the middle of its own; constant at the ends."""
    batch, frames, bands = features.shape
    return jax.image.resize(features, (batch, steps * frames, bands), "linear")


def shifted(
    features: Float[Array, "batch frames bands"], key: PRNGKeyArray, largest: int
) -> Float[Array, "batch frames bands"]:
    """Each sample moved in time by -largest, ..., largest frames; the first or last frame is repeated."""
    samples, frames, _ = features.shape
    moves = jax.random.randint(key, (samples, 1), -largest, largest + 1)
    source = jnp.clip(jnp.arange(frames)[None] - moves, 0, frames - 1)
    return jnp.take_along_axis(features, source[..., None], axis=1)


def speech_experiment(config: Speech, key: PRNGKeyArray) -> tuple[Metrics, gle.Network, RESULTS]:
    """Train and judge one network."""
    return train(SpeechTraining(config), key)
