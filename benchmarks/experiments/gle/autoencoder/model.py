"""An autoencoder in latent equilibrium with two latent neurons (Max et al. 2024, Fig. 5), reduced."""

import dataclasses
import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

import gle
import sal
from benchmarks import datasets
from benchmarks.datasets import DataSet
from benchmarks.experiments.gle.five_ways import METHODS, Samples, State, feedback, nothing, splits, through
from benchmarks.training import Metrics, Training, count_batches, shuffled_batches, train
from gle import RESULTS

DT, TAU = 0.1, 1.0
NOISE, NOISE_TIME = 0.01, DT
"""New in every step; the rates are high-passed by the same time constant."""
CODE, CLASSES = 1, 10
"""The layer of the two latent neurons, and how many digits there are."""


@dataclasses.dataclass(frozen=True)
class Autoencoder:
    """Digits by two latent neurons, feedback in five ways.

    784-200-2-200-784, tanh, linear in the second and fourth layer. Each batch is shown from rest, the errors of all its
    steps make one step of Adam. All networks start from the same W, and but for bp from the same B, and see the same
    noise. A linear classifier then reads the digit from the latent neurons.
    """

    hidden: int = 200
    samples: int = 5000
    """Of the training set, the first ones."""
    epochs: int = 10
    batch_size: int = 32
    presentation: int = 5
    """Steps."""
    learning_rate: float = 2e-3
    kp_decay: float = 0.1
    """Of W and B, by Kolen and Pollack, per step and learning rate."""
    pal_steps: float = 500.0
    """How many steps B remembers: 1 / (rate decay) of phaseless alignment."""
    sal_rate: float = 0.3
    sal_duration: float = 1000.0
    """Of the spiking twin, in ms per epoch and replica, of 32."""


class AutoencoderTraining(Training):
    """The problem of a configuration."""

    epochs: int
    steps_per_epoch: int
    config: Autoencoder
    train_set: Samples
    validation_set: Samples
    test_set: Samples

    def __init__(self, config: Autoencoder, data: DataSet | None = None):
        data = datasets.load("mnist") if data is None else data
        self.config, self.epochs = config, config.epochs
        self.train_set, self.validation_set, self.test_set = splits(data, config.samples)
        self.steps_per_epoch = count_batches(config.samples, config.batch_size)

    def init(self, key: PRNGKeyArray) -> State:
        network_key, key = jax.random.split(key)
        stepper, batch = gle.Exploring(NOISE, NOISE_TIME, key), (self.config.batch_size,)
        pixels = self.train_set[0].shape[1]
        sizes = (pixels, self.config.hidden, 2, self.config.hidden, pixels)
        learners = {
            name: gle.start(build(name, sizes, network_key), rules(name, self.config), stepper=stepper, batch=batch)
            for name in METHODS
        }
        return State(learners, key, RESULTS.successful)

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        del number
        key, order, noise, twin = jax.random.split(state.key, 4)
        batches = shuffled_batches(order, self.config.samples, self.config.batch_size)
        keys = jax.random.split(noise, len(batches))

        def learn(name: str) -> Any:
            rule = rules(name, self.config)
            return lambda learner, samples, key: self._show(learner, rule, self.train_set[0][samples], key)

        def measure(name: str, network: gle.Network) -> Metrics:
            loss = judge(network, self.validation_set[0])[1]
            return {f"validation_loss_{name}": loss, f"angle_{name}": angle(network)}

        return through(state, key, (batches, keys), lambda x: dream(x, self.config, twin), learn, measure)

    def _show(
        self, learner: gle.Learner, rule: optax.GradientTransformation, images: Array, key: PRNGKeyArray
    ) -> tuple[gle.Learner, RESULTS]:
        stepper = gle.Exploring(NOISE, NOISE_TIME, key)
        learner = gle.settle(learner, images, images, stepper=stepper, throw=False)
        stream = jnp.broadcast_to(images, (self.config.presentation, *images.shape))
        learner, _, result = gle.online(
            learner, stream, stream, dt=DT, optimiser=rule, stepper=stepper, observe=nothing, throw=False
        )
        return learner, result

    def finish(self, state: State) -> tuple[Metrics, dict[str, gle.Network], RESULTS, dict[str, Array]]:
        """The record holds the latent potentials of the test set, and its labels."""
        metrics, record = {}, {"labels": self.test_set[1]}
        networks = {name: learner.network for name, learner in state.learners.items()}
        for name, network in networks.items():
            codes, labels = judge(network, self.train_set[0])[0], self.train_set[1]
            read = classifier(codes, labels)
            for split, (images, labels) in (("validation", self.validation_set), ("test", self.test_set)):
                codes, loss = judge(network, images)
                metrics[f"{split}_accuracy_{name}"] = jnp.mean(jnp.argmax(read(codes), axis=-1) == labels)
                metrics[f"{split}_loss_{name}"] = loss
                record[name] = codes
        return metrics, networks, state.result, record


