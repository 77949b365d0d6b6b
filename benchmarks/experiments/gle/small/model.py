"""A small network with slow and fast paths learns by GLE and by adjoints (Ellenberger et al. 2024, Fig. 6)."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Complex, Float, PRNGKeyArray

import gle
from benchmarks.experiments.gle.chain.model import coupling
from benchmarks.training import Metrics, outcome, scan_state
from gle import RESULTS

FREQUENCIES = (0.49, 1.07, 1.98)
"""Angular frequencies of the input."""
BOTTOM = (1.0, 2.0)
"""The teacher's weights onto the instantaneous and the retrospective neuron. The paper tells none of the weights."""
MIDDLE = ((0.5, 1.0), (1.0, 0.5))
TOP = (1.0, 1.0)
STEPPER = gle.Algorithm1(fresh_errors=True)


@dataclasses.dataclass(frozen=True)
class Small:
    """Slow and fast paths learn their input weights."""

    duration: float = 1500.0
    dt: float = 0.01
    window: float = 3.0
    """How long the adjoint method looks ahead before it learns."""
    gle_rate: float = 2e-2
    """Rates are per unit of time, both with momentum 0.9."""
    adjoint_rate: float = 7e-2
    gamma: float = 1e-3
    spectrum_steps: int = 8000
    """How long errors and adjoints are compared before learning."""


def network(bottom: Float[Array, "2"], config: Small, *, beta: float = 1.0) -> gle.Network:
    """1-2-2-1, no biases; each hidden layer has an instantaneous and a retrospective neuron. Only `bottom` learns."""
    taus = ((1.0, 1.0), (1.0, 0.1))
    tau_m, tau_r = (jnp.array(tau) for tau in zip(*taus, strict=True))

    def dense(weight):
        return gle.Dense(jnp.asarray(weight), None)

    layers = [
        gle.Layer(dense(bottom[:, None]), tau_m, tau_r, jnp.tanh),
        gle.Layer(dense(MIDDLE), tau_m, tau_r, jnp.tanh, plastic=False),
        gle.Layer(dense((TOP,)), 1.0, 1.0, gle.linear, plastic=False),
    ]
    return gle.Network(layers, gle.MeanSquaredError(), beta=beta, coupling=coupling(config.gamma))


def waves(t: Float[Array, " time"]) -> Float[Array, "time 1"]:
    """The input: the sum of the three oscillations."""
    return jnp.sum(jnp.sin(t[:, None] * jnp.array(FREQUENCIES)[None]), axis=1, keepdims=True)


class History(eqx.Module):
    """What is recorded of one rule; `learn` returns one entry per window."""

    weights: Float[Array, "... 2"]
    loss: Float[Array, "..."]


def learn(config: Small, key: PRNGKeyArray, *, by_adjoints: bool) -> tuple[gle.Network, History, gle.RESULTS]:
    """One student, that learns at every step by GLE, or after every window by the adjoint method."""
    # The adjoint method knows of no coupling.
    config = dataclasses.replace(config, gamma=0.0) if by_adjoints else config
    student, teacher = start(key, config), network(jnp.array(BOTTOM), config, beta=0.0)
    rate = config.adjoint_rate if by_adjoints else config.gle_rate * config.dt
    optimiser = gle.weights_only(optax.sgd(rate, momentum=0.9))
    steps = round(config.window / config.dt)
    # Both rules see the same teacher, with the delays of Algorithm 1 only where the student has them, too.
    stepper = gle.Step() if by_adjoints else STEPPER
    pair = gle.start(student, optimiser, stepper=stepper), gle.start(teacher, stepper=stepper)

    def window(pair, number):
        learner, guide = pair
        inputs = waves((number * steps + jnp.arange(steps)) * config.dt)
        guide, targets, _ = gle.online(guide, inputs, dt=config.dt, stepper=stepper, throw=False)
        if by_adjoints:
            learner, outputs, result = _adjoint_window(learner, inputs, targets, config, optimiser)
        else:
            learner, outputs, result = gle.online(
                learner, inputs, targets, dt=config.dt, optimiser=optimiser, stepper=stepper, throw=False
            )
        (weights,) = jax.tree.leaves(learner.network.layers[0].connection)
        loss = jnp.mean(0.5 * (targets - outputs) ** 2)
        return (learner, guide), (History(weights[:, 0], loss), result)

    windows = jnp.arange(round(config.duration / config.window))
    (learner, _), (history, results) = scan_state(window, pair, windows)
    return learner.network, history, outcome(results)


