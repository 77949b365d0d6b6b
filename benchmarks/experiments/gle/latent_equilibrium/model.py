"""Latent equilibrium, tau_m = tau_r, on images, by dense layers and by LeNet-5 (Haider et al. 2021)."""

import dataclasses
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

import gle
from benchmarks import datasets
from benchmarks.datasets import DataSet
from benchmarks.errors import InvalidInput
from benchmarks.training import Metrics, Training, count_batches, outcome, scan_state, shuffled_batches, train
from gle import RESULTS

DT = 0.1
TAU = 1.0
CLASSES = 10


@dataclasses.dataclass(frozen=True)
class Dense:
    """MNIST, dense layers in latent equilibrium.

    Neurons without lag follow an image as soon as it is shown, although their membranes need ten steps to charge: each
    batch is shown for `presentation` steps, learned at every one of them, and the state goes on to the next.
    """

    dataset: ClassVar[str] = "mnist"
    hidden: tuple[int, ...] = (300, 100)
    epochs: int = 20
    batch_size: int = 100
    presentation: int = 2
    learning_rate: float = 1e-3
    """Adam's, at the start, per time step; it falls to zero along a cosine."""
    backpropagation: bool = False
    """Whether the same network learns by backpropagation through its equilibrium, as often as it else has time steps.
    As errors do not act on the membranes here, this is the same up to rounding."""


@dataclasses.dataclass(frozen=True)
class LeNet5(Dense):
    """MNIST, LeNet-5 in latent equilibrium.

    Two convolutions of 6 and 16 maps with average pooling, and dense layers.
    """

    hidden: tuple[int, ...] = (120, 84)
    epochs: int = 5


@dataclasses.dataclass(frozen=True)
class Subset(LeNet5):
    """LeNet-5 on a subset of CIFAR-10.

    Of 3500 training images, so its accuracy compares with no published one.
    """

    dataset: ClassVar[str] = "cifar10_subset"
    epochs: int = 20


class State(eqx.Module):
    """What changes in training."""

    learner: gle.Learner
    key: PRNGKeyArray
    result: gle.RESULTS


