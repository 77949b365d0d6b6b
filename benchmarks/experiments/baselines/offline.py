"""Networks of other makes that learn offline, by backpropagation over whole samples."""

import abc
import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from benchmarks.datasets import DataSet
from benchmarks.results import RESULTS
from benchmarks.training import Metrics, Training, count_batches, scan_state, shuffled_batches, splits_of


@dataclasses.dataclass(frozen=True)
class Offline:
    """How a network learns offline."""

    epochs: int = 100
    batch_size: int = 100
    learning_rate: float = 0.005
    """Adam's, at the start; it falls to zero along a cosine."""
    weight_decay: float = 0.0
    """Adam's, decoupled."""


class State(eqx.Module):
    """What changes in training."""

    network: eqx.Module
    optimiser: optax.OptState
    key: PRNGKeyArray


class OfflineTraining(Training):
    """The training problem of a configuration, whose float fields may be traced. A subclass builds the network."""

    epochs: int
    steps_per_epoch: int
    config: Offline
    train_set: tuple[Float[Array, "samples ..."], Int[Array, " samples"]]
    validation_set: tuple[Float[Array, "samples ..."], Int[Array, " samples"]]
    test_set: tuple[Float[Array, "samples ..."], Int[Array, " samples"]]

    def __init__(self, config: Offline, data: DataSet):
        self.config, self.epochs = config, config.epochs
        self.train_set, self.validation_set, self.test_set = splits_of(data)
        self.steps_per_epoch = count_batches(len(data.train), config.batch_size)

    @abc.abstractmethod
    def build(self, key: PRNGKeyArray) -> eqx.Module:
        """A new network, from one sample to logits."""

    def vary(self, features: Float[Array, "batch ..."], key: PRNGKeyArray) -> Float[Array, "batch ..."]:
        """The samples of a training batch, augmented."""
        del key
        return features

    def init(self, key: PRNGKeyArray) -> State:
        network_key, key = jax.random.split(key)
        network = self.build(network_key)
        return State(network, self._optimiser().init(eqx.filter(network, eqx.is_inexact_array)), key)

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        del number
        key, shuffle = jax.random.split(state.key)
        batches = shuffled_batches(shuffle, self.train_set[1].shape[0], self.config.batch_size)
        keys = jax.random.split(jax.random.fold_in(key, 0), len(batches))
        state, losses = scan_state(self._step, State(state.network, state.optimiser, key), (batches, keys))
        loss, accuracy = judge(state.network, *self.validation_set)
        return state, {"train_loss": jnp.mean(losses), "validation_loss": loss, "validation_accuracy": accuracy}

    def finish(self, state: State) -> tuple[Metrics, eqx.Module, RESULTS]:
        loss, accuracy = judge(state.network, *self.test_set)
        return {"test_accuracy": accuracy, "test_loss": loss}, state.network, RESULTS.successful

    def _step(self, state: State, batch: tuple[Int[Array, " batch"], PRNGKeyArray]) -> tuple[State, Float[Array, ""]]:
        samples, key = batch
        features, labels = (x[samples] for x in self.train_set)
        features = self.vary(features, key)
        loss, gradient = eqx.filter_value_and_grad(lambda network: judge(network, features, labels)[0])(state.network)
        parameters = eqx.filter(state.network, eqx.is_inexact_array)
        updates, optimiser = self._optimiser().update(gradient, state.optimiser, parameters)
        return State(eqx.apply_updates(state.network, updates), optimiser, state.key), loss

    def _optimiser(self) -> optax.GradientTransformation:
        c = self.config
        schedule = optax.cosine_decay_schedule(c.learning_rate, self.epochs * self.steps_per_epoch)
        return optax.adamw(schedule, weight_decay=c.weight_decay)


def judge(
    network: Any, features: Float[Array, "samples ..."], labels: Int[Array, " samples"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean cross-entropy, and accuracy."""
    logits = jax.vmap(network)(features)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return loss, jnp.mean(jnp.argmax(logits, axis=-1) == labels)
