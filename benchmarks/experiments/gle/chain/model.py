"""A chain of two slow neurons learns a teacher's weights and time constants (Ellenberger et al. 2024, Figs. 5, 14)."""

import dataclasses
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

import gle
from benchmarks.training import Metrics, outcome, scan_state
from gle import RESULTS

TEACHER = {"weights": (1.0, 2.0), "tau_m": (1.0, 2.0)}
TAU_R = 0.1
PARTS = 400
"""How many times parameters and loss are recorded."""
WINDOWS = {1.0: 0.01, 2.0: 0.02, 4.0: 0.04}
"""Truncation windows of BPTT, in units of time, and Adam's rate with each."""
NOISE_TAU = 0.002
"""Time constant of the noise: a fifth of dt, so that it is new at every step. The paper says nothing about it."""
REST, SHOWN = 16.0, 8.0
"""Units of time that pass after learning before the output is shown, and of those that are."""


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
    noise: float = 0.1
    """Standard deviation of the noise on all rates, where they are noisy (Fig. 15)."""


def chain(weights: Float[Array, "2"], tau_m: Float[Array, "2"], config: Chain) -> gle.Network:
    """Input - neuron - neuron, softplus rates, no biases."""
    layers = [
        gle.Layer(gle.Dense(weight[None, None], None), tau, TAU_R, jax.nn.softplus)
        for weight, tau in zip(weights, tau_m, strict=True)
    ]
    return gle.Network(layers, gle.MeanSquaredError(), beta=config.beta, coupling=coupling(config.gamma))


def coupling(gamma: float) -> gle.AbstractCoupling:
    """Of errors to membranes; a network with gamma = 0 is another program than one with any other number."""
    return gle.Decoupled() if isinstance(gamma, float) and gamma == 0 else gle.Coupled(gamma)


def square_wave(t: Float[Array, "..."], config: Chain) -> Float[Array, "..."]:
    """+1 and -1 for half a period each, its edges smoothed by a Gaussian."""
    half = config.period / 2
    phase = jnp.mod(t, config.period)
    edges = ((-1, -2.0), (0, 2.0), (1, -2.0), (2, 2.0))
    steps = [jump * jax.scipy.stats.norm.cdf((phase - number * half) / config.smoothing) for number, jump in edges]
    return sum(steps, start=jnp.ones_like(phase))


def without_gamma(config: Chain) -> Chain:
    """The same with gamma = 0, as in networks without errors (BPTT), and as rates with noise need it.

    Noise on rates makes errors that nothing can learn away. With gamma they are part of u', and -dE/dtau_m = -e u'
    (Eq. 23) holds -gamma e^2 / tau_m, which drives time constants down to their bound.
    """
    return dataclasses.replace(config, gamma=0.0)


class History(eqx.Module):
    """What is recorded of one rule in the course of learning, at equal intervals of time."""

    weights: Float[Array, "... 2"]
    tau_m: Float[Array, "... 2"]
    loss: Float[Array, "..."]
    """Mean of the cost over the batch and over the interval."""

    def distance(self, name: str) -> Float[Array, ""]:
        """How far the weights or time constants are from the teacher's in the end."""
        return jnp.max(jnp.abs(getattr(self, name)[-1] - jnp.array(TEACHER[name])))


def rules(config: Chain, key: PRNGKeyArray) -> dict[str, gle.AbstractStepper]:
    """What learns at every step."""
    gle_rule = gle.Algorithm1(fresh_errors=True)
    noisy = gle.NoisyRates(gle_rule, config.noise, NOISE_TAU, jax.random.fold_in(key, 0))
    return {"gle": gle_rule, "instantaneous": gle.Instantaneous(), "noisy": noisy}


