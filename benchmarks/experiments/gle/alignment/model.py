"""How GLE's gradients are aligned with the exact ones, layer by layer, while a deep network learns MNIST-1D."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

import gle
from benchmarks.datasets import DataSet
from benchmarks.experiments.gle.mnist1d.model import CLASSES, DT, MNIST1DTraining, WithoutDelays
from benchmarks.experiments.gle.streaming import State
from benchmarks.training import Metrics, Training, train
from gle import RESULTS

RULES = {"gle": gle.Step(), "instantaneous": gle.Instantaneous()}
SAMPLES = 100
"""Validation samples over which gradients are taken."""


@dataclasses.dataclass(frozen=True)
class Alignment(WithoutDelays):
    """MNIST-1D, angles between GLE and the exact gradients.

    After every epoch, the gradients that the averaged network would learn from during a hundred streams, its weights
    held, are compared with those of backpropagation through time: GLE's, and those of instantaneous errors.
    """

    hidden: tuple[int, ...] = (17, 18, 18)
    epochs: int = 20


class AlignmentTraining(Training):
    """The training problem of a configuration: MNIST-1D's, with the cosines as metrics."""

    epochs: int
    steps_per_epoch: int
    single: MNIST1DTraining

    def __init__(self, config: Alignment, data: DataSet | None = None):
        self.single = MNIST1DTraining(config, data)
        self.epochs, self.steps_per_epoch = config.epochs, self.single.steps_per_epoch

    def init(self, key: PRNGKeyArray) -> State:
        return self.single.init(key)

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        state, metrics = self.single.epoch(state, number)
        inputs, labels = (x[:SAMPLES] for x in self.single.validation_set)
        stream, target = inputs.T[..., None], jax.nn.one_hot(labels, CLASSES, dtype=inputs.dtype)
        found = compare(state.average, stream, jnp.broadcast_to(target, (len(stream), *target.shape)))
        by_layer = {f"{name}_cosine_{n}": x for name, rule in found.items() for n, x in enumerate(rule.cosines, 1)}
        by_layer |= {f"error_{n}": x for n, x in enumerate(found["gle"].errors, 1)}
        return state, {
            "validation_accuracy": metrics["validation_accuracy"],
            "energy": found["gle"].energy,
            **by_layer,
        }

    def finish(self, state: State) -> tuple[Metrics, gle.Network, RESULTS]:
        """As MNIST-1D's, but without a look at the test split."""
        _, network, result = self.single.finish(state)
        return {}, network, result


class Comparison(NamedTuple):
    """A rule beside the exact gradient; means are over time and streams."""

    cosines: Float[Array, " layers"]
    """Of the angle between the gradients of a layer's weights and biases."""
    errors: Float[Array, " layers"]
    """Root mean square of the errors e of a layer's neurons."""
    energy: Float[Array, ""]
    """The mean of E."""


def compare(
    network: gle.Network, inputs: Float[Array, "time batch 1"], targets: Float[Array, "time batch classes"]
) -> dict[str, Comparison]:
    """What each rule sums up over streams, which begin at rest under their first input and target."""
    u = network.equilibrium(inputs[0], targets[0]).u
    exact = _by_layer(gle.bptt(network, inputs, targets, dt=DT, u=u)[1])

    def cosine(x, y):
        return jnp.sum(x * y) / (jnp.linalg.norm(x) * jnp.linalg.norm(y))

    found = {}
    for name, stepper in RULES.items():
        learner = gle.settle(gle.start(network, stepper=stepper), inputs[0], targets[0], stepper=stepper)
        _, (gradients, squares, energies), _ = gle.online(
            learner, inputs, targets, dt=DT, stepper=stepper, observe=_observe(targets[0]), throw=False
        )
        summed = _by_layer(jax.tree.map(lambda x: jnp.sum(x, axis=0), gradients))
        found[name] = Comparison(
            cosines=jnp.stack([cosine(x, y) for x, y in zip(summed, exact, strict=True)]),
            errors=jnp.sqrt(jnp.mean(squares, axis=0)),
            energy=jnp.mean(energies),
        )
    return found


def _observe(target: Float[Array, "batch classes"]) -> Callable[[gle.Network, gle.Signals], Any]:
    """Gradients, mean squared errors of each layer, and energy, under a constant target."""

    def observe(network: gle.Network, signals: gle.Signals) -> Any:
        squares = jnp.stack([jnp.mean(error**2) for error in signals.error])
        return network.plasticity(signals), squares, jnp.mean(network.energy(signals, target))

    return observe


def _by_layer(gradient: gle.Network) -> list[Float[Array, " parameters"]]:
    connections = [layer.connection for layer in gradient.layers]
    return [jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(connection)]) for connection in connections]


def gle_alignment(config: Alignment, key: PRNGKeyArray) -> tuple[Metrics, gle.Network, RESULTS]:
    """Train one network and compare its gradients."""
    return train(AlignmentTraining(config), key)
