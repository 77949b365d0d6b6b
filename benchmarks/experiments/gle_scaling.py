"""MNIST-1D with networks of several widths and depths (Ellenberger et al. 2024, Fig. 9a-c)."""

import dataclasses
import itertools
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

import gle
from benchmarks.datasets import DataSet
from benchmarks.experiment import Experiment
from benchmarks.experiments.gle_mnist1d import MNIST1D, POPULATIONS, MNIST1DTraining, State
from benchmarks.training import Metrics, Training, outcome, train
from eventprop import RESULTS


@dataclasses.dataclass(frozen=True)
class Scaling:
    """MNIST-1D, networks of several widths and depths.

    Smaller and shorter than the paper's, whose widths are 32 to 512 and whose depths 2 to 10, for 150 epochs. Apart
    from the size, everything is as in gle-mnist1d.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    """Neurons of a hidden layer."""
    depths: tuple[int, ...] = (2, 4, 6, 8)
    """Hidden layers."""
    epochs: int = 20
    batch_size: int = 100
    learning_rate: float = 1e-3
    """Adam's, at the start, per time step."""


def members(config: Scaling) -> dict[str, MNIST1D]:
    """The configuration of each network, by name. Populations are as equal as possible."""
    kinds = len(POPULATIONS)
    return {
        f"{width}x{depth}": MNIST1D(
            hidden=tuple((width + number) // kinds for number in range(kinds)),
            layers=depth,
            epochs=config.epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
        )
        for width, depth in itertools.product(config.widths, config.depths)
    }


class ScalingTraining(Training):
    """The training problem of a configuration: one network of each size."""

    epochs: int
    steps_per_epoch: int
    trainings: dict[str, MNIST1DTraining]

    def __init__(self, config: Scaling, data: DataSet | None = None):
        configs = members(config)
        first = MNIST1DTraining(next(iter(configs.values())), data)
        self.epochs, self.steps_per_epoch = config.epochs, first.steps_per_epoch * len(configs)
        # The data are held once.
        self.trainings = {name: eqx.tree_at(lambda x: x.config, first, member) for name, member in configs.items()}

    def init(self, key: PRNGKeyArray) -> dict[str, State]:
        return {name: training.init(key) for name, training in self.trainings.items()}

    def epoch(self, state: dict[str, State], number: Int[Array, ""]) -> tuple[dict[str, State], Metrics]:
        after, accuracies = {}, {}
        for name, training in self.trainings.items():
            after[name], metrics = training.epoch(state[name], number)
            accuracies[f"{name}_accuracy"] = metrics["validation_accuracy"]
        return after, accuracies

    def finish(self, state: dict[str, State]) -> tuple[Metrics, dict[str, gle.Network], RESULTS]:
        """No metrics: the test split is for the network of the paper's size."""
        results = [outcome(one.result) for one in state.values()]
        well = jnp.all(jnp.stack([result == RESULTS.successful for result in results]))
        result = RESULTS.where(well, RESULTS.successful, RESULTS.non_finite)
        return {}, {name: one.average for name, one in state.items()}, result


def gle_scaling(config: Scaling, key: PRNGKeyArray) -> tuple[Metrics, dict[str, gle.Network], RESULTS]:
    """Train and judge the networks of one seed."""
    return train(ScalingTraining(config), key)


def draw(config: Scaling, fit: Any, directory: Any) -> None:
    """The run's figure."""
    from benchmarks.experiments.gle_scaling_figures import draw_sizes  # matplotlib only where it is needed

    draw_sizes(config, fit.history).savefig(directory / "sizes.png", dpi=130)


SCALING = Experiment(
    name="gle-scaling",
    config=Scaling,
    function=gle_scaling,
    training=ScalingTraining,
    figures=draw,
)
