"""Errors that act on the membranes: what has a solution is solved, and the rest is said."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimistix
import pytest

import gle
from gle import Coupled, Decoupled, Dense, Layer, Network
from tests.gle.networks import arrays, network


def one_neuron(coupling, beta=1.0):
    return Network(
        [Layer(Dense([[1.0]], None), 1.0, 1.0, gle.linear)], gle.MeanSquaredError(), beta=beta, coupling=coupling
    )


def errors_of(net, state, x, target, throw=True):
    return jnp.concatenate(net.signals(state, x, target, throw=throw).error, axis=-1)


@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0, 1e3])
@pytest.mark.parametrize("gamma", [0.3, 1.0, 5.0])
def test_one_linear_neuron(beta, gamma, precision):
    """e = beta (target - r), r = W x + gamma e (tau_m = tau_r, so u and v do not matter), whatever the product."""
    net = one_neuron(Coupled(gamma), beta)
    error = errors_of(net, net.init((1,)), jnp.array([[0.5]]), jnp.array([[2.0]]))
    expected = beta * 1.5 / (1 + beta * gamma)
    np.testing.assert_allclose(error, [[expected]], rtol=1e-4 if precision == np.float32 else 1e-12)


@pytest.mark.parametrize(("beta", "settled"), [(0.1, 8), (0.3, 8), (1.0, 8), (3.0, 7)])
def test_three_layers_of_five_settle(beta, settled, x64):
    """Eight random networks; a plain iteration settles 8, 8, 0 and 0 of them, and what is found is a solution."""
    keys = jax.random.split(jax.random.key(0), 8)

    @jax.jit
    @jax.vmap
    def settle(key):
        net = network(key, (5, 5, 5, 5), beta=beta, coupling=Coupled(1.0))
        x, target = jax.random.normal(jax.random.fold_in(key, 1), (2, 5))
        found = net.signals(net.init(), x, target, throw=False)
        _, potential, rate = net.forward(net.init().u, x, found.error)
        again = net.backward(net.init().v, potential, rate, target)[1]
        return jnp.concatenate(found.error), jnp.concatenate(again)

    found, again = settle(keys)
    assert int(jnp.sum(jnp.all(jnp.isfinite(found), axis=1))) >= settled
    np.testing.assert_allclose(found, again, rtol=1e-9, atol=1e-9)


def test_samples_settle_by_themselves(key, x64):
    """A batch is what its samples are one by one; one that cannot settle leaves the others alone."""
    net = network(key, (3, 4, 2), beta=2.0, coupling=Coupled(1.0))
    x, target = jax.random.normal(key, (6, 3)), jax.random.normal(key, (6, 2))
    x = x.at[2].set(jnp.inf)
    settle = eqx.filter_jit(errors_of)
    together = settle(net, net.init((6,)), x, target, throw=False)
    alone = jnp.concatenate(
        [settle(net, net.init((1,)), x[i : i + 1], target[i : i + 1], throw=False) for i in range(6)]
    )
    np.testing.assert_allclose(together, alone, rtol=1e-9)
    assert np.flatnonzero(np.isnan(np.asarray(together)).any(axis=1)).tolist() == [2]


def test_derivatives_are_those_of_the_solution(key, x64):
    """Central differences, forward and reverse, for weights, gamma, the target and the state; and vmapped gammas."""
    net = network(key, (2, 3, 2), beta=1.5)
    x, target = jax.random.normal(key, (2, 2)), jnp.array([[0.3, -0.2], [0.5, 0.1]])

    @jax.jit
    def total(weight, gamma, target, u):
        net_ = eqx.tree_at(lambda n: (n.layers[0].connection.weight, n.coupling), net, (weight, Coupled(gamma)))
        return jnp.sum(jnp.sin(errors_of(net_, gle.State(u, net_.init((2,)).v), x, target)))

    point = (net.layers[0].connection.weight, jnp.asarray(1.2), target, tuple(0.1 + u for u in net.init((2,)).u))
    gradient = jax.jit(jax.grad(total, argnums=(0, 1, 2, 3)))(*point)
    direction = jax.tree.map(lambda p: jnp.cos(jnp.arange(p.size, dtype=p.dtype)).reshape(p.shape), point)
    moved = [total(*jax.tree.map(lambda p, d, h=h: p + h * d, point, direction)) for h in (1e-5, -1e-5)]
    central = (moved[0] - moved[1]) / 2e-5
    along = sum(jnp.sum(g * d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
    np.testing.assert_allclose(along, central, rtol=1e-7)
    np.testing.assert_allclose(jax.jit(lambda p, d: jax.jvp(total, p, d)[1])(point, direction), central, rtol=1e-7)
    gammas = jnp.array([0.0, 0.5, 1.2])
    many = jax.vmap(lambda gamma: total(point[0], gamma, *point[2:]))(gammas)
    np.testing.assert_allclose(many, [total(point[0], gamma, *point[2:]) for gamma in gammas], rtol=1e-9)


def test_a_coupling_of_zero_is_none(key, x64):
    nets = [network(key, coupling=coupling) for coupling in (Decoupled(), Coupled(0.0), Coupled(jnp.asarray(0.0)))]
    x, target = jnp.ones((4, 2)), jnp.zeros((4, 3))
    first, *others = (errors_of(net, net.init((4,)), x, target) for net in nets)
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-12)


@pytest.mark.parametrize("finder", [optimistix.FixedPointIteration(1e-10, 1e-10), optimistix.Newton(1e-10, 1e-10)])
def test_any_root_finder_of_optimistix_will_do(finder, key, x64):
    expected, found = (
        errors_of(net, net.init(), jnp.ones(2), jnp.zeros(3))
        for net in (
            network(key, (2, 3), beta=0.3, coupling=coupling) for coupling in (Coupled(1.0), Coupled(1.0, finder))
        )
    )
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_whoever_fails_is_returned_as_it_was(key, x64):
    """Errors without solution, NaN in the stream, an absurd learning rate, a time step that is none."""
    optimiser = optax.sgd(0.1)
    inputs, targets = jnp.ones((4, 1, 2)), jnp.zeros((4, 1, 3))
    cases = [
        (network(key, (2, 3), beta=1e300, coupling=Coupled(1e300)), inputs, optimiser, 0.05, gle.RESULTS.no_solution),
        (network(key, (2, 3)), inputs.at[1].set(jnp.nan), optimiser, 0.05, gle.RESULTS.invalid_input),
        (network(key, (2, 3)), inputs, optax.sgd(np.inf), 0.05, gle.RESULTS.non_finite),
        (network(key, (2, 3)), inputs, optimiser, 0.0, gle.RESULTS.invalid_step),
        (network(key, (2, 3)), inputs, optimiser, -0.1, gle.RESULTS.invalid_step),
        (network(key, (2, 3)), inputs, optimiser, np.nan, gle.RESULTS.invalid_step),
    ]
    for net, stream, optimiser, dt, expected in cases:
        learner = gle.start(net, optimiser, batch=(1,))
        after, _, result = gle.online(learner, stream, targets, dt=dt, optimiser=optimiser, throw=False)
        assert result == expected, gle.RESULTS[result]
        for new, old in zip(arrays(after), arrays(learner), strict=True):
            np.testing.assert_array_equal(new, old)
    with pytest.raises(RuntimeError, match="dt must be positive"):
        gle.online(gle.start(net, batch=(1,)), inputs, dt=0.0)
