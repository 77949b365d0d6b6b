"""Streams that are classified by a network that learns at every time step (Ellenberger et al. 2024, Fig. 8)."""

import abc
import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray
from optax.contrib import reduce_on_plateau

import gle
from benchmarks.datasets import DataSet
from benchmarks.errors import InvalidInput
from benchmarks.training import (
    Metrics,
    Training,
    averaged,
    count_batches,
    outcome,
    scan_state,
    shuffled_batches,
    splits_of,
)
from gle import RESULTS

NOISE_TAU = 2.8
"""Of the noise: as smooth as the paper's, made by a Gaussian kernel of two steps of 1.0, times the square root of 2."""


@dataclasses.dataclass(frozen=True)
class Streaming:
    """How a network learns online from streams."""

    epochs: int = 40
    batch_size: int = 100
    learning_rate: float = 5e-4
    """Adam's, at the start, per time step."""
    decay: float = 0.01
    """What is left of it at the end, to which it falls exponentially."""
    averaging: float = 0.98
    """What the averaged network keeps of itself at every batch."""
    settle: bool = False
    """Whether the network is at rest, for the first input and the target, when a sample starts; else it goes on from
    the sample before, and its errors jump with the label. It is judged from zero potentials, or as it goes on."""
    prospective_errors: bool = True
    """Whether errors look ahead (GLE), or are backpropagated instantaneously through the same neurons."""
    halving: bool = False
    """Whether the rate is halved after every third epoch without a lower validation loss (`ReduceLROnPlateau` with
    patience 2), instead of falling exponentially."""
    algorithm1: bool = True
    """Whether steps are those of the authors' variant of Algorithm 1, with delays of dt from layer to layer."""


PLATEAU = reduce_on_plateau(factor=0.5, patience=3, rtol=1e-4)
"""PyTorch's with its defaults and patience 2: there the epoch after the patience halves, here the last one of it."""


class State(eqx.Module):
    """What changes in training; `average` is the network that is judged, `plateau` what `PLATEAU` remembers."""

    learner: gle.Learner
    average: gle.Network
    plateau: optax.OptState
    key: PRNGKeyArray
    result: gle.RESULTS


