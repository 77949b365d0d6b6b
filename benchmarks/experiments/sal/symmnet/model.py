"""Weight transport in a deep network: seven ways to get backward weights (Gierlich et al., section 4.5, Table 5)."""

import dataclasses
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from benchmarks import datasets
from benchmarks.datasets import DataSet, Split
from benchmarks.errors import InvalidInput
from benchmarks.experiments.sal.symmnet.network import BatchNorm, ConvNet
from benchmarks.training import Metrics, Training, count_batches, scan_state, shuffled_batches, train
from sal import RESULTS
from sal.feedback import dense_layers, plastic_leaves, with_feedback
from sal.rdd import RDDNet
from sal.symmnet import AbstractTwin, SALNet, symmetrize
from sal.transports import Fixed, KolenPollack, SignConcordant, Transpose

JUDGED = 64
"""Images that are judged at a time."""

# Of each method: the transport of the convolutions, and that of the dense layers.
TRANSPORTS = {
    "bp": (Transpose, Transpose),
    "bp_fa": (Fixed, Transpose),
    "fa": (Fixed, Fixed),
    "scfa": (Fixed, SignConcordant),
    "kp": (Fixed, KolenPollack),
    "sal": (Fixed, Fixed),
    "rdd": (Fixed, Fixed),
}


@dataclasses.dataclass(frozen=True)
class SymmNet:
    """Deep network with backward weights of its own.

    Two convolutions and three dense layers (Table 3). The method decides on the backward weights of the dense layers:
    exact (bp, bp_fa), random (fa), random with the signs of the forward weights (scfa), learned by Kolen-Pollack's rule
    (kp), or in a spiking twin before each epoch, by SAL (sal) or regression discontinuity (rdd). Those of the
    convolutions are random, but exact for bp.
    """

    method: str = "sal"
    """bp, bp_fa, fa, scfa, kp, sal or rdd."""
    dataset: ClassVar[str] = "fashion_mnist"
    epochs: int = 10
    """The published training has 200."""
    batch_size: int = 64
    learning_rate: float = 0.01
    momentum: float = 0.9
    decay: float = 1e-3
    """lambda of Kolen-Pollack's rule: a part of the gradient, which the learning rate multiplies."""
    sal_rate: float = 0.04
    """eta_SAL."""
    sal_updates: int = 5
    """SAL's updates per epoch."""
    sal_duration: float = 2000.0
    """Of network time per update, in ms, times the replicas."""
    replicas: int = 32
    """Spiking networks side by side."""


@dataclasses.dataclass(frozen=True)
class Subset(SymmNet):
    """Smoke test of the methods on a subset of CIFAR-10.

    Its accuracy compares with no published one.
    """

    dataset: ClassVar[str] = "cifar10_subset"
    epochs: int = 2
    sal_updates: int = 1


class State(eqx.Module):
    """What changes in training."""

    network: ConvNet
    optimiser: optax.OptState
    key: PRNGKeyArray


