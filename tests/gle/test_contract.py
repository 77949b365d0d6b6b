"""What all public modules have in common: numbers of theirs can be Python's, NumPy's or JAX arrays, traced, vmapped
and differentiated, in both precisions; another value is no other program; all can be saved.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gle
from tests.gle.networks import Gain

X = np.sin(np.arange(12.0)).reshape(6, 2)


class Case(NamedTuple):
    """A module made of numbers, and what it does."""

    make: Callable[..., Any]
    numbers: dict[str, float]
    run: Callable[[Any], Any]


def learned(net: gle.Network, stepper: gle.AbstractStepper = gle.Step()) -> Any:
    """Potentials of two steps, after the first of which the weights have learned."""
    optimiser = optax.sgd(0.1)
    learner = gle.start(net, optimiser, stepper=stepper)
    after, potentials, _ = gle.online(
        learner, X[:2], X[:2, :1], dt=0.1, optimiser=optimiser, stepper=stepper, throw=False
    )
    return potentials, after.network.layers[0].connection.weight


def small(*, weight=0.7, bias=0.1, tau_m=1.2, tau_r=0.8, activation=jnp.tanh, feedback=gle.Transpose, **options: Any):
    """Two layers; `feedback` takes a connection."""
    full = lambda shape, value: jnp.full(shape, jnp.asarray(value, float))  # noqa: E731
    lower = gle.Dense(full((2, 2), weight), full((2,), bias))
    upper = gle.Dense(full((1, 2), weight), None)
    above = feedback() if feedback is gle.Transpose else feedback(gle.Dense(0.5 * upper.weight, None))
    layers = [
        gle.Layer(lower, tau_m, tau_r, activation),
        gle.Layer(upper, tau_m, tau_r, gle.linear, feedback=above),
    ]
    return gle.Network(layers, options.pop("cost", gle.MeanSquaredError()), **options)


def of_a_network(numbers: dict[str, float], make: Callable[..., Any] = small) -> Case:
    return Case(make, numbers, learned)


def of_a_stepper(stepper: gle.AbstractStepper) -> Case:
    return Case(small, {"weight": 0.7, "tau_m": 1.2, "beta": 0.7}, lambda net: learned(net, stepper))


def of_an_operator(make: Callable[..., Any], **numbers: float) -> Case:
    return Case(make, numbers, lambda module: module.trajectory(jnp.asarray(X), 0.1))


def flow(neuron: Any) -> Any:
    return neuron.flow(*jnp.asarray(X[1:4, 0]))


def noisy(std, tau):
    return gle.NoisyRates(gle.Step(), std, tau, jax.random.PRNGKey(0))


def circuit(*, weight=0.7, delay=0.1, prospective=True, **conductances: Any) -> gle.Microcircuit:
    """2-2-1, predicting itself."""
    full = lambda shape: gle.Dense(jnp.full(shape, jnp.asarray(weight, float)), None)  # noqa: E731
    back = gle.FeedbackAlignment(gle.Dense(0.5 * full((1, 2)).weight, None))
    options: Any = {"delay": delay, "prospective": prospective, "conductances": gle.Conductances(**conductances)}
    return gle.Microcircuit.self_predicting([full((2, 2)), full((1, 2))], [back], jnp.tanh, **options)


def of_a_system(system: gle.AbstractSystem, read: Callable[[Any], Any], *, stepper: Any = gle.Step()) -> Any:
    """Outputs of three steps, in which the weights learn."""
    optimiser = optax.sgd(0.1)
    stream = X[:3, : system.sources], X[:3, : system.outputs]
    learner = gle.start(system, optimiser, stepper=stepper)
    after, outputs, _ = gle.online(learner, *stream, dt=0.1, optimiser=optimiser, stepper=stepper, throw=False)
    return outputs, read(after.network)


def lowest(circuit: Any) -> Any:
    return circuit.up[0].weight


def exploring(std, tau):
    return gle.Exploring(std, tau, jax.random.PRNGKey(0))


def acting(weight, tau, beta):
    square = 0.3 * jnp.asarray(weight, float) * jnp.asarray([[0.0, 1.0], [-1.0, 0.0]])
    beta = jnp.asarray(beta, float)[None]
    return gle.LeastAction(square, jnp.ones((2, 1)), jnp.tanh, tau=tau, beta=beta)


CASES = {
    "Dense, Transpose, Decoupled": of_a_network(
        {"weight": 0.7, "bias": 0.1, "tau_m": 1.2, "tau_r": 0.8, "beta": 0.7},
    ),
    "Coupled": of_a_network(
        {"gamma": 0.9, "beta": 1.2}, lambda gamma, beta: small(coupling=gle.Coupled(gamma), beta=beta)
    ),
    "FeedbackAlignment": of_a_network(
        {"weight": 0.7}, lambda weight: small(weight=weight, feedback=gle.FeedbackAlignment)
    ),
    "KolenPollack": of_a_network({"weight": 0.7}, lambda weight: small(weight=weight, feedback=gle.KolenPollack)),
    "an activation": of_a_network({"gain": 1.3}, lambda gain: small(activation=Gain(jnp.asarray(gain, float)))),
    "Algorithm1": of_a_stepper(gle.Algorithm1()),
    "Instantaneous": of_a_stepper(gle.Instantaneous()),
    "RTRL": of_a_stepper(gle.RTRL()),
    "RFLO": of_a_stepper(gle.RFLO()),
    "NoisyRates": Case(noisy, {"std": 0.3, "tau": 1.5}, lambda stepper: learned(small(), stepper)),
    "Microcircuit, Conductances": Case(
        circuit,
        {"weight": 0.7, "delay": 0.2, "leak": 0.03, "basal": 0.1, "apical": 0.06, "dendritic": 0.1, "somatic": 0.06},
        lambda system: of_a_system(system, lowest),
    ),
    "Exploring": Case(
        exploring, {"std": 0.3, "tau": 0.4}, lambda stepper: of_a_system(circuit(), lowest, stepper=stepper)
    ),
    "LeastAction": Case(
        acting,
        {"weight": 0.7, "tau": 2.0, "beta": 0.3},
        lambda system: of_a_system(system, lambda network: network.weight),
    ),
    "Retrospective": of_an_operator(gle.Retrospective, tau=0.7),
    "Prospective": of_an_operator(gle.Prospective, tau=0.7),
    "DiscountedFuture": of_an_operator(gle.DiscountedFuture, tau=0.7),
    "Lookback": of_an_operator(gle.Lookback, tau=0.7),
    "Chain": of_an_operator(lambda r, m: gle.Chain((gle.Retrospective(r), gle.Prospective(m))), r=0.7, m=1.1),
    "VoltageAdaptation": Case(gle.VoltageAdaptation, {"tau_m": 1.0, "tau_w": 0.9, "gamma": 1.5}, flow),
    "InputAdaptation": Case(gle.InputAdaptation, {"tau_m": 1.0, "tau_w": 0.9, "gamma": 0.5}, flow),
}


@pytest.fixture(autouse=True)
def _fresh_counters():
    """chex counts by the names of functions, across tests."""
    chex.clear_trace_counter()


def close(actual: Any, expected: Any, tolerance: float) -> None:
    chex.assert_trees_all_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_modules_pass_plain_jit_and_files(name):
    """Other numbers are the same program, Python's or NumPy's are the same numbers; what was saved does the same."""
    make, numbers, run = CASES[name]
    jitted = jax.jit(chex.assert_max_traces(lambda module: run(module), n=1))
    module, other = make(**numbers), make(**{key: 0.9 * value for key, value in numbers.items()})
    first, second = jitted(module), jitted(other)
    chex.assert_tree_all_finite((first, second))
    assert {x.dtype for x in jax.tree.leaves(first)} == {np.dtype(np.float32)}
    assert any(np.any(np.asarray(a) != b) for a, b in zip(*map(jax.tree.leaves, (first, second)), strict=True))
    close(run(module), first, 1e-5)
    close(run(make(**{key: np.asarray(value) for key, value in numbers.items()})), first, 1e-5)
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, module)
    file.seek(0)
    chex.assert_trees_all_equal(jitted(eqx.tree_deserialise_leaves(file, other)), first)


@pytest.mark.parametrize("name", CASES)
def test_numbers_can_be_traced_vmapped_and_differentiated(name, x64):
    """A batch whose members differ in one number each, by a step up or down, and central differences between them."""
    make, numbers, run = CASES[name]
    values, step = jnp.asarray(list(numbers.values())), 1e-6
    members = values[None] + step * jnp.concatenate(
        [jnp.zeros((1, len(values))), jnp.eye(len(values)), -jnp.eye(len(values))]
    )

    def flat(values):
        found = jax.tree.leaves(run(make(**dict(zip(numbers, values, strict=True)))))
        return jnp.concatenate([jnp.ravel(leaf) for leaf in found])

    @jax.jit
    def together(members):
        batch = jax.vmap(flat)(members)
        return batch, jax.grad(lambda x: jnp.sum(jnp.cos(jnp.arange(batch.shape[1])) * flat(x)))(members[0])

    batch, gradient = together(members)
    assert batch.dtype == gradient.dtype == np.float64
    close(batch[:2], jnp.stack([flat(member) for member in members[:2]]), 1e-10)
    loss = batch @ jnp.cos(jnp.arange(batch.shape[1]))
    up, down = jnp.split(loss[1:], 2)
    # The online gradients of GLE are no derivatives by themselves: what is differenced is the whole run with them.
    close(gradient, (up - down) / (2 * step), 1e-6)


def test_other_numbers_are_no_other_program(key):
    """dt, beta, gamma, the noise, a learning rate among the hyperparameters: each used to be a part of the program."""
    traced: list[None] = []

    def phi(potential):
        traced.append(None)
        return jnp.tanh(potential)

    optimiser = optax.inject_hyperparams(optax.sgd)(learning_rate=0.1)
    inputs, targets = X[:, :2], X[:, :1]

    def all_of_it(number):
        net = small(activation=phi, beta=number, coupling=gle.Coupled(number))
        for stepper in (gle.Step(), gle.NoisyRates(gle.Step(), number, number, key)):
            learner = gle.start(net, optimiser, stepper=stepper)
            learner.optimiser.hyperparams["learning_rate"] = jnp.asarray(number)
            gle.online(learner, inputs, targets, dt=number, optimiser=optimiser, stepper=stepper)
        gle.settle(gle.start(net), inputs[0], targets[0])
        gle.infer(net, inputs, dt=number)
        gle.autoregress(gle.start(net), targets, 3, delays=(1, 2), dt=number)
        for gradient in (gle.bptt, gle.adjoint_method, gle.algorithm2, gle.adjoint_variables):
            gradient(net, inputs, targets, dt=number)

    all_of_it(0.1)
    first = len(traced)
    for number in (0.2, np.float32(0.3)):
        all_of_it(number)
    assert len(traced) == first


def test_no_module_is_hidden_by_a_function():
    """A file of the name of a public function could not be imported as an attribute of the package."""
    files = {file.stem for file in Path(gle.__file__).parent.glob("[!_]*.py")}
    hidden = [name for name in files if callable(getattr(gle, name, None))]
    assert not hidden