class StreamTraining(Training):
    """The training problem of a configuration, whose float fields may be traced. A subclass says what is streamed."""

    epochs: int
    steps_per_epoch: int
    config: Streaming
    train_set: tuple[Float[Array, "samples ..."], Int[Array, " samples"]]
    validation_set: tuple[Float[Array, "samples ..."], Int[Array, " samples"]]
    test_set: tuple[Float[Array, "samples ..."], Int[Array, " samples"]]
    noise: float
    """Standard deviation of the noise on all rates; the number 0: none is drawn."""
    dt: eqx.AbstractClassVar[float]
    """Of a time step."""

    def __init__(self, config: Streaming, data: DataSet, steps: int, *, noise: float = 0.0):
        if config.algorithm1 and not config.prospective_errors:
            raise InvalidInput(
                "algorithm1 = True has prospective errors: set prospective_errors = True too, or neither."
            )
        self.config, self.epochs, self.noise = config, config.epochs, noise
        self.train_set, self.validation_set, self.test_set = splits_of(data)
        self.steps_per_epoch = count_batches(len(data.train), config.batch_size) * steps

    @abc.abstractmethod
    def build(self, key: PRNGKeyArray) -> gle.Network:
        """A new network with softmax outputs."""

    @abc.abstractmethod
    def stream(self, features: Float[Array, "batch ..."]) -> Float[Array, "time batch sources"]:
        """What the network sees of the samples of a batch."""

    def vary(self, features: Float[Array, "batch ..."], key: PRNGKeyArray) -> Float[Array, "batch ..."]:
        """The samples of a training batch, augmented."""
        del key
        return features

    def init(self, key: PRNGKeyArray) -> State:
        network_key, key = jax.random.split(key)
        network = self.build(network_key)
        stepper = self.stepper(jax.random.fold_in(key, 0))
        plateau = PLATEAU.init(jnp.zeros(()))
        learner = gle.start(network, self._optimiser(plateau), stepper=stepper, batch=(self.config.batch_size,))
        return State(learner, network, plateau, key, gle.RESULTS.successful)

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        del number
        key, shuffle = jax.random.split(state.key)
        batches = shuffled_batches(shuffle, self.train_set[1].shape[0], self.config.batch_size)
        noise = jax.random.split(jax.random.fold_in(key, 0), len(batches))
        state, accuracies = scan_state(self._batch, dataclasses.replace(state, key=key), (batches, noise))
        loss, accuracy = self._judge(state.average, self.validation_set, jax.random.fold_in(key, 1))
        _, plateau = PLATEAU.update(jnp.zeros(()), state.plateau, value=loss)
        return dataclasses.replace(state, plateau=plateau), {
            "train_accuracy": jnp.mean(accuracies),
            "validation_loss": loss,
            "validation_accuracy": accuracy,
        }

    def finish(self, state: State) -> tuple[Metrics, gle.Network, RESULTS]:
        loss, accuracy = self._judge(state.average, self.test_set, state.key)
        return {"test_accuracy": accuracy, "test_loss": loss}, state.average, outcome(state.result)

    def stepper(self, key: PRNGKeyArray) -> gle.AbstractStepper:
        """Euler steps, noisy ones if there is noise."""
        step = gle.Step() if self.config.prospective_errors else gle.Instantaneous()
        step = gle.Algorithm1(fresh_errors=True) if self.config.algorithm1 else step
        if self.noise == 0:
            return step
        return gle.NoisyRates(step, self.noise, NOISE_TAU, key)

    def _batch(self, state: State, batch: tuple[Int[Array, " batch"], PRNGKeyArray]) -> tuple[State, Float[Array, ""]]:
        samples, key = batch
        features, labels = (x[samples] for x in self.train_set)
        stream = self.stream(self.vary(features, jax.random.fold_in(key, 1)))
        target = jax.nn.one_hot(labels, state.average.outputs, dtype=stream.dtype)
        stepper = self.stepper(key)
        learner = gle.settle(state.learner, stream[0], target, stepper=stepper) if self.config.settle else state.learner
        targets = jnp.broadcast_to(target, (len(stream), *target.shape))
        learner, logits, result = gle.online(
            learner, stream, targets, dt=self.dt, optimiser=self._optimiser(state.plateau), stepper=stepper, throw=False
        )
        average = averaged(state.average, learner.network, self.config.averaging)
        worst = gle.RESULTS.where(state.result == gle.RESULTS.successful, result, state.result)
        return dataclasses.replace(state, learner=learner, average=average, result=worst), _accuracy(logits, labels)

    def _judge(self, network: gle.Network, split: tuple[Array, Array], key: PRNGKeyArray):
        features, labels = split
        return judge(network, self.stream(features), labels, self.stepper(key), self.dt, ongoing=not self.config.settle)

    def _optimiser(self, plateau: Any) -> optax.GradientTransformation:
        return gle.weights_only(optax.adam(self._rate(plateau)))

    def _rate(self, plateau: Any) -> optax.Schedule:
        c = self.config
        if c.halving:
            return lambda _: c.learning_rate * plateau.scale
        return optax.exponential_decay(c.learning_rate, self.epochs * self.steps_per_epoch, c.decay)


def judge(
    network: gle.Network,
    stream: Float[Array, "time samples sources"],
    labels: Int[Array, " samples"],
    stepper: gle.AbstractStepper,
    dt: float,
    *,
    ongoing: bool,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean cross-entropy over time, and accuracy: the class with the largest logit, summed over the stream.

    ongoing: whether each sample follows another one, which is not judged; else all potentials start from zero.
    """
    steps = len(stream)
    stream = jnp.concatenate([jnp.roll(stream, 1, axis=1), stream]) if ongoing else stream
    learner = gle.start(network.frozen(), stepper=stepper, batch=labels.shape)
    _, logits, _ = gle.online(learner, stream, dt=dt, stepper=stepper, throw=False)
    logits = logits[-steps:]
    target = jax.nn.one_hot(labels, network.outputs, dtype=logits.dtype)
    loss = jnp.mean(network.cost(logits, jnp.broadcast_to(target, logits.shape), jax.nn.softmax))
    return loss, _accuracy(logits, labels)


def _accuracy(logits: Float[Array, "time samples classes"], labels: Int[Array, " samples"]) -> Float[Array, ""]:
    return jnp.mean(jnp.argmax(jnp.sum(logits, axis=0), axis=-1) == labels)
