"""MNIST-1D with networks of several widths and depths (Ellenberger et al. 2024, Fig. 9a-c)."""

import dataclasses
import itertools

import equinox as eqx
from jaxtyping import PRNGKeyArray

import gle
from benchmarks.datasets import DataSet
from benchmarks.experiments.gle.mnist1d.family import Family
from benchmarks.experiments.gle.mnist1d.model import MNIST1D, POPULATIONS, MNIST1DTraining
from benchmarks.training import Metrics, train
from gle import RESULTS


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


class ScalingTraining(Family):
    """The training problem of a configuration: one network of each size."""

    def __init__(self, config: Scaling, data: DataSet | None = None):
        configs = members(config)
        first = MNIST1DTraining(next(iter(configs.values())), data)
        # The data are held once.
        super().__init__({name: eqx.tree_at(lambda x: x.config, first, member) for name, member in configs.items()})


def gle_scaling(config: Scaling, key: PRNGKeyArray) -> tuple[Metrics, dict[str, gle.Network], RESULTS]:
    """Train and judge the networks of one seed."""
    return train(ScalingTraining(config), key)
