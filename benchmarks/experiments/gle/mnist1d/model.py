"""MNIST-1D, streamed and learned online (Ellenberger et al. 2024, Fig. 8, Table 1)."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray
from optax.contrib import reduce_on_plateau

import gle
from benchmarks.datasets import DataSet, mnist1d
from benchmarks.errors import InvalidInput
from benchmarks.training import Metrics, Training, averaged, count_batches, outcome, scan_state, shuffled_batches, train
from gle import RESULTS

DT = 0.2
STEPS = 360
CLASSES = 10
POPULATIONS = ((1.2, 1.2), (1.2, 0.2), (0.6, 0.2))
"""(tau_m, tau_r) of the fast, the slow and the medium population of each hidden layer; outputs are as the first."""
NOISE_TAU = 2.8
"""Of the noise: as smooth as the paper's, made by a Gaussian kernel of two steps of 1.0, times the square root of 2."""


@dataclasses.dataclass(frozen=True)
class MNIST1D:
    """MNIST-1D streams, learned online at every time step.

    The larger network of Table 1, with 42 040 parameters. Not as published: 40 epochs instead of 150; the rate falls
    exponentially instead of by halves; weights between hidden layers start with variance 1/fan-in, not a third of it,
    so that signals reach the outputs from the start; and the network that is judged is an average over the last
    batches.
    """

    hidden: tuple[int, ...] = (30, 30, 30)
    """Neurons of each population in a hidden layer; the paper's smaller network (14 956 parameters) has 17, 18, 18."""
    layers: int = 6
    """Hidden layers. The first one is linear."""
    epochs: int = 40
    batch_size: int = 100
    learning_rate: float = 5e-4
    """Adam's, at the start, per time step; twice as much suits the smaller network."""
    decay: float = 0.01
    """What is left of it at the end, to which it falls exponentially."""
    gain: float = 1.0
    """Standard deviation of the initial weights between hidden layers, times the square root of the fan-in; PyTorch's
    is 0.58."""
    averaging: float = 0.98
    """What the averaged network keeps of itself at every batch."""
    settle: bool = False
    """Whether the network is at rest, for the first input and the target, when a sample starts; else it goes on from
    the sample before, and its errors jump with the label. It is judged from zero potentials, or as it goes on."""
    prospective_errors: bool = True
    """Whether errors look ahead (GLE), or are backpropagated instantaneously through the same neurons."""
    pytorch_weights: bool = False
    """Whether all weights and biases start uniformly in +-1/sqrt(fan-in), as in PyTorch, whatever `gain` says."""
    halving: bool = False
    """Whether the rate is halved after every third epoch without a lower validation loss (`ReduceLROnPlateau` with
    patience 2), instead of falling exponentially."""
    algorithm1: bool = True
    """Whether steps are those of the authors' variant of Algorithm 1, with delays of dt from layer to layer."""


@dataclasses.dataclass(frozen=True)
class MNIST1DPaper(MNIST1D):
    """MNIST-1D streams, learned by the paper's recipe.

    As its authors' code runs it, but for the schedule, which sees samples that are in no published split.
    """

    epochs: int = 150
    learning_rate: float = 5e-4
    averaging: float = 0.0
    pytorch_weights: bool = True
    halving: bool = True


@dataclasses.dataclass(frozen=True)
class WithoutDelays(MNIST1D):
    """MNIST-1D streams, learned without delays.

    Rates are swept up and errors down at every step, and the network settles before every sample.
    """

    learning_rate: float = 2e-4
    decay: float = 0.03
    settle: bool = True
    algorithm1: bool = False


@dataclasses.dataclass(frozen=True)
class Instantaneous(WithoutDelays):
    """MNIST-1D by instantaneous errors.

    For comparison: through the same neurons, but not by GLE.
    """

    prospective_errors: bool = False


@dataclasses.dataclass(frozen=True)
class LagNet(WithoutDelays):
    """MNIST-1D, fixed lag lines and latent equilibrium on top.

    Ten chains of four retrospective neurons, from fast to slow, spread the last quarter of a sample out in space; dense
    layers without lag on top of them learn (Fig. 13c). 4930 of its parameters learn.
    """

    hidden: tuple[int, ...] = (60, 60)
    """Neurons of each dense layer."""
    layers: int = 4
    """Neurons in each of the chains."""
    learning_rate: float = 5e-4


PLATEAU = reduce_on_plateau(factor=0.5, patience=3, rtol=1e-4)
"""PyTorch's with its defaults and patience 2: there the epoch after the patience halves, here the last one of it."""


class State(eqx.Module):
    """What changes in training; `average` is the network that is judged, `plateau` what `PLATEAU` remembers."""

    learner: gle.Learner
    average: gle.Network
    plateau: optax.OptState
    key: PRNGKeyArray
    result: gle.RESULTS


