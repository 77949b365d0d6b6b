"""MNIST-1D learned with noise in time constants or in rates (Ellenberger et al. 2024, Fig. 9d, e)."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

import gle
from benchmarks.datasets import DataSet
from benchmarks.experiment import Experiment
from benchmarks.experiments.gle_mnist1d import DT, MNIST1D, MNIST1DTraining, State
from benchmarks.training import Metrics, Training, outcome, train
from eventprop import RESULTS


@dataclasses.dataclass(frozen=True)
class Robustness(MNIST1D):
    """MNIST-1D with noise in time constants or in rates.

    The paper's smaller network for 20 epochs instead of 150. All levels of noise are trained side by side, from the
    same initial weights and on the same samples. Noise is there in validation too.
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


class RobustnessTraining(Training):
    """The training problem of a configuration: one network for each level of noise."""

    epochs: int
    steps_per_epoch: int
    names: tuple[str, ...]
    levels: tuple[Float[Array, " members"], Float[Array, " members"]]
    single: MNIST1DTraining

    def __init__(self, config: Robustness, data: DataSet | None = None):
        for name in ("time_constants", "rates"):
            if min(getattr(config, name), default=0) < 0:
                raise ValueError(f"noise must not be negative, but {name} is {getattr(config, name)}.")
        self.single = MNIST1DTraining(config, data)
        self.epochs, self.steps_per_epoch = config.epochs, self.single.steps_per_epoch
        self.names = tuple(members(config))
        spatial, temporal = np.array(list(members(config).values())).T
        self.levels = jnp.asarray(spatial, float), jnp.asarray(temporal, float)

    def init(self, key: PRNGKeyArray) -> State:
        def one(spatial, temporal):
            state = self._member(temporal).init(key)
            network = mismatched(state.average, spatial, jax.random.fold_in(key, 0))
            return (state.learner._replace(network=network), network, state.plateau, state.result), state.key

        members, key = eqx.filter_vmap(one, out_axes=(eqx.if_array(0), None))(*self.levels)
        return _joined(eqx.tree_at(_noise, members, replace_fn=lambda copies: copies[0]), key)

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        """All members share the key: they see the same samples, and the same noise up to its size."""

        def one(member, temporal):
            after, metrics = self._member(temporal).epoch(_joined(member, state.key), number)
            member = after.learner, after.average, after.plateau, after.result
            return (member, metrics["validation_accuracy"]), after.key

        members = state.learner, state.average, state.plateau, state.result
        # Drawing noise takes longer than a step of a network, so it is done once for all of them.
        axes = eqx.tree_at(_noise, jax.tree.map(eqx.if_array(0), members), (None, None))
        vmapped = eqx.filter_vmap(one, in_axes=(axes, 0), out_axes=((axes, 0), None))
        (members, accuracies), key = vmapped(members, self.levels[1])
        named = {f"{name}_accuracy": accuracy for name, accuracy in zip(self.names, accuracies, strict=True)}
        return _joined(members, key), named

    def finish(self, state: State) -> tuple[Metrics, gle.Network, RESULTS]:
        """No metrics: the test split is for the network without noise."""
        return {}, state.average, outcome(state.result)

    def _member(self, temporal: Float[Array, ""]) -> MNIST1DTraining:
        return eqx.tree_at(lambda training: training.noise, self.single, temporal)


def _joined(member: tuple[Any, ...], key: PRNGKeyArray) -> State:
    """A state from what is a member's own, and the key of all."""
    learner, average, plateau, result = member
    return State(learner, average, plateau, key, result)


def _noise(member: tuple[Any, ...]) -> tuple[Any, ...]:
    """The noise of a member, and the key from which it goes on."""
    learner, *_ = member
    return learner.state.noise, learner.state.key


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


def draw(config: Robustness, fit: Any, directory: Any) -> None:
    """The run's figure."""
    from benchmarks.experiments.gle_robustness_figures import draw_noise  # matplotlib only where it is needed

    draw_noise(config, fit.history).savefig(directory / "noise.png", dpi=130)


ROBUSTNESS = Experiment(
    name="gle-robustness",
    config=Robustness,
    function=gle_robustness,
    training=RobustnessTraining,
    figures=draw,
)
