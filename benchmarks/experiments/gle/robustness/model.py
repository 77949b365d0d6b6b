"""MNIST-1D learned with noise in time constants or in rates (Ellenberger et al. 2024, Fig. 9d, e)."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

import gle
from benchmarks.datasets import DataSet
from benchmarks.errors import InvalidInput
from benchmarks.experiments.gle.mnist1d.family import Family
from benchmarks.experiments.gle.mnist1d.model import DT, MNIST1D, MNIST1DTraining
from benchmarks.experiments.gle.streaming import State
from benchmarks.training import Metrics, train
from gle import RESULTS


@dataclasses.dataclass(frozen=True)
class Robustness(MNIST1D):
    """MNIST-1D with noise in time constants or in rates.

    The paper's smaller network for 20 epochs instead of 150. All levels of noise are trained in one run, from the same
    initial weights and on the same samples. Noise is there in validation too.
    """

    hidden: tuple[int, ...] = (17, 18, 18)
    epochs: int = 20
    learning_rate: float = 1e-3
    time_constants: tuple[float, ...] = (0.01, 0.05, 0.1)
    """Standard deviations of tau_m and tau_r around those of their population, never below dt."""
    rates: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2)
    """Standard deviations of the correlated noise on all rates, in units of that of the input."""


def members(config: Robustness) -> dict[str, tuple[float, float]]:
    """(noise in time constants, noise in rates) of each network, by name."""
    spatial = {f"time_constants_{level:g}": (level, 0.0) for level in config.time_constants}
    temporal = {f"rates_{level:g}": (0.0, level) for level in config.rates}
    return {"without_noise": (0.0, 0.0), **spatial, **temporal}


class RobustnessTraining(Family):
    """The training problem of a configuration: one network for each level of noise."""

    time_constants: dict[str, float]

    def __init__(self, config: Robustness, data: DataSet | None = None):
        for name in ("time_constants", "rates"):
            if min(getattr(config, name), default=0) < 0:
                raise InvalidInput(f"noise must not be negative, but {name} is {getattr(config, name)}.")
        first, levels = MNIST1DTraining(config, data), members(config)
        # The data are held once.
        super().__init__({name: eqx.tree_at(lambda x: x.noise, first, rates) for name, (_, rates) in levels.items()})
        self.time_constants = {name: time_constants for name, (time_constants, _) in levels.items()}

    def init(self, key: PRNGKeyArray) -> dict[str, State]:
        states = super().init(key)
        for name, std in self.time_constants.items():
            state = states[name]
            network = mismatched(state.average, std, jax.random.fold_in(key, 0))
            learner = state.learner._replace(network=network)
            states[name] = dataclasses.replace(state, learner=learner, average=network)
        return states


def mismatched(network: gle.Network, std: float | Float[Array, ""], key: PRNGKeyArray) -> gle.Network:
    """The network with normal deviations in the time constants of each neuron; none falls below dt.

    Below dt, Euler steps of the error neurons overshoot, and below dt / 2 they explode.
    """

    def where(network):
        return [tau for layer in network.layers for tau in (layer.tau_m, layer.tau_r)]

    keys = jax.random.split(key, len(where(network)))
    drawn = [tau + std * jax.random.normal(k, tau.shape) for tau, k in zip(where(network), keys, strict=True)]
    return eqx.tree_at(where, network, [jnp.maximum(tau, DT) for tau in drawn])


def gle_robustness(config: Robustness, key: PRNGKeyArray) -> tuple[Metrics, gle.Network, RESULTS]:
    """Train and judge the networks of one seed."""
    return train(RobustnessTraining(config), key)
