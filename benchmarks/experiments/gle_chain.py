"""A chain of two slow neurons learns a teacher's weights and time constants (Ellenberger et al. 2024, Fig. 5)."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

import gle
from benchmarks.experiment import Experiment, Published
from benchmarks.training import Metrics, outcome, scan_state
from eventprop import RESULTS

TEACHER = {"weights": (1.0, 2.0), "tau_m": (1.0, 2.0)}
TAU_R = 0.1
RULES = {"GLE": gle.Algorithm1(fresh_errors=True), "instantaneous errors": gle.Instantaneous()}
PARTS = 400
"""How many times parameters and loss are recorded."""


@dataclasses.dataclass(frozen=True)
class Chain:
    """A chain of two neurons learns weights and time constants."""

    duration: float = 4000.0
    dt: float = 0.01
    batch_size: int = 100
    """Streams that differ by random shifts of the input, up to half a period."""
    learning_rate: float = 1e-4
    """Adam's."""
    beta: float = 0.01
    gamma: float = 1.0
    period: float = 4.0
    """Of the square wave of amplitude 1."""
    smoothing: float = 0.05
    """Standard deviation of the Gaussian by which its edges are smoothed."""


def chain(weights: Float[Array, "2"], tau_m: Float[Array, "2"], config: Chain) -> gle.Network:
    """Input - neuron - neuron, softplus rates, no biases."""
    layers = [
        gle.Layer(gle.Dense(weight[None, None], None), tau, TAU_R, jax.nn.softplus)
        for weight, tau in zip(weights, tau_m, strict=True)
    ]
    return gle.Network(layers, gle.MeanSquaredError(), beta=config.beta, gamma=config.gamma)


def square_wave(t: Float[Array, "..."], config: Chain) -> Float[Array, "..."]:
    """+1 and -1 for half a period each, its edges smoothed by a Gaussian."""
    half = config.period / 2
    phase = jnp.mod(t, config.period)
    edges = ((-1, -2.0), (0, 2.0), (1, -2.0), (2, 2.0))
    steps = [jump * jax.scipy.stats.norm.cdf((phase - number * half) / config.smoothing) for number, jump in edges]
    return sum(steps, start=jnp.ones_like(phase))


class History(eqx.Module):
    """What is recorded of one rule in the course of learning; `learn` returns `PARTS` of each."""

    weights: Float[Array, "... 2"]
    tau_m: Float[Array, "... 2"]
    loss: Float[Array, "..."]
    """Mean of the cost over the batch and over the part."""


def learn(config: Chain, key: PRNGKeyArray, stepper: gle.AbstractStepper) -> tuple[gle.Network, History, gle.RESULTS]:
    """One student that learns by one rule."""
    weights_key, tau_key, shift_key = jax.random.split(key, 3)
    student = chain(
        jax.random.uniform(weights_key, (2,), minval=0.2, maxval=1.0),
        jax.random.uniform(tau_key, (2,), minval=0.3, maxval=1.0),
        config,
    )
    teacher = chain(jnp.array(TEACHER["weights"]), jnp.array(TEACHER["tau_m"]), dataclasses.replace(config, beta=0.0))
    adam = optax.adam(config.learning_rate)
    optimiser = optax.chain(gle.only(connection=adam, tau_m=adam), gle.at_least(10 * config.dt, TAU_R))
    shifts = jax.random.uniform(shift_key, (config.batch_size,), maxval=config.period / 2)
    steps = round(config.duration / config.dt / PARTS)

    batch = (config.batch_size,)
    pair = gle.start(student, optimiser, stepper=stepper, batch=batch), gle.start(teacher, stepper=stepper, batch=batch)

    def part(pair, number):
        learner, guide = pair
        t = (number * steps + jnp.arange(steps)) * config.dt
        inputs = square_wave(t[:, None] + shifts[None], config)[..., None]
        guide, potentials, _ = gle.online(guide, inputs, dt=config.dt, stepper=stepper, throw=False)
        targets = jax.nn.softplus(potentials)
        learner, outputs, result = gle.online(
            learner, inputs, targets, dt=config.dt, optimiser=optimiser, stepper=stepper, throw=False
        )
        layers = learner.network.layers
        weights = jnp.stack([weight[0, 0] for weight in jax.tree.leaves([layer.connection for layer in layers])])
        tau_m = jnp.stack([layer.tau_m[0] for layer in layers])
        loss = jnp.mean(learner.network.cost(outputs, targets, jax.nn.softplus))
        return (learner, guide), (History(weights, tau_m, loss), result)

    (learner, _), (history, results) = scan_state(part, pair, jnp.arange(PARTS))
    well = jnp.all(results == gle.RESULTS.successful)
    result = gle.RESULTS.where(well, gle.RESULTS.successful, gle.RESULTS.non_finite)
    return learner.network, history, result


def gle_chain(config: Chain, key: PRNGKeyArray) -> tuple[Metrics, gle.Network, RESULTS]:
    """Distances from the teacher in the end, with GLE and with instantaneous errors."""
    network, history, result = learn(config, key, RULES["GLE"])
    _, instant, _ = learn(config, key, RULES["instantaneous errors"])

    def distance(name: str, history: History) -> Array:
        return jnp.max(jnp.abs(getattr(history, name)[-1] - jnp.array(TEACHER[name])))

    metrics = {
        "train_loss": history.loss[-1],
        "weight_error": distance("weights", history),
        "tau_m_error": distance("tau_m", history),
        "instantaneous_train_loss": instant.loss[-1],
        "instantaneous_weight_error": distance("weights", instant),
        "instantaneous_tau_m_error": distance("tau_m", instant),
    }
    return metrics, network, outcome(result)


def draw(config: Chain, fit: Any, directory: Any) -> None:
    """The run's figure."""
    from benchmarks.experiments.gle_chain_figures import draw_learning  # matplotlib only where it is needed

    draw_learning(config, directory)


CHAIN = Experiment(
    name="gle-chain",
    config=Chain,
    function=gle_chain,
    figures=draw,
    published=(
        Published(
            "train_loss", 1e-10, source="Ellenberger et al. 2024, Fig. 5c (order of magnitude)", higher_is_better=False
        ),
    ),
)
