"""How fast SAL aligns backward weights with constant forward ones (Gierlich et al., Fig. 8)."""

import dataclasses

import equinox as eqx
import jax
from jaxtyping import Array, Int, PRNGKeyArray

from benchmarks.experiment import Experiment
from benchmarks.experiments.sal_symmnet_figures import figure_8
from benchmarks.training import Metrics, Training, train
from eventprop import RESULTS
from sal.feedback import Connection, Fixed, with_feedback
from sal.symmnet import SALNet, symmetrize


@dataclasses.dataclass(frozen=True)
class Alignment:
    """SAL in a spiking network with constant forward weights.

    The weights are those of an untrained network.
    """

    layers: tuple[int, ...] = (1024, 384, 192, 10)
    sal_rate: float = 0.04
    """eta_SAL."""
    epochs: int = 50
    """Updates of the weights."""
    duration: float = 2000.0
    """Of network time per update, in ms, times the replicas."""
    replicas: int = 32


class State(eqx.Module):
    """What changes."""

    chain: list[Connection]
    key: PRNGKeyArray


class AlignmentTraining(Training):
    """The problem of a configuration, whose float fields may be traced; an epoch is an update."""

    epochs: int
    steps_per_epoch: int
    config: Alignment

    def __init__(self, config: Alignment):
        if len(config.layers) != 4:
            raise ValueError(f"layers must be four numbers of neurons, but are {config.layers}.")
        self.config, self.epochs, self.steps_per_epoch = config, config.epochs, round(config.duration)

    def init(self, key: PRNGKeyArray) -> State:
        *keys, feedback_key, key = jax.random.split(key, 5)
        sizes = zip(self.config.layers, self.config.layers[1:], keys, strict=False)
        chain = [eqx.nn.Linear(n, m, key=k) for n, m, k in sizes]
        return State(with_feedback(chain, Fixed, key=feedback_key), key)

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        del number
        key, twin_key = jax.random.split(state.key)
        c = self.config
        twin = SALNet(c.sal_rate, updates=1, replicas=c.replicas, duration=c.duration)
        chain = symmetrize(state.chain, twin, key=twin_key)
        return State(chain, key), {f"angle_{n}": layer.angle for n, layer in enumerate(chain, start=1)}

    def finish(self, state: State) -> tuple[Metrics, list[Connection], RESULTS]:
        return {}, state.chain, RESULTS.successful


def alignment(config: Alignment, key: PRNGKeyArray) -> tuple[Metrics, list[Connection], RESULTS]:
    """Align one network."""
    return train(AlignmentTraining(config), key)


ALIGNMENT = Experiment(
    name="sal-alignment", config=Alignment, function=alignment, training=AlignmentTraining, figures=figure_8
)
