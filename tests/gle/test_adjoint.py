import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gle
from tests.gle.networks import arrays, network, stream


def vector(tree):
    return np.concatenate([np.ravel(x) for x in arrays(tree)])


@pytest.mark.parametrize("cost", [gle.MeanSquaredError(), gle.CrossEntropy()])
def test_the_discrete_adjoint_is_autodiff(cost, key, x64, rng):
    output = jnp.tanh if isinstance(cost, gle.MeanSquaredError) else jax.nn.softmax
    net = network(key, cost=cost, output=output)
    inputs, targets = stream(rng, 80, 2, 2, 3)
    value, exact = gle.bptt(net, inputs, targets, dt=0.05)
    again, found = gle.adjoint_method(net, inputs, targets, dt=0.05)
    np.testing.assert_allclose(again, value, rtol=1e-13)
    np.testing.assert_allclose(vector(found), vector(exact), rtol=1e-12, atol=1e-14)


def test_windows_are_trials_that_start_where_the_one_before_ended(key, x64, rng):
    net = network(key)
    inputs, targets = stream(rng, 80, 2, 2, 3)
    value, whole = gle.bptt(net, inputs, targets, dt=0.05, window=40)
    _, u = gle.infer(net, inputs[:40], dt=0.05)
    first = gle.bptt(net, inputs[:40], targets[:40], dt=0.05)
    second = gle.bptt(net, inputs[40:], targets[40:], dt=0.05, u=u)
    np.testing.assert_allclose(value, first[0] + second[0], rtol=1e-12)
    np.testing.assert_allclose(vector(whole), vector(first[1]) + vector(second[1]), rtol=1e-11, atol=1e-13)


def test_autodiff_is_the_central_difference(key, x64, rng):
    net = network(key, sizes=(1, 2, 1))
    inputs, targets = stream(rng, 40, 2, 1, 1)
    arrays, static = eqx.partition(net, eqx.is_inexact_array)
    flat, unravel = jax.flatten_util.ravel_pytree(arrays)

    def cost(flat):
        return gle.bptt(eqx.combine(unravel(flat), static), inputs, targets, dt=0.05)[0]

    h = 1e-5
    differences = [(cost(flat.at[i].add(h)) - cost(flat.at[i].add(-h))) / (2 * h) for i in range(flat.size)]
    found = jax.flatten_util.ravel_pytree(eqx.filter(gle.bptt(net, inputs, targets, dt=0.05)[1], eqx.is_inexact_array))[
        0
    ]
    np.testing.assert_allclose(found, np.array(differences), rtol=1e-7, atol=1e-10)


def test_algorithm_2_tends_to_the_exact_adjoint(key, x64, rng):
    """Linearly in dt, at the same trial."""
    net, distances = network(key), []
    for refine in (2, 4):
        inputs, targets = (jnp.repeat(x, refine, axis=0) for x in stream(np.random.default_rng(0), 60, 2, 2, 3))
        exact, found = (
            vector(method(net, inputs, targets, dt=0.05 / refine)[1]) for method in (gle.adjoint_method, gle.algorithm2)
        )
        distances.append(np.linalg.norm(found - exact) / np.linalg.norm(exact))
    assert distances[-1] < 0.05
    np.testing.assert_allclose(np.divide(distances[:-1], distances[1:]), 2, rtol=0.25)


def test_truncation(key, x64, rng):
    net = network(key)
    inputs, targets = stream(rng, 40, 2, 2, 3)
    whole, windowed, short = (vector(gle.bptt(net, inputs, targets, dt=0.05, window=w)[1]) for w in (None, 40, 10))
    np.testing.assert_array_equal(whole, windowed)
    assert 1e-3 < np.linalg.norm(short - whole) / np.linalg.norm(whole) < 1
    with pytest.raises(ValueError, match="window must divide the 40 steps, but is 7"):
        gle.bptt(net, inputs, targets, dt=0.05, window=7)


def test_online_errors_point_along_the_exact_gradient(key, x64, rng):
    """On slow inputs the sum of the online gradients is well aligned with the adjoint's."""
    net = network(key)
    slow = jnp.sin(0.3 * 0.05 * jnp.arange(800))[:, None, None] * jnp.ones((1, 2, 2))
    targets = 0.5 * jnp.cos(0.3 * 0.05 * jnp.arange(800))[:, None, None] * jnp.ones((1, 2, 3))
    gradients = gle.online(
        gle.start(net, batch=(2,)), slow, targets, dt=0.05, observe=lambda net, signals: net.plasticity(signals).layers
    )[1]
    online = vector(jax.tree.map(lambda x: 0.05 * x.sum(0), eqx.filter(gradients, eqx.is_inexact_array)))
    exact = vector(gle.adjoint_method(net, slow, targets, dt=0.05)[1].layers)
    assert online @ exact / np.linalg.norm(online) / np.linalg.norm(exact) > 0.9


def test_layers_that_do_not_learn_have_no_gradient(key, rng):
    net = network(key, (2, 3, 1))
    lower = net.layers[0]
    fixed = gle.Layer(lower.connection, lower.tau_m, lower.tau_r, lower.activation, plastic=False)
    fixed = gle.Network([fixed, net.layers[1]], net.cost)
    inputs, targets = stream(rng, 10, 2, 2, 1)
    (_, exact), (_, again) = (f(fixed, inputs, targets, dt=0.05) for f in (gle.bptt, gle.adjoint_method))
    whole = gle.bptt(net, inputs, targets, dt=0.05, window=np.int64(10))[1]
    assert all(np.all(x == 0) for x in arrays((exact.layers[0], again.layers[0])))
    np.testing.assert_allclose(vector(exact.layers[1]), vector(whole.layers[1]), rtol=1e-5)