class Lesson(eqx.Module):
    """A student and its teacher before the first input; all rules start from the same."""

    student: gle.Network
    shifts: Float[Array, " batch"]
    teacher: gle.Network
    config: Chain

    def __init__(self, config: Chain, key: PRNGKeyArray):
        weights_key, tau_key, shift_key = jax.random.split(key, 3)
        weights = jax.random.uniform(weights_key, (2,), minval=0.2, maxval=1.0)
        self.student = chain(weights, jax.random.uniform(tau_key, (2,), minval=0.3, maxval=1.0), config)
        still = dataclasses.replace(config, beta=0.0)
        self.teacher = chain(jnp.array(TEACHER["weights"]), jnp.array(TEACHER["tau_m"]), still)
        self.shifts = jax.random.uniform(shift_key, (config.batch_size,), maxval=config.period / 2)
        self.config = config

    def inputs(self, steps: Int[Array, " steps"]) -> Float[Array, "steps batch 1"]:
        """The streams at these time steps."""
        return square_wave(steps[:, None] * self.config.dt + self.shifts[None], self.config)[..., None]

    def optimiser(self, rate: float | Array) -> optax.GradientTransformation:
        """Adam for weights and membrane time constants."""
        adam = optax.adam(rate)
        return optax.chain(gle.only(connection=adam, tau_m=adam), gle.at_least(10 * self.config.dt, TAU_R))


def learn(config: Chain, key: PRNGKeyArray, stepper: gle.AbstractStepper) -> tuple[gle.Network, History, gle.RESULTS]:
    """One student that learns by one rule at every step; `PARTS` intervals are recorded."""
    lesson, batch = Lesson(config, key), (config.batch_size,)
    optimiser = lesson.optimiser(config.learning_rate)
    # The teacher has the delays of the student's stepper, but no noise.
    clean = stepper.stepper if isinstance(stepper, gle.NoisyRates) else stepper
    pair = (
        gle.start(lesson.student, optimiser, stepper=stepper, batch=batch),
        gle.start(lesson.teacher, stepper=clean, batch=batch),
    )
    steps = round(config.duration / config.dt / PARTS)
    if steps < 1 or config.duration < max(WINDOWS):
        shortest = max(PARTS * config.dt, *WINDOWS)
        raise ValueError(f"duration must be at least {shortest:g}, but is {config.duration:g}.")

    def part(pair, number):
        learner, guide = pair
        inputs = lesson.inputs(number * steps + jnp.arange(steps))
        guide, potentials, _ = gle.online(guide, inputs, dt=config.dt, stepper=clean, throw=False)
        targets = jax.nn.softplus(potentials)
        learner, outputs, result = gle.online(
            learner, inputs, targets, dt=config.dt, optimiser=optimiser, stepper=stepper, throw=False
        )
        return (learner, guide), (_record(learner.network, outputs, targets), result)

    (learner, _), (history, results) = scan_state(part, pair, jnp.arange(PARTS))
    return learner.network, history, outcome(results)


def learn_by_bptt(config: Chain, key: PRNGKeyArray, window: float) -> tuple[gle.Network, History, gle.RESULTS]:
    """One student that learns from the exact gradient of each `window` of time; every window is recorded."""
    lesson = Lesson(without_gamma(config), key)
    optimiser: Any = lesson.optimiser(WINDOWS[window])
    steps = round(window / config.dt)

    def part(carry, number):
        student, memory, u, guide = carry
        inputs = lesson.inputs(number * steps + jnp.arange(steps))
        guide, potentials, _ = gle.online(guide, inputs, dt=config.dt, throw=False)
        targets = jax.nn.softplus(potentials)
        _, gradient = gle.bptt(student, inputs, targets, dt=config.dt, u=u)
        outputs, u = gle.infer(student, inputs, dt=config.dt, u=u)
        record = _record(student, outputs, targets)
        updates, memory = optimiser.update(gradient, memory, eqx.filter(student, eqx.is_inexact_array))
        return (eqx.apply_updates(student, updates), memory, u, guide), record

    start = gle.start(lesson.student, optimiser, batch=(config.batch_size,))
    carry = lesson.student, start.optimiser, start.state.u, gle.start(lesson.teacher, batch=(config.batch_size,))
    (student, *_), history = scan_state(part, carry, jnp.arange(round(config.duration / window)))
    well = jnp.all(jnp.isfinite(history.loss))
    return student, history, gle.RESULTS.where(well, gle.RESULTS.successful, gle.RESULTS.non_finite)


