"""Yin-Yang and MNIST by circuits that differ in their feedback weights (Max et al. 2024, Fig. 4c-f), reduced."""

import dataclasses
import itertools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

import gle
from benchmarks import datasets
from benchmarks.datasets import DataSet
from benchmarks.experiments.gle.five_ways import METHODS, Samples, State, splits, through
from benchmarks.experiments.gle.pal.circuits import Rates, angle, begin, circuit, dream, rules, teach
from benchmarks.training import Metrics, Training, count_batches, shuffled_batches, train
from gle import RESULTS


@dataclasses.dataclass(frozen=True)
class YinYang(Rates):
    """Yin-Yang by microcircuits, feedback in five ways.

    All circuits start from the same W, and but for bp from the same B, drawn uniformly within 1 / sqrt(sources), and
    see the same noise.
    """

    dataset: ClassVar[str] = "yinyang"
    hidden: int = 30
    samples: int = 2000
    """Of the training set, the first ones."""


@dataclasses.dataclass(frozen=True)
class Mnist(YinYang):
    """MNIST by microcircuits, feedback in five ways."""

    dataset: ClassVar[str] = "mnist"
    hidden: int = 100
    batch_size: int = 50
    epochs: int = 10
    lower_rate: float = 100.0
    upper_rate: float = 0.2
    to_inter_rate: float = 0.5
    from_inter_rate: float = 2.0
    kp_decay: float = 5e-3


class ClassificationTraining(Training):
    """The problem of a configuration."""

    epochs: int
    steps_per_epoch: int
    config: YinYang
    classes: int
    train_set: Samples
    validation_set: Samples
    test_set: Samples

    def __init__(self, config: YinYang, data: DataSet | None = None):
        data = datasets.load(config.dataset) if data is None else data
        self.config, self.epochs, self.classes = config, config.epochs, len(data.classes)
        self.train_set, self.validation_set, self.test_set = splits(data, config.samples)
        self.steps_per_epoch = count_batches(config.samples, config.batch_size)

    def init(self, key: PRNGKeyArray) -> State:
        keys, config = jax.random.split(key, 4), self.config
        sizes = (self.train_set[0].shape[1], config.hidden, self.classes)
        drawn = lambda key, shape, bound: jax.random.uniform(key, shape, minval=-bound, maxval=bound)  # noqa: E731
        shapes = [(neurons, sources) for sources, neurons in itertools.pairwise(sizes)]
        *up, back = (drawn(k, n, 1 / np.sqrt(n[1])) for k, n in zip(keys, (*shapes, shapes[1]), strict=False))
        learners = {name: begin(circuit(name, up, [back]), name, config) for name in METHODS}
        return State(learners, keys[3], RESULTS.successful)

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        del number
        key, order, noise, twin = jax.random.split(state.key, 4)
        batches = shuffled_batches(order, self.config.samples, self.config.batch_size)
        keys = jax.random.split(noise, len(batches))

        def learn(name: str) -> Any:
            rule = rules(name, self.config)

            def step(learner, samples, key):
                inputs, labels = (x[samples] for x in self.train_set)
                targets = jnp.where(jax.nn.one_hot(labels, self.classes) > 0, 1.0, 0.1)
                return teach(learner, rule, self.config, inputs, targets, key)

            return step

        def measure(name: str, network: gle.Microcircuit) -> Metrics:
            right = accuracy(network, *self.validation_set)
            return {f"validation_accuracy_{name}": right, f"angle_{name}": angle(network)}

        return through(state, key, (batches, keys), lambda x: dream(x, self.config, twin), learn, measure)

    def finish(self, state: State) -> tuple[Metrics, dict[str, gle.Microcircuit], RESULTS]:
        circuits = {name: learner.network for name, learner in state.learners.items()}
        metrics = {f"test_accuracy_{name}": accuracy(x, *self.test_set) for name, x in circuits.items()}
        return metrics, circuits, state.result


def accuracy(network: gle.Microcircuit, inputs: Array, labels: Array) -> Float[Array, ""]:
    """At rest, without a target."""
    outputs = network.equilibrium(inputs, throw=False).pyramidal[-1]
    return jnp.mean(jnp.argmax(outputs, axis=-1) == labels)


def classification(config: YinYang, key: PRNGKeyArray) -> tuple[Metrics, dict[str, gle.Microcircuit], RESULTS]:
    """Train one circuit per method."""
    return train(ClassificationTraining(config), key)
