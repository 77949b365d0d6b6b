"""The online step in Credax."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

import gle
from benchmarks.speed.online_problem import BETA, DT, RATE, OnlineProblem

OPTIMISER = gle.weights_only(optax.adam(RATE))


def network(problem: OnlineProblem) -> gle.Network:
    """First layer linear, hidden layers tanh, softmax outputs."""
    top = len(problem.weights) - 1
    layers = [
        gle.Layer(
            gle.Dense(jnp.asarray(weight), jnp.asarray(bias)),
            tau_m,
            tau_r,
            jax.nn.softmax if number == top else jnp.tanh if number else gle.linear,
        )
        for number, (weight, bias, tau_m, tau_r) in enumerate(
            zip(problem.weights, problem.biases, problem.tau_m, problem.tau_r, strict=True)
        )
    ]
    return gle.Network(layers, gle.CrossEntropy(), beta=BETA)


def start(problem: OnlineProblem, stepper: gle.AbstractStepper = gle.Step()) -> gle.Learner:
    """The network before the stream, and Adam's memory."""
    return gle.start(network(problem), OPTIMISER, stepper=stepper, batch=(len(problem.target),))


def advance(
    learner: gle.Learner,
    inputs: Array,
    target: Array,
    steps: int,
    position: Array,
    stepper: gle.AbstractStepper = gle.Step(),
) -> gle.Learner:
    """The learner after so many steps of the stream, from `position` on and from the beginning again at its end."""
    stream = jnp.take(inputs, (position + jnp.arange(steps)) % len(inputs), axis=0)
    targets = jnp.broadcast_to(target, (steps, *target.shape))
    learner, _, _ = gle.online(
        learner,
        stream,
        targets,
        dt=DT,
        optimiser=OPTIMISER,
        stepper=stepper,
        observe=lambda network, signals: None,
        throw=False,
    )
    return learner


def build(problem: OnlineProblem, stepper: gle.AbstractStepper) -> Callable[[int], np.ndarray]:
    """`run(steps)` goes on for so many steps, and returns the potentials that the last output rates came from."""
    learner, position = start(problem, stepper), 0
    inputs, target = jnp.asarray(problem.inputs), jnp.asarray(problem.target)
    jitted = eqx.filter_jit(advance)

    def run(steps: int) -> np.ndarray:
        nonlocal learner, position
        # As an array: a Python integer would be a constant of the program, and compile it anew.
        learner = jax.block_until_ready(jitted(learner, inputs, target, steps, jnp.asarray(position), stepper))
        position += steps
        state = learner.state
        return np.asarray(state.potential[-1] if hasattr(state, "potential") else state.u[-1])

    return run