class MNIST1DTraining(Training):
    """The training problem of a configuration, whose float fields may be traced."""

    epochs: int
    steps_per_epoch: int
    config: MNIST1D
    train_set: tuple[Float[Array, "samples time"], Int[Array, " samples"]]
    validation_set: tuple[Float[Array, "samples time"], Int[Array, " samples"]]
    test_set: tuple[Float[Array, "samples time"], Int[Array, " samples"]]
    noise: float
    """Standard deviation of the noise on all rates; the number 0: none is drawn."""

    def __init__(self, config: MNIST1D, data: DataSet | None = None, *, noise: float = 0.0):
        if config.algorithm1 and not config.prospective_errors:
            raise InvalidInput(
                "algorithm1 = True has prospective errors: set prospective_errors = True too, or neither."
            )
        data = mnist1d.load(STEPS) if data is None else data
        self.config, self.epochs, self.noise = config, config.epochs, noise
        self.train_set, self.validation_set, self.test_set = (
            (jnp.asarray(split.features, dtype=float), jnp.asarray(split.labels))
            for split in (data.train, data.validation, data.test)
        )
        self.steps_per_epoch = count_batches(len(data.train), config.batch_size) * self.train_set[0].shape[1]

    def init(self, key: PRNGKeyArray) -> State:
        network_key, key = jax.random.split(key)
        network = build(self.config, network_key)
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
        inputs, labels = (x[samples] for x in self.train_set)
        stream, target = inputs.T[..., None], jax.nn.one_hot(labels, CLASSES, dtype=inputs.dtype)
        stepper = self.stepper(key)
        learner = gle.settle(state.learner, stream[0], target, stepper=stepper) if self.config.settle else state.learner
        targets = jnp.broadcast_to(target, (len(stream), *target.shape))
        learner, logits, result = gle.online(
            learner, stream, targets, dt=DT, optimiser=self._optimiser(state.plateau), stepper=stepper, throw=False
        )
        average = averaged(state.average, learner.network, self.config.averaging)
        worst = gle.RESULTS.where(state.result == gle.RESULTS.successful, result, state.result)
        return dataclasses.replace(state, learner=learner, average=average, result=worst), _accuracy(logits, labels)

    def _judge(self, network: gle.Network, split: tuple[Array, Array], key: PRNGKeyArray):
        return judge(network, *split, self.stepper(key), ongoing=not self.config.settle)

    def _optimiser(self, plateau: Any) -> optax.GradientTransformation:
        return gle.weights_only(optax.adam(self._rate(plateau)))

    def _rate(self, plateau: Any) -> optax.Schedule:
        c = self.config
        if c.halving:
            return lambda _: c.learning_rate * plateau.scale
        return optax.exponential_decay(c.learning_rate, self.epochs * self.steps_per_epoch, c.decay)


def build(config: MNIST1D, key: PRNGKeyArray) -> gle.Network:
    """The network of a configuration, with one input and ten softmax outputs."""
    layers = _lag_lines(config, key) if isinstance(config, LagNet) else _populations(config, key)
    return gle.Network(layers, gle.CrossEntropy())


def _populations(config: MNIST1D, key: PRNGKeyArray) -> list[gle.Layer]:
    """Hidden layers of three populations (Fig. 13b)."""
    tau_m, tau_r = (np.repeat(taus, config.hidden) for taus in zip(*POPULATIONS, strict=True))
    layers, sources, neurons = [], 1, sum(config.hidden)
    *keys, last = jax.random.split(key, config.layers + 1)
    for number, layer_key in enumerate(keys):
        connection = gle.Dense.init(sources, neurons, key=layer_key)
        if number and not config.pytorch_weights:
            weights = config.gain / np.sqrt(sources) * jax.random.normal(layer_key, (neurons, sources))
            connection = gle.Dense(weights, jnp.zeros(neurons))
        layers.append(gle.Layer(connection, tau_m, tau_r, jnp.tanh if number else gle.linear))
        sources = neurons
    return [*layers, gle.Layer(gle.Dense.init(sources, CLASSES, key=last), *POPULATIONS[0], jax.nn.softmax)]


def _lag_lines(config: LagNet, key: PRNGKeyArray) -> list[gle.Layer]:
    """Lag lines with tau_m from dt to 1.8, which do not learn, and dense layers with tau_m = tau_r (Fig. 13c)."""
    tau_m = np.linspace(DT, 1.8, 10)
    entrance: gle.AbstractConnection = gle.Dense(jnp.ones((len(tau_m), 1)), None)
    chains = [entrance, *[gle.Identity(len(tau_m))] * (config.layers - 1)]
    layers = [gle.Layer(connection, tau_m, DT, gle.linear, plastic=False) for connection in chains]
    sources = len(tau_m)
    *keys, last = jax.random.split(key, len(config.hidden) + 1)
    for neurons, layer_key in zip(config.hidden, keys, strict=True):
        layers.append(gle.Layer(gle.Dense.init(sources, neurons, key=layer_key), 1.0, 1.0, jnp.tanh))
        sources = neurons
    return [*layers, gle.Layer(gle.Dense.init(sources, CLASSES, key=last), 1.0, 1.0, jax.nn.softmax)]


def judge(
    network: gle.Network,
    inputs: Float[Array, "samples time"],
    labels: Int[Array, " samples"],
    stepper: gle.AbstractStepper,
    *,
    ongoing: bool,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean cross-entropy over time, and accuracy: the class with the largest logit, summed over the stream.

    ongoing: whether each sample follows another one, which is not judged; else all potentials start from zero.
    """
    streams = jnp.concatenate([jnp.roll(inputs, 1, axis=0), inputs], axis=1) if ongoing else inputs
    learner = gle.start(network.frozen(), stepper=stepper, batch=labels.shape)
    _, logits, _ = gle.online(learner, streams.T[..., None], dt=DT, stepper=stepper, throw=False)
    logits = logits[-inputs.shape[1] :]
    target = jax.nn.one_hot(labels, CLASSES, dtype=logits.dtype)
    loss = jnp.mean(network.cost(logits, jnp.broadcast_to(target, logits.shape), jax.nn.softmax))
    return loss, _accuracy(logits, labels)


def _accuracy(logits: Float[Array, "time samples classes"], labels: Int[Array, " samples"]) -> Float[Array, ""]:
    return jnp.mean(jnp.argmax(jnp.sum(logits, axis=0), axis=-1) == labels)


def mnist1d_experiment(config: MNIST1D, key: PRNGKeyArray) -> tuple[Metrics, gle.Network, RESULTS]:
    """Train and judge one network."""
    return train(MNIST1DTraining(config), key)
