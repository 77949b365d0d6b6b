"""A training that takes no time: linear regression on noisy minibatches. `python -m tests.benchmarks.toy` runs it."""

import dataclasses
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from benchmarks.card import Card, Published
from benchmarks.cli import main
from benchmarks.training import RESULTS, Training, train

OPTIMISER = optax.adam(1.0)


@dataclasses.dataclass(frozen=True)
class Toy:
    """Linear regression."""

    epochs: int = 6
    """Passes over the data."""
    learning_rate: float = 0.1
    fail: int = -1
    """The seed whose weights become NaN in the second epoch."""


class ToyTraining(Training):
    x: Float[Array, "samples inputs"]
    y: Float[Array, " samples"]
    learning_rate: float
    fail: int
    epochs: int
    steps_per_epoch: int = 4

    def __init__(self, config: Toy):
        self.x = jnp.asarray(np.random.default_rng(0).normal(size=(32, 3)))
        self.y = self.x @ jnp.array([1.0, -2.0, 0.5])
        self.learning_rate = config.learning_rate
        self.fail = config.fail
        self.epochs = config.epochs

    def init(self, key):
        weights = jax.random.uniform(key, (3,))
        broken = jnp.array_equal(jax.random.key_data(key), jax.random.key_data(jax.random.key(max(self.fail, 0))))
        # An empty array, a weakly typed scalar and a function: what states of real trainings may hold, too.
        extra = {"empty": jnp.zeros((0,)), "weak": jnp.asarray(1.0), "function": jnp.tanh}
        return weights, OPTIMISER.init(weights), key, broken & (self.fail >= 0), extra

    def epoch(self, state, number):
        weights, moments, key, broken, extra = state

        def step(carry, index):
            weights, moments = carry
            loss, gradient = jax.value_and_grad(self.loss)(weights, index)
            updates, moments = OPTIMISER.update(gradient, moments)
            return (weights + self.learning_rate * updates, moments), loss

        key, subkey = jax.random.split(key)
        batches = jax.random.randint(subkey, (self.steps_per_epoch, 8), 0, 32)
        (weights, moments), losses = jax.lax.scan(step, (weights, moments), batches)
        weights = jnp.where(broken & (number == 1), jnp.nan, weights)
        metrics = {"train_loss": losses.mean(), "validation_accuracy": self.accuracy(weights)}
        return (weights, moments, key, broken, extra), metrics

    def finish(self, state):
        weights = state[0]
        return {"test_accuracy": self.accuracy(weights)}, Line(weights), RESULTS.successful

    def loss(self, weights, index):
        return jnp.mean((self.x[index] @ weights - self.y[index]) ** 2)

    def accuracy(self, weights):
        return jnp.exp(-jnp.mean((self.x @ weights - self.y) ** 2))


class Line(eqx.Module):
    weights: Float[Array, " inputs"]


def draw(config, fit, directory):
    del config
    (directory / "figure.png").write_bytes(repr(sorted(fit.history)).encode())


TOY = Card(
    name="toy",
    config=Toy,
    function=lambda config, key: train(ToyTraining(config), key),
    training=ToyTraining,
    figures=draw,
    published=(Published(metric="test_accuracy", mean=0.9, std=0.01, seeds=10, source="nowhere"),),
)
PIECE = Card(name="piece", config=Toy, function=TOY.function)
EXPERIMENTS = {"toy": TOY, "piece": PIECE}

if __name__ == "__main__":
    sys.exit(main(experiments=EXPERIMENTS))