def build(method: str, sizes: tuple[int, ...], key: PRNGKeyArray) -> gle.Network:
    """Layers in latent equilibrium; only W of the first one has nobody to send errors to."""
    layers = []
    for number, (sources, neurons) in enumerate(itertools.pairwise(sizes)):
        forward, backward = jax.random.split(jax.random.fold_in(key, number))
        connection = gle.Dense.init(sources, neurons, key=forward)
        bound = 1 / np.sqrt(sources)
        b = gle.Dense(jax.random.uniform(backward, (neurons, sources), minval=-bound, maxval=bound), None)
        back = feedback(method, b) if number else gle.Transpose()
        activation = gle.linear if number % 2 else jnp.tanh
        layers.append(gle.Layer(connection, TAU, TAU, activation, feedback=back))
    return gle.Network(layers, gle.MeanSquaredError())


def rules(method: str, config: Autoencoder) -> optax.GradientTransformation:
    """W by Adam, once per batch; B by Kolen-Pollack with it, or by phaseless alignment at every step."""
    decay = config.kp_decay if method == "kp" else 0.0
    adam = optax.MultiSteps(optax.adamw(config.learning_rate, weight_decay=decay), config.presentation)
    weights: Any = adam.gradient_transformation()
    transforms = {"up": weights, "back": weights if method == "kp" else optax.set_to_zero()}
    rule = optax.partition({**transforms, "fixed": optax.set_to_zero()}, _label)
    if method != "pal":
        return rule
    return optax.chain(rule, gle.phaseless(1 / (config.pal_steps * NOISE**2), NOISE**2))


def _label(network: Any) -> Any:
    kinds = {"connection": "up", "feedback": "back"}

    def label(path: Any, _: Any) -> str:
        return kinds.get(getattr(path[2], "name", ""), "fixed") if len(path) > 2 else "fixed"

    return jax.tree_util.tree_map_with_path(label, eqx.filter(network, eqx.is_inexact_array))


def dream(learner: gle.Learner, config: Autoencoder, key: PRNGKeyArray) -> gle.Learner:
    """The learner with the B that a spiking twin of all layers but the lowest has learned."""
    twin = sal.SALNet(config.sal_rate, updates=1, duration=config.sal_duration)
    forward: list[Any] = [layer.connection for layer in learner.network.layers[1:]]
    places = lambda network: [layer.feedback.connection.weight for layer in network.layers[1:]]  # noqa: E731
    back = twin.learn([x.weight for x in forward], [x.bias for x in forward], places(learner.network), key)
    return learner._replace(network=eqx.tree_at(places, learner.network, back))


def angle(network: gle.Network) -> Float[Array, ""]:
    """Between W and B, in degrees, the mean of all layers that have a B."""
    layers: Any = network.layers[1:]
    weights = [layer.connection.weight for layer in layers]
    if isinstance(layers[0].feedback, gle.Transpose):
        return jnp.zeros(())
    backs = [layer.feedback.connection.weight for layer in layers]
    return jnp.mean(jnp.stack([sal.angle(w, b) for w, b in zip(weights, backs, strict=True)]))


def judge(network: gle.Network, images: Float[Array, "samples pixels"]) -> tuple[Array, Float[Array, ""]]:
    """(latent potentials [samples, 2], mean squared error of a pixel)."""
    u = network.frozen().equilibrium(images).u
    return u[CODE], jnp.mean((u[-1] - images) ** 2)


def classifier(codes: Float[Array, "samples 2"], labels: Int[Array, " samples"]):
    """Logistic regression: from codes to logits."""
    mean, scale = jnp.mean(codes, axis=0), jnp.std(codes, axis=0) + 1e-6
    rule = optax.adam(0.1)

    def logits(w: Array, codes: Array) -> Array:
        x = (codes - mean[None]) / scale[None]
        return jnp.concatenate([x, jnp.ones_like(x[:, :1])], axis=1) @ w

    def loss(w: Array) -> Array:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits(w, codes), labels))

    def step(carry: Any, _: Any) -> tuple[Any, None]:
        w, memory = carry
        updates, memory = rule.update(jax.grad(loss)(w), memory)
        return (optax.apply_updates(w, updates), memory), None

    w = jnp.zeros((codes.shape[1] + 1, CLASSES), codes.dtype)
    (w, _), _ = jax.lax.scan(step, (w, rule.init(w)), length=500)
    return lambda codes: logits(w, codes)


def autoencoder(config: Autoencoder, key: PRNGKeyArray) -> tuple[Metrics, dict[str, gle.Network], RESULTS]:
    """Train one network per method."""
    return train(AutoencoderTraining(config), key)
