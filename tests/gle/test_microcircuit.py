"""The dendritic microcircuit: right values of its rest, NumPy step by step, and the ladder of GLE's Fig. 4."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gle
from tests.gle.microcircuit_reference import microcircuit
from tests.gle.networks import network

R0 = np.array([0.2, 0.8])


def values(rows, columns, shift):
    return np.sin(1 + np.arange(rows)[:, None] * columns + np.arange(columns)[None] + shift)


def golden(back=None, **options):
    """2-3-2 of fixed weights, in the self-predicting state."""
    up = [gle.Dense(values(3, 2, 0), None), gle.Dense(values(2, 3, 0.5), None)]
    back = gle.FeedbackAlignment(gle.Dense(values(3, 2, 1).T, None)) if back is None else back
    return gle.Microcircuit.self_predicting(up, [back], jax.nn.softplus, **options)


def at_rest(circuit, target=None):
    r0 = jnp.asarray(R0)
    return circuit.signals(circuit.equilibrium(r0, target), r0, target)


def test_right_values_without_a_target(x64):
    """The interneurons predict the layer above, and the apical dendrites are silent."""
    now = at_rest(golden())
    np.testing.assert_allclose(now.potential[0], [0.47143797, -0.30379894, -0.21858803], atol=1e-8)
    np.testing.assert_allclose(now.inter[0], [0.82915496, -0.92154164], atol=1e-8)
    np.testing.assert_allclose(now.output, now.inter[0], atol=1e-12)
    np.testing.assert_allclose(now.apical[0], 0, atol=1e-12)
    for error in (*now.error, *now.inter_error):
        np.testing.assert_allclose(error, 0, atol=1e-12)


@pytest.mark.parametrize("prospective", [True, False])
def test_right_values_with_a_target(prospective, x64):
    circuit = golden(prospective=prospective)
    now = at_rest(circuit, jnp.asarray([1.0, 0.1]))
    np.testing.assert_allclose(now.potential[0], [0.48221831, -0.33209973, -0.20581380], atol=1e-8)
    np.testing.assert_allclose(now.inter[0], [0.84445914, -0.81749832], atol=1e-8)
    np.testing.assert_allclose(now.output, [0.88178895, -0.59729872], atol=1e-8)
    np.testing.assert_allclose(now.apical[0], [0.03413774, -0.08961916, 0.04045172], atol=1e-8)
    np.testing.assert_allclose(np.concatenate(jax.tree.leaves(now.derivative)), 0, atol=1e-12)


def test_small_errors_are_those_of_backpropagation(x64):
    """phi(u~) - phi(v^) is parallel to phi' * W^T (phi' e), as nudging vanishes."""
    circuit = golden(gle.Transpose())
    free = at_rest(circuit)
    now = at_rest(circuit, free.output + 0.001 * jnp.asarray([1.0, -0.5]))
    slope = [jax.nn.sigmoid(u) for u in free.potential]
    exact = slope[0] * (circuit.up[1].weight.T @ (slope[1] * 0.001 * jnp.asarray([1.0, -0.5])))
    found = now.error[0]
    lengths = jnp.linalg.norm(found), jnp.linalg.norm(exact)
    np.testing.assert_allclose(found @ exact / (lengths[0] * lengths[1]), 0.9999998, atol=5e-8)
    np.testing.assert_allclose(lengths[0] / lengths[1], 0.06548, atol=5e-6)


@pytest.mark.parametrize("prospective", [True, False])
def test_step_by_step(prospective, x64, rng):
    """Outputs and all four kinds of synapses against NumPy, one rate for each."""
    dt, weights = 0.1, [rng.uniform(-1, 1, shape) for shape in ((3, 2), (2, 3), (2, 3), (2, 3), (3, 2))]
    inputs, targets = np.repeat(rng.uniform(0, 1, (6, 2)), 5, axis=0), np.repeat(rng.uniform(0, 1, (6, 2)), 5, axis=0)
    rates = (0.05, 0.02, 0.03, 0.01)
    w1, w2, b, ip, pi = (gle.Dense(x, None) for x in weights)
    circuit = gle.Microcircuit(
        [w1, w2], [ip], [pi], [gle.FeedbackAlignment(b)], jax.nn.softplus, delay=dt, prospective=prospective
    )
    names = ("up.0", "up.1", "to_inter.0", "from_inter.0")
    rules: dict[Any, Any] = {name: optax.sgd(rate) for name, rate in zip(names, rates, strict=True)}
    rules |= dict.fromkeys(("feedback.0", "fixed"), optax.set_to_zero())
    optimiser = optax.partition(rules, gle.circuit_labels)
    learner, outputs, _ = gle.online(
        gle.start(circuit, optimiser), jnp.asarray(inputs), jnp.asarray(targets), dt=dt, optimiser=optimiser
    )
    wanted, learned = microcircuit(*weights, inputs, targets, dt=dt, rates=rates, prospective=prospective)
    np.testing.assert_allclose(outputs, wanted, atol=1e-12)
    after = learner.network
    found = (*after.up, *after.to_inter, *after.from_inter)
    for connection, weight in zip(found, learned, strict=True):
        np.testing.assert_allclose(connection.weight, weight, atol=1e-12)
    np.testing.assert_array_equal(after.feedback[0].connection.weight, weights[2])


def test_signals_of_learning_rules_make_its_own_gradients(x64, rng):
    """-error pre^T at every weight is what `plasticity` returns; B is told what W is told."""
    circuit = golden()
    now = at_rest(circuit, jnp.asarray([1.0, 0.1]))
    told, gradient = circuit.synapses(now), circuit.plasticity(now)
    made = jax.tree.map(lambda error, pre: -jnp.outer(error, pre), told["error"], told["pre"])
    for kind in ("up", "to_inter", "from_inter"):
        for one, other in zip(
            jax.tree.leaves(getattr(made, kind)), jax.tree.leaves(getattr(gradient, kind)), strict=True
        ):
            np.testing.assert_allclose(one, other, atol=1e-15)
    np.testing.assert_array_equal(told["pre"].feedback[0].connection.weight, told["pre"].up[1].weight)


def test_two_hidden_layers_predict_themselves(x64, rng):
    """The factor of L^IP has no apical conductance at the top, and has it below."""
    up = [gle.Dense(rng.normal(size=shape), rng.normal(size=shape[0])) for shape in ((4, 3), (3, 4), (2, 3))]
    circuit = gle.Microcircuit.self_predicting(up, [gle.Transpose()] * 2, jnp.tanh)
    now = circuit.signals(circuit.equilibrium(jnp.ones(3)), jnp.ones(3))
    for apical in now.apical:
        np.testing.assert_allclose(apical, 0, atol=1e-12)


def test_the_ladder_of_fig_4_is_the_network(key, x64, rng):
    """Representation neurons, error neurons beside them, gates and feedback, wired by hand: the same bits."""
    net = network(key, beta=0.7)
    x, target = jnp.asarray(rng.normal(size=(4, 2))), jnp.asarray(rng.normal(size=(4, 3)))
    state = jax.tree.map(lambda y: jnp.asarray(rng.normal(size=y.shape)), net.init((4,)))
    wanted = net.signals(state, x, target)
    rate, potentials, rates = x, [], []
    for layer, u in zip(net.layers, state.u, strict=True):
        potentials.append(gle.LeadLag(layer.tau_m, layer.tau_r).flow(u, layer.connection(rate))[1])
        rate = layer.activation(potentials[-1])
        rates.append(rate)
    reward = -net.beta * net.cost.gradient(potentials[-1], target, net.layers[-1].activation)
    arriving, errors = None, []
    for number in reversed(range(len(net.layers))):
        layer = net.layers[number]
        gated = reward if arriving is None else gle.Derivative()(layer.activation, potentials[number], arriving)
        errors.append(gle.LeadLag(layer.tau_r, layer.tau_m).flow(state.v[number], gated)[1])
        if number:
            arriving = layer.connection.transpose(errors[-1], rates[number - 1])
    for one, other in zip(errors[::-1], wanted.error, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_does_not_fit_is_refused(x64):
    wide = gle.Dense(np.ones((3, 3)), None)
    up = [gle.Dense(values(3, 2, 0), None), gle.Dense(values(2, 3, 0.5), None)]
    with pytest.raises(ValueError, match=r"to_inter\[0\] must connect 3 pyramidal cells with 2 interneurons"):
        gle.Microcircuit(up, [wide], [wide], [gle.Transpose()], jnp.tanh)
    with pytest.raises(ValueError, match="leak must be positive"):
        gle.Conductances(leak=0.0)
    with pytest.raises(ValueError, match="delay must be positive"):
        golden(delay=-1.0)
    strong = [gle.Dense(9.0 * np.eye(2), None)] * 2
    back = [gle.FeedbackAlignment(gle.Dense(-90.0 * np.eye(2), None))]
    zero = [gle.Dense(np.zeros((2, 2)), None)]
    unstable = gle.Microcircuit(strong, zero, zero, back, jnp.tanh)
    with pytest.raises(RuntimeError, match="no stable state"):
        unstable.equilibrium(jnp.asarray(R0))
    with pytest.raises(RuntimeError, match="loop through apical dendrites"):
        gle.settle(gle.start(unstable), R0)
