import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sal


def machine(seed, units=4):
    rng = np.random.default_rng(seed)
    weights = np.triu(rng.standard_normal((units, units)), 1)
    return weights + weights.T, rng.standard_normal(units)


@eqx.filter_jit
def moments_and_probabilities(boltzmann):
    return boltzmann.moments(), boltzmann.probabilities()


@given(seed=st.integers(0, 1000), units=st.integers(2, 5))
def test_probabilities_and_moments(seed, units):
    weights, bias = machine(seed, units)
    with jax.enable_x64(True):
        boltzmann = sal.Boltzmann(jnp.array(weights), jnp.array(bias))
        moments, probabilities = moments_and_probabilities(boltzmann)
    states = [np.array(z) for z in itertools.product((0, 1), repeat=units)]
    unnormalised = np.array([np.exp(z @ weights @ z / 2 + bias @ z) for z in states])
    p = unnormalised / unnormalised.sum()
    np.testing.assert_allclose(probabilities, p, rtol=1e-12)
    correlations = sum(q * np.outer(z, z) for q, z in zip(p, states, strict=True))
    np.testing.assert_allclose(moments.bias, np.diagonal(correlations), rtol=1e-12)
    np.testing.assert_allclose(moments.weight, correlations - np.diag(np.diagonal(correlations)), rtol=1e-12)


def test_states_are_numbered_in_their_order():
    z = sal.all_states(4)
    np.testing.assert_array_equal(sal.state_index(z == 1), np.arange(16))


def test_the_gradient_of_the_divergence_is_wake_minus_sleep(x64):
    # d D_KL(p* || p) / d theta = <.>_p - <.>_p*, which is what wake-sleep descends.
    weights, bias = (jnp.array(x) for x in machine(0))
    target = sal.Boltzmann(*(jnp.array(x) for x in machine(1)))

    def divergence(weights, bias):
        return sal.kl_divergence(target.probabilities(), sal.Boltzmann(weights, bias).probabilities())

    by_weights, by_bias = jax.jit(jax.grad(divergence, (0, 1)))(weights, bias)
    wake, sleep = target.moments(), sal.Boltzmann(weights, bias).moments()
    np.testing.assert_allclose(by_bias, sleep.bias - wake.bias, atol=1e-12)
    # Each of a pair of reciprocal weights has half of the gradient of their common value.
    np.testing.assert_allclose(2 * by_weights * (1 - np.eye(4)), sleep.weight - wake.weight, atol=1e-12)


def test_marginals_leave_the_visible_units(x64):
    weights, bias = machine(2)
    p = sal.Boltzmann(jnp.array(weights), jnp.array(bias)).probabilities()
    visible = sal.marginal(p, 2)
    expected = np.zeros(4)
    for z, probability in zip(itertools.product((0, 1), repeat=4), np.asarray(p), strict=True):
        expected[2 * z[0] + z[1]] += probability
    np.testing.assert_allclose(visible, expected, rtol=1e-12)


def test_divergence_of_unvisited_states(x64):
    p, q = jnp.array([0.5, 0.5, 0.0, 0.0]), jnp.array([0.25, 0.25, 0.25, 0.25])
    np.testing.assert_allclose(sal.kl_divergence(p, q), np.log(2), rtol=1e-15)
    assert sal.kl_divergence(q, p) == jnp.inf
    gradient = jax.grad(lambda q: sal.kl_divergence(p, q))(q)
    np.testing.assert_allclose(gradient, [-2.0, -2.0, 0.0, 0.0])


def test_bad_input():
    with pytest.raises(ValueError, match=r"must be symmetric, they differ by up to 0\.5"):
        sal.Boltzmann(jnp.array([[0.0, 1.0], [0.5, 0.0]]), jnp.zeros(2))
    with pytest.raises(ValueError, match="diagonal of the weights must be zero"):
        sal.Boltzmann(jnp.eye(2), jnp.zeros(2))
    with pytest.raises(ValueError, match="at most 20 units can be enumerated, got 21"):
        sal.Boltzmann(jnp.zeros((21, 21)), jnp.zeros(21))
    with pytest.raises(ValueError, match="must sum to one"):
        sal.distribution_moments(jnp.array([0.5, 0.5, 0.5, 0.5]))
    with pytest.raises(ValueError, match=r"2\^units numbers, one per state, got shape \(3,\)"):
        sal.distribution_moments(jnp.array([0.5, 0.25, 0.25]))
    with pytest.raises(ValueError, match="visible must be between 1 and 2, got 3"):
        sal.marginal(jnp.full(4, 0.25), 3)
    with pytest.raises(ValueError, match="same shape"):
        sal.kl_divergence(jnp.full(4, 0.25), jnp.full(2, 0.5))