def _record(network: gle.Network, outputs: Array, targets: Array) -> History:
    weights = jnp.stack([weight[0, 0] for weight in jax.tree.leaves([x.connection for x in network.layers])])
    tau_m = jnp.stack([layer.tau_m[0] for layer in network.layers])
    return History(weights, tau_m, jnp.mean(network.cost(outputs, targets, jax.nn.softplus)))


class Traces(eqx.Module):
    """What the two neurons of a chain do while nothing is learned; the lower one is 0."""

    rates: Float[Array, "... time 2"]
    taught: Float[Array, "... time 2"]
    """The teacher's rates."""
    errors: Float[Array, "... time 2"]


class Record(eqx.Module):
    """What the figures show."""

    histories: dict[str, History]
    """Of each rule."""
    traces: dict[str, Traces]
    """Of "gle" and of "instantaneous" errors at all `STAGES`; of "noisy" rates after learning."""


STAGES = ("right time constants, wrong weights", "before learning", "after learning")
"""Columns of Fig. 14b; Fig. 5b has the latter two."""


def lessons(config: Chain, key: PRNGKeyArray) -> dict[str, tuple[gle.Network, History, gle.RESULTS]]:
    """What became of the student with each rule: "gle", "instantaneous", "noisy", "bptt_1", ..."""
    online = {
        name: learn(without_gamma(config) if name == "noisy" else config, key, stepper)
        for name, stepper in rules(config, key).items()
    }
    return online | {f"bptt_{window:g}": learn_by_bptt(config, key, window) for window in WINDOWS}


def gle_chain(config: Chain, key: PRNGKeyArray) -> tuple[Metrics, gle.Network, RESULTS, Record]:
    """Losses and distances from the teacher in the end: GLE, instantaneous errors, noisy rates, truncated BPTT."""
    found, metrics = lessons(config, key), {}
    for name, (_, history, _) in found.items():
        prefix = "" if name == "gle" else f"{name}_"
        metrics |= {
            f"{prefix}train_loss": history.loss[-1],
            f"{prefix}weight_error": history.distance("weights"),
            f"{prefix}tau_m_error": history.distance("tau_m"),
        }
    histories = {name: history for name, (_, history, _) in found.items()}
    steppers = rules(config, key)
    shown = {
        name: jax.tree.map(
            lambda *x: jnp.stack(x),
            *(traces(config, key, network, steppers[name]) for network in stages(config, key, found[name][0])),
        )
        for name in ("gle", "instantaneous")
    }
    shown["noisy"] = traces(config, key, found["noisy"][0], steppers["noisy"])
    network, _, result = found["gle"]
    return metrics, network, outcome(result), Record(histories, shown)


def stages(config: Chain, key: PRNGKeyArray, learned: gle.Network) -> tuple[gle.Network, ...]:
    """The students of `STAGES`: with the teacher's time constants, as it starts, and as it ends."""
    start = Lesson(config, key).student
    taus = [layer.tau_m for layer in Lesson(config, key).teacher.layers]
    return eqx.tree_at(lambda x: [layer.tau_m for layer in x.layers], start, taus), start, learned


def traces(config: Chain, key: PRNGKeyArray, network: gle.Network, stepper: gle.AbstractStepper) -> Traces:
    """Rates and errors of a network in the last `SHOWN` units of time of `REST + SHOWN`, beside its teacher's rates.

    Noise of the stepper is the student's alone.
    """
    lesson = Lesson(dataclasses.replace(config, batch_size=1), key)
    inputs = lesson.inputs(jnp.arange(round((REST + SHOWN) / config.dt)))
    clean = stepper.stepper if isinstance(stepper, gle.NoisyRates) else stepper

    def observe(network, signals):
        return [jnp.concatenate(x, axis=-1)[0] for x in (signals.rate, signals.error)]

    run = partial(gle.online, dt=config.dt, observe=observe, throw=False)
    _, (taught, _), _ = run(gle.start(lesson.teacher, stepper=clean, batch=(1,)), inputs, stepper=clean)
    student = gle.start(network, stepper=stepper, batch=(1,))
    _, (rates, errors), _ = run(student, inputs, taught[:, None, 1:], stepper=stepper)
    shown = slice(-round(SHOWN / config.dt), None)
    return Traces(rates[shown], taught[shown], errors[shown])
