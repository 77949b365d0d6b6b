"""The protocol of systems: a neuron of a user's own, exchanged under `online` and all the others."""

import re
from pathlib import Path

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gle
from tests.gle.networks import network, stream

PAGE = (Path(__file__).parents[2] / "docs" / "gle.md").read_text(encoding="utf-8")


def own_neuron():
    """The example of docs/gle.md: neurons whose synapses are conductances."""
    code = next(x for x in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "AbstractSystem" in x)
    names: dict = {}
    exec(compile(code, "docs/gle.md", "exec"), names)
    return names


def test_a_neuron_of_ones_own_learns_online(x64, rng):
    names = own_neuron()
    student, teacher = names["student"], names["teacher"]
    assert names["losses"][-50:].mean() < 1e-3 * names["losses"][:50].mean()
    np.testing.assert_allclose(jax.nn.softplus(student.weight), jax.nn.softplus(teacher.weight), rtol=1e-5)


def test_a_neuron_of_ones_own_in_all_that_runs_systems(x64, rng):
    """Equilibrium, inference, continuation and diffrax: each against what the equation says."""
    neuron = own_neuron()["Conductances"](jnp.asarray(rng.normal(size=(2, 3))), jnp.asarray(2.0))
    g, x = np.log1p(np.exp(np.asarray(neuron.weight))), rng.uniform(0.1, 1, (40, 4, 3))
    learner = gle.settle(gle.start(neuron, batch=(4,)), x[0])
    np.testing.assert_allclose(learner.state, x[0] @ g.T / (1 + x[0] @ g.T), rtol=1e-12)

    u, outputs = np.zeros((4, 2)), []
    for now in x:
        outputs.append(u)
        u = u + 0.1 / 2 * (-u + now @ g.T * (1 - u))
    inferred, last = gle.infer(neuron, x, dt=0.1)
    after, observed, _ = gle.online(gle.start(neuron, batch=(4,)), x, dt=0.1)
    for found, wanted in ((inferred, outputs), (observed, outputs), (last, u), (after.state, u)):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)

    term, drive = diffrax.ODETerm(neuron.vector_field), gle.Drive(lambda t: jnp.asarray(x[0]))
    solution = diffrax.diffeqsolve(term, diffrax.Tsit5(), 0.0, 3.0, 0.01, neuron.init((4,)), drive)
    total = 1 + x[0] @ g.T
    assert solution.ys is not None
    np.testing.assert_allclose(solution.ys[0], (1 - 1 / total) * (1 - np.exp(-total * 1.5)), rtol=1e-5)
    assert gle.largest_step(neuron) == pytest.approx(4.0)
    with pytest.raises(ValueError, match="inputs must have the shape"):
        gle.online(gle.start(neuron, batch=(4,)), x[..., :2], dt=0.1)
    with pytest.raises(ValueError, match="needs 2 inputs"):
        gle.autoregress(gle.start(neuron, batch=(4,)), x[..., :2], 3, delays=(0,), dt=0.1)
    own = own_neuron()["Conductances"](neuron.weight[:, :2], jnp.asarray(2.0))
    _, predictions, _ = gle.autoregress(gle.start(own), x[:4, 0, :2], 2, delays=(1,), dt=0.1)
    wanted = gle.infer(own, jnp.stack([x[2, 0, :2], x[3, 0, :2]]), dt=0.1)[0]
    np.testing.assert_allclose(predictions, wanted, rtol=1e-12)


def test_equilibrium_of_any_system_is_that_of_the_network(key, x64, rng):
    """Newton's method on the derivative finds what the sweeps of `Network.equilibrium` give."""
    net = network(key, (2, 3, 2))
    x, target = (jnp.asarray(rng.normal(size=(1, 2))) for _ in range(2))
    found = gle.AbstractSystem.equilibrium(net, x, target)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(net.equilibrium(x, target)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-10)


def test_neurons_are_the_operators(x64, rng):
    """A membrane in Euler steps is I- with tau_m, then D+ with tau_r, which are exact: it errs in first order."""
    t = np.linspace(0, 6, 6001)
    x = np.sin(t)[:, None] * np.ones(1)
    exact = gle.Chain((gle.Retrospective(1.3), gle.Prospective(0.4))).trajectory(x, t[1])
    neuron = gle.LeadLag(jnp.asarray([1.3]), jnp.asarray([0.4]))
    errors = []
    for skip in (20, 10):
        _, outputs = neuron.course(jnp.zeros(1), jnp.asarray(x[::skip]), skip * t[1])
        errors.append(np.max(np.abs(np.asarray(outputs) - exact[::skip])[10:]))
    assert errors[1] < 5e-3
    np.testing.assert_allclose(errors[0] / errors[1], 2, rtol=0.15)


def test_threshold_gates_errors_as_a_rectifier_does(key, x64, rng):
    """The derivative of a rectifier is its threshold; of another activation it is told apart."""
    inputs, targets = stream(rng, 20, 2, 2, 1)

    def learned(activation, gate):
        layers = [
            gle.Layer(gle.Dense.init(2, 5, key=key), 1.0, 0.7, activation, gate=gate),
            gle.Layer(gle.Dense.init(5, 1, key=key), 1.0, 1.0, gle.linear),
        ]
        sgd = optax.sgd(0.1)
        net = gle.Network(layers, gle.MeanSquaredError())
        after, _, _ = gle.online(gle.start(net, sgd, batch=(2,)), inputs, targets, dt=0.05, optimiser=sgd)
        return after.network.layers[0].connection.weight

    exact = learned(jax.nn.relu, gle.Derivative())
    np.testing.assert_array_equal(learned(jax.nn.relu, gle.Threshold()), exact)
    assert np.max(np.abs(learned(jax.nn.relu, gle.Threshold(0.3)) - exact)) > 1e-6
