"""A network's path over the landscape of its costs, with GLE and the adjoint method (Ellenberger et al. 2024, Fig. 2).

A fast and a slow neuron see an oscillation, and their sum learns to follow that of a teacher. All is linear:
adjoint variables have the phases of GLE's errors and the inverse gains (Eqs. 29, 32), so that the mean gradients of GLE
are those of the adjoint method over |H|^2, H being the response of a neuron.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Complex, Float, PRNGKeyArray

import gle
from benchmarks.training import Metrics, outcome, scan_state
from gle import RESULTS

TEACHER = (0.5, 1.5)
"""Weights onto the fast and the slow neuron, of the teacher..."""
START = (0.1, 0.2)
"""... and of the student before it learns."""
TAU_M, TAU_R = (1.0, 1.0), (1.0, 0.1)
REST = 3
"""Periods before learning."""


@dataclasses.dataclass(frozen=True)
class Trajectories:
    """Costs along the path, by GLE and by adjoints."""

    periods: int = 6
    period: float = 4.0
    """Of the input, a sine of amplitude 1; after each the adjoint method learns."""
    dt: float = 0.01
    rate: float = 0.1
    """Per unit of time, of plain gradient descent, for both."""


def network(weights: Float[Array, "2"]) -> gle.Network:
    """1-2-1, linear, no biases; a fast and a slow neuron, which are added up. Only their input weights learn."""
    layers = [
        gle.Layer(gle.Dense(weights[:, None], None), jnp.array(TAU_M), jnp.array(TAU_R), gle.linear),
        gle.Layer(gle.Dense(jnp.ones((1, 2)), None), 1.0, 1.0, gle.linear, plastic=False),
    ]
    return gle.Network(layers, gle.MeanSquaredError())


def responses(config: Trajectories) -> Complex[np.ndarray, "2"]:
    """H: the rate of each neuron over its input, in the complex plane, for the oscillation of a configuration."""
    omega = 2j * np.pi / config.period
    return (1 + omega * np.array(TAU_R)) / (1 + omega * np.array(TAU_M))


def mean_cost(config: Trajectories, weights: Float[np.ndarray, "*grid 2"]) -> Float[np.ndarray, "*grid"]:
    """Mean of the cost 1/2 (r - r*)^2 over a period in the steady state: |sum_k H_k (w_k - w*_k)|^2 / 4."""
    return np.abs((weights - np.array(TEACHER)) @ responses(config)) ** 2 / 4


class Path(eqx.Module):
    """What is recorded at every step."""

    input: Float[Array, "... time"]
    output: Float[Array, "... time"]
    cost: Float[Array, "... time"]
    weights: Float[Array, "... time 2"]


def run(config: Trajectories, rule: str) -> tuple[gle.Network, Path, gle.RESULTS]:
    """The student that learns by "gle" at every step, by the "adjoint" method after every period, or "not" at all.

    It does so in the steady state, after `REST` periods.
    """
    steps, dt = round(config.period / config.dt), config.dt
    optimiser = gle.weights_only(optax.sgd(config.rate * dt if rule == "gle" else config.rate))
    wave = jnp.sin(2 * jnp.pi * jnp.arange(steps) / steps)[:, None]
    before = jnp.tile(wave, (REST, 1))
    guide, _, _ = gle.online(gle.start(network(jnp.array(TEACHER))), before, dt=dt, throw=False)
    _, targets, _ = gle.online(guide, wave, dt=dt, throw=False)  # the same in every period
    learner = gle.start(network(jnp.array(START)), optimiser)
    learner, _, _ = gle.online(learner, before, jnp.tile(targets, (REST, 1)), dt=dt, throw=False)

    def period(learner, _):
        old, state, memory = learner
        learns = optimiser if rule == "gle" else None
        learner, (output, weights), result = gle.online(
            learner, wave, targets, dt=dt, optimiser=learns, observe=_observe, throw=False
        )
        if rule == "adjoint":
            _, gradient = gle.adjoint_method(old, wave, targets, dt=dt, u=state.u)
            updates, memory = optimiser.update(gradient, memory)
            learner = gle.Learner(eqx.apply_updates(old, updates), learner.state, memory)
        return learner, (Path(wave[:, 0], output, 0.5 * (output - targets[:, 0]) ** 2, weights), result)

    learner, (paths, results) = scan_state(period, learner, jnp.arange(config.periods))
    return learner.network, jax.tree.map(jnp.concatenate, paths), outcome(results)


def _observe(network: gle.Network, signals: gle.Signals) -> tuple[Float[Array, ""], Float[Array, "2"]]:
    (weights,) = jax.tree.leaves(network.layers[0].connection)
    return signals.output[0], weights[:, 0]


def gle_trajectories(config: Trajectories, key: PRNGKeyArray) -> tuple[Metrics, gle.Network, RESULTS, dict[str, Path]]:
    """Cost of the last period and distance from the teacher in the end; the paths are the record. Nothing is random."""
    del key
    network, online, result = run(config, "gle")
    _, offline, _ = run(config, "adjoint")
    _, still, _ = run(config, "not")
    steps, metrics = round(config.period / config.dt), {}
    for prefix, path in (("", online), ("adjoint_", offline)):
        metrics[f"{prefix}train_loss"] = jnp.mean(path.cost[-steps:])
        metrics[f"{prefix}weight_error"] = jnp.max(jnp.abs(path.weights[-1] - jnp.array(TEACHER)))
    return metrics, network, result, {"gle": online, "adjoint": offline, "not": still}
