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
SETTLING = 20.0
"""Units of time before errors and adjoints are compared."""
LATE = 0.2
"""Part of the learning after which they are compared again."""
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
    """How long errors and adjoints are compared, before learning and late in it."""


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
    student, teacher = network(start(key), config), network(jnp.array(BOTTOM), config, beta=0.0)
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


def start(key: PRNGKeyArray) -> Float[Array, "2"]:
    """A student's random bottom weights."""
    return jax.random.uniform(key, (2,), minval=0.1, maxval=0.6)


def _adjoint_window(learner: gle.Learner, inputs: Array, targets: Array, config: Small, optimiser: Any):
    student, state, memory = learner
    _, gradient = gle.adjoint_method(student, inputs, targets, dt=config.dt, u=state.u)
    updates, memory = optimiser.update(gradient, memory, eqx.filter(student, eqx.is_inexact_array))
    after, outputs, result = gle.online(gle.Learner(student.frozen(), state, None), inputs, dt=config.dt, throw=False)
    return gle.Learner(eqx.apply_updates(student, updates), after.state, memory), outputs, result


class Course(eqx.Module):
    """What passes through a student that does not learn (Fig. 6b); bottom neurons: instantaneous, retrospective."""

    input: Float[Array, "... time"]
    output: Float[Array, "... time"]
    target: Float[Array, "... time"]
    top: Float[Array, "... time"]
    """The output error."""
    error: Float[Array, "... time 2"]
    """The bottom errors of GLE."""
    adjoint: Float[Array, "... time 2"]
    """The bottom adjoint variables."""


def course(config: Small, bottom: Float[Array, "2"]) -> Course:
    """`spectrum_steps` of a student with these bottom weights, after `SETTLING` units of time."""
    student, teacher = network(bottom, config), network(jnp.array(BOTTOM), config, beta=0.0)
    settling = round(SETTLING / config.dt)
    inputs = waves(jnp.arange(settling + config.spectrum_steps) * config.dt)
    _, targets, _ = gle.online(gle.start(teacher), inputs, dt=config.dt, throw=False)

    def observe(network, signals):
        return signals.output, signals.error[-1], signals.error[0]

    _, seen, _ = gle.online(gle.start(student), inputs, targets, dt=config.dt, observe=observe, throw=False)
    output, top, error = seen
    adjoints = gle.adjoint_variables(student, inputs, targets, dt=config.dt)[0]
    found = Course(inputs[:, 0], output[:, 0], targets[:, 0], top[:, 0], error, adjoints)
    return jax.tree.map(lambda x: x[settling:], found)


class Spectra(eqx.Module):
    """Amplitudes, with phases, of what `Course` shows, at the angular frequencies `omega` (Fig. 6c, d)."""

    omega: Float[Array, "... frequencies"]
    top: Complex[Array, "... frequencies"]
    error: Complex[Array, "... frequencies 2"]
    adjoint: Complex[Array, "... frequencies 2"]


def spectra(found: Course, dt: float) -> Spectra:
    """Fourier transforms under a Hann window, whose mean is 1/2: a wave a sin(omega t) has the amplitude a."""
    steps = len(found.input)

    def transform(signal):
        taper = jnp.hanning(steps).reshape(-1, *[1] * (signal.ndim - 1))
        return 4 / steps * jnp.fft.rfft(taper * signal, axis=0)

    omega = 2 * jnp.pi * jnp.fft.rfftfreq(steps, dt)
    return Spectra(omega, transform(found.top), transform(found.error), transform(found.adjoint))


class Record(eqx.Module):
    """What the figures show."""

    histories: dict[str, History]
    """Of "gle" and of the "adjoint" method."""
    courses: Course
    """Before learning, and of what GLE has learned after the part `LATE` of it."""
    spectra: Spectra
    """Of both."""


def gle_small(config: Small, key: PRNGKeyArray) -> tuple[Metrics, gle.Network, RESULTS, Record]:
    """Distances from the teacher in the end, and how far errors and adjoints are apart in phase before learning."""
    network, online, result = learn(config, key, by_adjoints=False)
    _, offline, _ = learn(config, key, by_adjoints=True)
    late = online.weights[round(LATE * len(online.weights)) - 1]
    courses = jax.vmap(lambda bottom: course(config, bottom))(jnp.stack([start(key), late]))
    found = jax.vmap(lambda one: spectra(one, config.dt))(courses)
    nearest = jnp.argmin(jnp.abs(found.omega[0, :, None] - jnp.array(FREQUENCIES)[None]), axis=0)
    phase = jnp.abs(jnp.angle(found.error[0] / found.adjoint[0]))[nearest]
    metrics = {
        "train_loss": online.loss[-1],
        "weight_error": jnp.max(jnp.abs(online.weights[-1] - jnp.array(BOTTOM))),
        "adjoint_train_loss": offline.loss[-1],
        "adjoint_weight_error": jnp.max(jnp.abs(offline.weights[-1] - jnp.array(BOTTOM))),
        "phase_deviation": jnp.max(phase),
    }
    return metrics, network, outcome(result), Record({"gle": online, "adjoint": offline}, courses, found)
