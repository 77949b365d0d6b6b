"""How fast SAL aligns backward weights with constant forward ones (Gierlich et al., Fig. 8)."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from benchmarks.errors import InvalidInput
from benchmarks.training import Metrics, Training, train
from sal import RESULTS
from sal.feedback import Connection, with_feedback
from sal.symmnet import SALNet, symmetrize
from sal.transports import Fixed


@dataclasses.dataclass(frozen=True)
class Alignment:
    """SAL in a spiking network with constant forward weights.

    The weights are those of an untrained network.
    """

    layers: tuple[int, ...] = (1024, 384, 192, 10)
    sal_rates: tuple[float, ...] = (0.01, 0.02, 0.04, 0.08)
    """Values of eta_SAL, side by side on the same network and with the same noise."""
    epochs: int = 50
    """Updates of the weights."""
    duration: float = 2000.0
    """Of network time per update, in ms, times the replicas."""
    replicas: int = 32


class State(eqx.Module):
    """What changes. The leaves of `chain` have an axis of learning rates in front."""

    chain: list[Connection]
    key: PRNGKeyArray


class AlignmentTraining(Training):
    """The problem of a configuration, whose float fields may be traced; an epoch is an update."""

    epochs: int
    steps_per_epoch: int
    config: Alignment

    def __init__(self, config: Alignment):
        if len(config.layers) != 4:
            raise InvalidInput(f"layers must be four numbers of neurons, but are {config.layers}.")
        self.config, self.epochs, self.steps_per_epoch = config, config.epochs, round(config.duration)

    def init(self, key: PRNGKeyArray) -> State:
        *keys, feedback_key, key = jax.random.split(key, 5)
        sizes = zip(self.config.layers, self.config.layers[1:], keys, strict=False)
        chain = with_feedback([eqx.nn.Linear(n, m, key=k) for n, m, k in sizes], Fixed, key=feedback_key)
        rates = len(self.config.sal_rates)
        return State(jax.tree.map(lambda x: jnp.broadcast_to(x, (rates, *x.shape)), chain), key)

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        del number
        key, twin_key = jax.random.split(state.key)
        c = self.config

        def update(chain: list[Connection], rate: Array) -> tuple[list[Connection], list[Array]]:
            twin = SALNet(rate, updates=1, replicas=c.replicas, duration=c.duration)
            chain = symmetrize(chain, twin, key=twin_key)
            return chain, [layer.angle for layer in chain]

        chain, angles = jax.vmap(update)(state.chain, jnp.asarray(c.sal_rates))
        metrics = {
            f"angle_{layer}_{rate:g}": angle
            for layer, by_rate in enumerate(angles, start=1)
            for rate, angle in zip(c.sal_rates, by_rate, strict=True)
        }
        return State(chain, key), metrics

    def finish(self, state: State) -> tuple[Metrics, list[Connection], RESULTS]:
        return {}, state.chain, RESULTS.successful


def alignment(config: Alignment, key: PRNGKeyArray) -> tuple[Metrics, list[Connection], RESULTS]:
    """Align one network."""
    return train(AlignmentTraining(config), key)