class LatentEquilibriumTraining(Training):
    """The training problem of a configuration, whose float fields may be traced."""

    epochs: int
    steps_per_epoch: int
    config: Dense
    shape: tuple[int, int, int]
    """Of an image: channels, height, width."""
    train_set: tuple[Float[Array, "samples pixels"], Int[Array, " samples"]]
    validation_set: tuple[Float[Array, "samples pixels"], Int[Array, " samples"]]
    test_set: tuple[Float[Array, "samples pixels"], Int[Array, " samples"]]

    def __init__(self, config: Dense, data: DataSet | None = None):
        if config.presentation < 1:
            raise InvalidInput(f"presentation must be at least 1 step, but is {config.presentation}.")
        data = datasets.load(config.dataset) if data is None else data
        self.config, self.epochs = config, config.epochs
        self.shape = data.train.maps().shape[1:]
        self.train_set, self.validation_set, self.test_set = (
            (jnp.asarray(split.maps().reshape(len(split), -1) / 255, dtype=float), jnp.asarray(split.labels))
            for split in (data.train, data.validation, data.test)
        )
        self.steps_per_epoch = count_batches(len(data.train), config.batch_size) * config.presentation

    def init(self, key: PRNGKeyArray) -> State:
        network_key, key = jax.random.split(key)
        network = build(self.config, self.shape, network_key)
        learner = gle.start(network, self._optimiser(), batch=(self.config.batch_size,))
        return State(learner, key, gle.RESULTS.successful)

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        del number
        key, shuffle = jax.random.split(state.key)
        batches = shuffled_batches(shuffle, self.train_set[1].shape[0], self.config.batch_size)
        state, costs = scan_state(self._batch, State(state.learner, key, state.result), batches)
        loss, accuracy = judge(state.learner.network, *self.validation_set)
        return state, {"train_loss": jnp.mean(costs), "validation_loss": loss, "validation_accuracy": accuracy}

    def finish(self, state: State) -> tuple[Metrics, gle.Network, RESULTS]:
        loss, accuracy = judge(state.learner.network, *self.test_set)
        return {"test_accuracy": accuracy, "test_loss": loss}, state.learner.network, outcome(state.result)

    def _batch(self, state: State, samples: Int[Array, " batch"]) -> tuple[State, Float[Array, ""]]:
        images, labels = (x[samples] for x in self.train_set)
        targets = jax.nn.one_hot(labels, CLASSES, dtype=images.dtype)
        if self.config.backpropagation:
            return self._backpropagate(state, images, targets)
        stream, target = (jnp.broadcast_to(x, (self.config.presentation, *x.shape)) for x in (images, targets))
        learner, logits, result = gle.online(
            state.learner, stream, target, dt=DT, optimiser=self._optimiser(), throw=False
        )
        worst = gle.RESULTS.where(state.result == gle.RESULTS.successful, result, state.result)
        cost = jnp.mean(learner.network.cost(logits[0], targets, jax.nn.softmax))
        return State(learner, state.key, worst), cost

    def _backpropagate(self, state: State, images: Array, targets: Array) -> tuple[State, Float[Array, ""]]:
        """`presentation` steps with the gradients of JAX."""

        def cost(network):
            return jnp.mean(network.cost(network.equilibrium(images).u[-1], targets, jax.nn.softmax))

        def step(learner, _):
            network, rest, memory = learner
            loss, gradient = eqx.filter_value_and_grad(cost)(network)
            updates, memory = self._optimiser().update(gradient, memory)
            return gle.Learner(eqx.apply_updates(network, updates), rest, memory), loss

        learner, costs = scan_state(step, state.learner, jnp.arange(self.config.presentation))
        return State(learner, state.key, state.result), costs[-1]

    def _optimiser(self) -> optax.GradientTransformation:
        rate = optax.cosine_decay_schedule(self.config.learning_rate, self.epochs * self.steps_per_epoch)
        return gle.weights_only(optax.adam(rate))


def build(config: Dense, shape: tuple[int, int, int], key: PRNGKeyArray) -> gle.Network:
    """Hidden layers of tanh neurons, softmax outputs, all with tau_m = tau_r, for images [channels, height, width]."""
    keys = iter(jax.random.split(key, len(config.hidden) + 3))
    connections: list[gle.AbstractConnection] = []
    sources = int(np.prod(shape))
    if isinstance(config, LeNet5):
        first = gle.Conv2d.init(shape, 6, 5, pool=2, key=next(keys))
        connections = [first, gle.Conv2d.init(first.map_shape, 16, 5, pool=2, key=next(keys))]
        sources = connections[-1].neurons
    for neurons in (*config.hidden, CLASSES):
        connections.append(gle.Dense.init(sources, neurons, key=next(keys)))
        sources = neurons
    activations = [jnp.tanh] * (len(connections) - 1) + [jax.nn.softmax]
    layers = [gle.Layer(connection, TAU, TAU, phi) for connection, phi in zip(connections, activations, strict=True)]
    return gle.Network(layers, gle.CrossEntropy())


def judge(
    network: gle.Network, images: Float[Array, "samples pixels"], labels: Int[Array, " samples"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean cross-entropy and accuracy in equilibrium, which such a network shows from the first moment on."""
    still = network.frozen()
    logits = jax.lax.map(lambda image: still.equilibrium(image).u[-1], images, batch_size=500)
    loss = jnp.mean(network.cost(logits, jax.nn.one_hot(labels, CLASSES, dtype=logits.dtype), jax.nn.softmax))
    return loss, jnp.mean(jnp.argmax(logits, axis=-1) == labels)


def latent_equilibrium(config: Dense, key: PRNGKeyArray) -> tuple[Metrics, gle.Network, RESULTS]:
    """Train and judge one network."""
    return train(LatentEquilibriumTraining(config), key)
