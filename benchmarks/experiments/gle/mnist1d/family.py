"""Several MNIST-1D networks in one run, to be compared."""

from jaxtyping import Array, Int, PRNGKeyArray

import gle
from benchmarks.experiments.gle.mnist1d.model import MNIST1DTraining
from benchmarks.experiments.gle.streaming import State
from benchmarks.training import Metrics, Training, outcome
from gle import RESULTS


class Family(Training):
    """Training problems of the same length, which share the key: the same samples, and the same noise up to its size.

    They take turns epoch by epoch. Side by side, vmapped, their states would not stay in the cache, and a step of each
    would take more than twice as long.
    """

    epochs: int
    steps_per_epoch: int
    members: dict[str, MNIST1DTraining]

    def __init__(self, members: dict[str, MNIST1DTraining]):
        first = next(iter(members.values()))
        self.epochs, self.steps_per_epoch = first.epochs, first.steps_per_epoch * len(members)
        self.members = members

    def init(self, key: PRNGKeyArray) -> dict[str, State]:
        return {name: member.init(key) for name, member in self.members.items()}

    def epoch(self, state: dict[str, State], number: Int[Array, ""]) -> tuple[dict[str, State], Metrics]:
        after, accuracies = {}, {}
        for name, member in self.members.items():
            after[name], metrics = member.epoch(state[name], number)
            accuracies[f"{name}_accuracy"] = metrics["validation_accuracy"]
        return after, accuracies

    def finish(self, state: dict[str, State]) -> tuple[Metrics, dict[str, gle.Network], RESULTS]:
        """No metrics: the test split is for the network of the paper's size, without noise."""
        result = outcome(*(one.result for one in state.values()))
        return {}, {name: one.average for name, one in state.items()}, result
