"""Yin-Yang by networks of rectified neurons (Kriener et al. 2022): whole, with a frozen hidden layer, and shallow."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from benchmarks.datasets import DataSet, yinyang
from benchmarks.results import RESULTS
from benchmarks.training import Metrics, Training, count_batches, scan_state, shuffled_batches, splits_of, train

FEATURES, CLASSES = 4, 3


@dataclasses.dataclass(frozen=True)
class Whole:
    """Baseline: a perceptron 4-30-3."""

    epochs: int = 300
    batch_size: int = 20
    hidden: int = 30
    learning_rate: float = 0.01
    """Adam's."""


@dataclasses.dataclass(frozen=True)
class Frozen(Whole):
    """Baseline: a perceptron 4-30-3, hidden layer frozen."""


@dataclasses.dataclass(frozen=True)
class Shallow(Whole):
    """Baseline: no hidden layer."""

    hidden: int = 0


class State(eqx.Module):
    """What changes in training."""

    network: eqx.nn.MLP
    optimiser: optax.OptState
    key: PRNGKeyArray


class YinYangBaseline(Training):
    """The training problem of a configuration, whose float fields may be traced."""

    epochs: int
    steps_per_epoch: int
    config: Whole
    splits: tuple[tuple[Float[Array, "samples features"], Int[Array, " samples"]], ...]

    def __init__(self, config: Whole, data: DataSet | None = None):
        data = yinyang.load() if data is None else data
        self.config, self.epochs = config, config.epochs
        self.splits = splits_of(data)
        self.steps_per_epoch = count_batches(len(data.train), config.batch_size)

    def init(self, key: PRNGKeyArray) -> State:
        network_key, key = jax.random.split(key)
        depth = 1 if self.config.hidden else 0
        network = eqx.nn.MLP(FEATURES, CLASSES, self.config.hidden, depth, key=network_key)
        return State(network, self._optimiser().init(eqx.filter(network, self._trained(network))), key)

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        del number
        key, shuffle = jax.random.split(state.key)
        batches = shuffled_batches(shuffle, self.splits[0][1].shape[0], self.config.batch_size)
        state, losses = scan_state(self._step, State(state.network, state.optimiser, key), batches)
        loss, accuracy = judge(state.network, *self.splits[1])
        return state, {"train_loss": jnp.mean(losses), "validation_loss": loss, "validation_accuracy": accuracy}

    def finish(self, state: State) -> tuple[Metrics, eqx.Module, RESULTS]:
        loss, accuracy = judge(state.network, *self.splits[2])
        return {"test_accuracy": accuracy, "test_loss": loss}, state.network, RESULTS.successful

    def _step(self, state: State, batch: Int[Array, " batch"]) -> tuple[State, Float[Array, ""]]:
        features, labels = (x[batch] for x in self.splits[0])
        trained, fixed = eqx.partition(state.network, self._trained(state.network))
        loss, gradient = eqx.filter_value_and_grad(lambda part: judge(eqx.combine(part, fixed), features, labels)[0])(
            trained
        )
        updates, optimiser = self._optimiser().update(gradient, state.optimiser, trained)
        return State(eqx.combine(eqx.apply_updates(trained, updates), fixed), optimiser, state.key), loss

    def _trained(self, network: eqx.nn.MLP) -> Any:
        """Which arrays learn: all, or those of the last layer."""
        every = jax.tree.map(eqx.is_inexact_array, network)
        if not isinstance(self.config, Frozen):
            return every
        return eqx.tree_at(lambda n: n.layers[0], every, jax.tree.map(lambda _: False, every.layers[0]))

    def _optimiser(self) -> optax.GradientTransformation:
        return optax.adam(self.config.learning_rate)


def judge(
    network: eqx.nn.MLP, features: Float[Array, "samples features"], labels: Int[Array, " samples"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean cross-entropy, and accuracy."""
    logits = jax.vmap(network)(features)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return loss, jnp.mean(jnp.argmax(logits, axis=-1) == labels)


def yinyang_baseline(config: Whole, key: PRNGKeyArray) -> tuple[Metrics, eqx.Module, RESULTS]:
    """Train and judge one network."""
    return train(YinYangBaseline(config), key)