class SymmNetTraining(Training):
    """The training problem of a configuration, whose float fields may be traced."""

    epochs: int
    steps_per_epoch: int
    config: SymmNet
    train_set: tuple[Float[Array, "samples channels height width"], Int[Array, " samples"]]
    validation_set: tuple[Float[Array, "samples channels height width"], Int[Array, " samples"]]
    test_set: tuple[Float[Array, "samples channels height width"], Int[Array, " samples"]]

    def __init__(self, config: SymmNet, data: DataSet | None = None):
        if config.method not in TRANSPORTS:
            raise InvalidInput(f"method must be one of {', '.join(TRANSPORTS)}, but is {config.method!r}.")
        data = datasets.load(config.dataset) if data is None else data
        mean, deviation = np.mean(data.train.features), np.std(data.train.features)

        def normalised(split: Split) -> tuple[Array, Array]:
            images = (split.maps().astype(np.float32) - mean) / deviation
            return jnp.asarray(images, float), jnp.asarray(split.labels)

        self.config, self.epochs = config, config.epochs
        self.train_set, self.validation_set, self.test_set = map(normalised, (data.train, data.validation, data.test))
        self.steps_per_epoch = count_batches(len(data.train), config.batch_size)

    def init(self, key: PRNGKeyArray) -> State:
        network_key, feedback_key, dense_key, key = jax.random.split(key, 4)
        convolutions, dense = TRANSPORTS[self.config.method]
        network = ConvNet(self.train_set[0].shape[1:], network_key)
        network = with_feedback(network, convolutions, key=feedback_key)
        network = with_feedback(network, dense, key=dense_key, where=dense_layers)
        return State(network, self._optimiser().init(eqx.filter(network, plastic_leaves(network))), key)

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        del number
        key, twin_key, shuffle = jax.random.split(state.key, 3)
        twin = self._twin()
        network = state.network if twin is None else symmetrize(state.network, twin, key=twin_key)
        batches = shuffled_batches(shuffle, self.train_set[1].shape[0], self.config.batch_size)
        state, losses = scan_state(self._step, State(network, state.optimiser, key), batches)
        loss, accuracy = judge(state.network, *self.validation_set)
        metrics = {"train_loss": jnp.mean(losses), "validation_loss": loss, "validation_accuracy": accuracy}
        angles = {f"angle_{n}": layer.angle for n, layer in enumerate(state.network.dense, start=1)}
        return state, {**metrics, **angles}

    def finish(self, state: State) -> tuple[Metrics, ConvNet, RESULTS]:
        loss, accuracy = judge(state.network, *self.test_set)
        return {"test_accuracy": accuracy, "test_loss": loss}, state.network, RESULTS.successful

    def _step(self, state: State, batch: Int[Array, " batch"]) -> tuple[State, Float[Array, ""]]:
        images, labels = (x[batch] for x in self.train_set)
        parameters, rest = eqx.partition(state.network, plastic_leaves(state.network))

        def loss(parameters: ConvNet) -> tuple[Float[Array, ""], list[BatchNorm]]:
            logits, norms = eqx.combine(parameters, rest).measure(jnp.moveaxis(images, 0, -1))
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), norms

        (value, norms), gradient = eqx.filter_value_and_grad(loss, has_aux=True)(parameters)
        updates, optimiser = self._optimiser().update(gradient, state.optimiser, parameters)
        network = eqx.apply_updates(state.network, updates)
        norms = [norm.averaged(batch) for norm, batch in zip(network.norms, norms, strict=True)]
        return State(eqx.tree_at(lambda network: network.norms, network, norms), optimiser, state.key), value

    def _optimiser(self) -> optax.GradientTransformation:
        sgd = optax.sgd(self.config.learning_rate, self.config.momentum)
        if self.config.method != "kp":
            return sgd

        def of_dense_layers(parameters):
            return jax.tree.map(lambda weights: weights.ndim == 2, parameters)

        return optax.chain(optax.add_decayed_weights(self.config.decay, of_dense_layers), sgd)

    def _twin(self) -> AbstractTwin | None:
        c = self.config
        match c.method:
            case "sal":
                return SALNet(c.sal_rate, c.sal_updates, c.replicas, c.sal_duration)
            case "rdd":
                return RDDNet(replicas=c.replicas)
            case _:
                return None


def judge(
    network: ConvNet, images: Float[Array, "samples channels height width"], labels: Int[Array, " samples"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean cross-entropy, and accuracy."""
    logits = jax.lax.map(lambda image: network(image[..., None])[0], images, batch_size=JUDGED)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return loss, jnp.mean(jnp.argmax(logits, axis=-1) == labels)


def symmnet(config: SymmNet, key: PRNGKeyArray) -> tuple[Metrics, ConvNet, RESULTS]:
    """Train and judge one network."""
    return train(SymmNetTraining(config), key)
