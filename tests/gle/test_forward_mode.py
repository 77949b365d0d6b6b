import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gle
from gle import RFLO, RTRL
from tests.gle.networks import arrays, network, stream

DT = 0.05


def total_gradient(net, inputs, targets, stepper):
    """The integral over a trial in which nothing is learned."""
    collect = optax.GradientTransformation(
        lambda parameters: jax.tree.map(jnp.zeros_like, parameters),
        lambda gradients, total, _=None: (jax.tree.map(jnp.zeros_like, gradients), optax.tree.add(total, gradients)),
    )
    learner = gle.start(net, collect, stepper=stepper, batch=inputs.shape[1:-1])
    learner, *_ = gle.online(learner, inputs, targets, dt=DT, optimiser=collect, stepper=stepper)
    return jax.tree.map(lambda x: DT * x, learner.optimiser)


def compare(net, inputs, targets, stepper):
    _, expected = gle.bptt(net, inputs, targets, dt=DT)
    for ours, exact in zip(arrays(total_gradient(net, inputs, targets, stepper)), arrays(expected), strict=True):
        np.testing.assert_allclose(ours, exact, atol=1e-12)


@pytest.mark.parametrize("batch", [(), (2,)])
def test_rtrl_is_backpropagation_through_time(batch, key, rng, x64):
    inputs, targets = stream(rng, 40, 2, 2, 3)
    inputs, targets = (x.reshape(40, *batch, -1) if batch else x[:, 0] for x in (inputs, targets))
    compare(network(key), inputs, targets, RTRL())


def test_rflo_is_exact_if_only_the_lowest_layer_lags(key, rng, x64):
    lagging, *others = network(key).layers
    instantaneous = gle.Network(others, gle.MeanSquaredError()).without_lags().layers
    net = gle.Network([lagging, *instantaneous], gle.MeanSquaredError())
    inputs, targets = stream(rng, 40, 2, 2, 3)
    _, expected = gle.bptt(net, inputs, targets, dt=DT)
    ours = total_gradient(net, inputs, targets, RFLO())
    for layer, exact in zip(ours.layers, expected.layers, strict=True):
        np.testing.assert_allclose(layer.connection.weight, exact.connection.weight, atol=1e-12)
        np.testing.assert_allclose(layer.connection.bias, exact.connection.bias, atol=1e-12)
    np.testing.assert_allclose(ours.layers[0].tau_m, expected.layers[0].tau_m, atol=1e-12)
    np.testing.assert_allclose(ours.layers[0].tau_r, expected.layers[0].tau_r, atol=1e-12)


def test_rflo_misses_the_lags_above(key, rng, x64):
    """But it is exact for the top layer."""
    net, (inputs, targets) = network(key), stream(rng, 40, 2, 2, 3)
    _, expected = gle.bptt(net, inputs, targets, dt=DT)
    ours = total_gradient(net, inputs, targets, RFLO())
    np.testing.assert_allclose(ours.layers[-1].connection.weight, expected.layers[-1].connection.weight, atol=1e-12)
    below, exact = ours.layers[0].connection.weight, expected.layers[0].connection.weight
    assert np.abs(below - exact).max() > 1e-3 * np.abs(exact).max()


@pytest.mark.parametrize("stepper", [RTRL(), RFLO()])
def test_frozen_layers_have_no_gradient(stepper, key, rng):
    first, *others = network(key).layers
    frozen = gle.Layer(first.connection, first.tau_m, first.tau_r, jnp.tanh, plastic=False)
    net = gle.Network([frozen, *others], gle.MeanSquaredError())
    gradient = total_gradient(net, *stream(rng, 3, 2, 2, 3), stepper)
    assert all(not jnp.any(x) for x in arrays(gradient.layers[0]))
    assert all(jnp.any(x) for x in arrays(gradient.layers[1].connection))