def start(key: PRNGKeyArray, config: Small) -> gle.Network:
    """A student with random bottom weights."""
    return network(jax.random.uniform(key, (2,), minval=0.1, maxval=0.6), config)


def _adjoint_window(learner: gle.Learner, inputs: Array, targets: Array, config: Small, optimiser: Any):
    student, state, memory = learner
    _, gradient = gle.adjoint_method(student, inputs, targets, dt=config.dt, u=state.u)
    updates, memory = optimiser.update(gradient, memory, eqx.filter(student, eqx.is_inexact_array))
    after, outputs, result = gle.online(gle.Learner(student.frozen(), state, None), inputs, dt=config.dt, throw=False)
    return gle.Learner(eqx.apply_updates(student, updates), after.state, memory), outputs, result


class Spectra(eqx.Module):
    """Of the student before learning: spectra of errors and adjoints over the output error's, at `omega`."""

    omega: Float[Array, " frequencies"]
    error: Complex[Array, "frequencies 2"]
    adjoint: Complex[Array, "frequencies 2"]


def spectra(config: Small, key: PRNGKeyArray) -> Spectra:
    """Fig. 6c, d: bottom errors of the instantaneous and the retrospective neuron, and their adjoints."""
    student, teacher = start(key, config), network(jnp.array(BOTTOM), config, beta=0.0)
    settling = round(20 / config.dt)
    inputs = waves(jnp.arange(settling + config.spectrum_steps) * config.dt)
    _, targets, _ = gle.online(gle.start(teacher), inputs, dt=config.dt, throw=False)

    def errors(network, signals):
        return signals.error[0], signals.error[-1]

    _, (bottom, top), _ = gle.online(gle.start(student), inputs, targets, dt=config.dt, observe=errors, throw=False)
    adjoints = gle.adjoint_variables(student, inputs, targets, dt=config.dt)[0]
    taper = jnp.hanning(config.spectrum_steps)[:, None]

    def transform(signal):
        return jnp.fft.rfft(taper * signal[settling:], axis=0)

    omega = 2 * jnp.pi * jnp.fft.rfftfreq(config.spectrum_steps, config.dt)
    return Spectra(omega, transform(bottom) / transform(top), transform(adjoints) / transform(top))


class Record(eqx.Module):
    """What the figure shows."""

    histories: dict[str, History]
    """Of "gle" and of the "adjoint" method."""
    spectra: Spectra


def gle_small(config: Small, key: PRNGKeyArray) -> tuple[Metrics, gle.Network, RESULTS, Record]:
    """Distances from the teacher in the end, and how far errors and adjoints are apart in phase before learning."""
    network, online, result = learn(config, key, by_adjoints=False)
    _, offline, _ = learn(config, key, by_adjoints=True)
    found = spectra(config, key)
    nearest = jnp.argmin(jnp.abs(found.omega[:, None] - jnp.array(FREQUENCIES)[None]), axis=0)
    phase = jnp.abs(jnp.angle(found.error / found.adjoint))[nearest]
    metrics = {
        "train_loss": online.loss[-1],
        "weight_error": jnp.max(jnp.abs(online.weights[-1] - jnp.array(BOTTOM))),
        "adjoint_train_loss": offline.loss[-1],
        "adjoint_weight_error": jnp.max(jnp.abs(offline.weights[-1] - jnp.array(BOTTOM))),
        "phase_deviation": jnp.max(phase),
    }
    return metrics, network, outcome(result), Record({"gle": online, "adjoint": offline}, found)
