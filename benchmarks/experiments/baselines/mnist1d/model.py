"""MNIST-1D by usual networks, trained offline by backpropagation (Ellenberger et al. 2024, Table 2, section 12.3)."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from benchmarks.datasets import DataSet, mnist1d
from benchmarks.results import RESULTS
from benchmarks.training import Metrics, Training, count_batches, scan_state, shuffled_batches, train

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
class MLP:
    """MNIST-1D baseline: a perceptron on whole sequences."""

    epochs: int = 100
    batch_size: int = 100
    learning_rate: float = 0.005
    """Adam's, at the start; it falls to zero along a cosine."""


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


class State(eqx.Module):
    """What changes in training."""

    network: eqx.Module
    optimiser: optax.OptState
    key: PRNGKeyArray


class BaselineTraining(Training):
    """The training problem of a configuration, whose float fields may be traced."""

    epochs: int
    steps_per_epoch: int
    config: MLP
    train_set: tuple[Float[Array, "samples time"], Int[Array, " samples"]]
    validation_set: tuple[Float[Array, "samples time"], Int[Array, " samples"]]
    test_set: tuple[Float[Array, "samples time"], Int[Array, " samples"]]

    def __init__(self, config: MLP, data: DataSet | None = None):
        data = mnist1d.load(NETWORKS[type(config)][1]) if data is None else data
        self.config, self.epochs = config, config.epochs
        self.train_set, self.validation_set, self.test_set = (
            (jnp.asarray(split.features, dtype=float), jnp.asarray(split.labels))
            for split in (data.train, data.validation, data.test)
        )
        self.steps_per_epoch = count_batches(len(data.train), config.batch_size)

    def init(self, key: PRNGKeyArray) -> State:
        network_key, key = jax.random.split(key)
        network = NETWORKS[type(self.config)][0](network_key)
        return State(network, self._optimiser().init(eqx.filter(network, eqx.is_inexact_array)), key)

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        del number
        key, shuffle = jax.random.split(state.key)
        batches = shuffled_batches(shuffle, self.train_set[1].shape[0], self.config.batch_size)
        state, losses = scan_state(self._step, State(state.network, state.optimiser, key), batches)
        loss, accuracy = judge(state.network, *self.validation_set)
        return state, {"train_loss": jnp.mean(losses), "validation_loss": loss, "validation_accuracy": accuracy}

    def finish(self, state: State) -> tuple[Metrics, eqx.Module, RESULTS]:
        loss, accuracy = judge(state.network, *self.test_set)
        return {"test_accuracy": accuracy, "test_loss": loss}, state.network, RESULTS.successful

    def _step(self, state: State, batch: Int[Array, " batch"]) -> tuple[State, Float[Array, ""]]:
        features, labels = (x[batch] for x in self.train_set)
        loss, gradient = eqx.filter_value_and_grad(lambda network: judge(network, features, labels)[0])(state.network)
        parameters = eqx.filter(state.network, eqx.is_inexact_array)
        updates, optimiser = self._optimiser().update(gradient, state.optimiser, parameters)
        return State(eqx.apply_updates(state.network, updates), optimiser, state.key), loss

    def _optimiser(self) -> optax.GradientTransformation:
        return optax.adam(optax.cosine_decay_schedule(self.config.learning_rate, self.epochs * self.steps_per_epoch))


def judge(
    network: Any, features: Float[Array, "samples time"], labels: Int[Array, " samples"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean cross-entropy, and accuracy."""
    logits = jax.vmap(network)(features)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return loss, jnp.mean(jnp.argmax(logits, axis=-1) == labels)


def baseline(config: MLP, key: PRNGKeyArray) -> tuple[Metrics, eqx.Module, RESULTS]:
    """Train and judge one network."""
    return train(BaselineTraining(config), key)
