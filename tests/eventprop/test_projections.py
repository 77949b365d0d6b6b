"""Delays stay in range while they are learned."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import eventprop as ep


def network(delay, lateral=None):
    layers = [(ep.Dense(jnp.ones((2, 3)), delay), ep.LIF(20.0, 5.0))]
    if lateral is None:
        return ep.FeedForward(layers)
    return ep.Recurrent([(*layers[0], ep.Dense(jnp.zeros((2, 2)), lateral))])


def test_delays_end_at_zero_and_all_else_passes(precision):
    """By hand, after Adam too; per source, per synapse, on a lateral connection, frozen and absent ones."""
    delay, lateral = jnp.array([0.1, 0.5, 0.0]), jnp.array([[0.2, 1.0], [0.3, 0.0]])
    model = eqx.filter(network(delay, lateral), eqx.is_inexact_array)
    updates = jax.tree.map(lambda x: jnp.full_like(x, -0.25), model)
    optimiser = ep.keep_not_negative()
    new = jax.jit(lambda u, p: optax.apply_updates(p, optimiser.update(u, optimiser.init(p), p)[0]))(updates, model)
    weight, lateral_new = new.layers[0][0], new.layers[0][2]
    assert weight.delay.dtype == precision
    np.testing.assert_allclose(weight.delay, [0.0, 0.25, 0.0], rtol=1e-6)
    np.testing.assert_allclose(lateral_new.delay, [[0.0, 0.75], [0.05, 0.0]], rtol=1e-5)
    np.testing.assert_allclose([weight.weight[0, 0], lateral_new.weight[0, 0]], [0.75, -0.25], rtol=1e-6)
    frozen = eqx.tree_at(lambda n: n.layers[0][0].delay, updates, None)
    passed, _ = optimiser.update(frozen, optax.EmptyState(), model)
    assert passed.layers[0][0].delay is None
    np.testing.assert_allclose(passed.layers[0][2].delay, [[-0.2, -0.25], [-0.25, 0.0]], rtol=1e-6)
    none, _ = optimiser.update(network(None), optax.EmptyState(), network(None))
    np.testing.assert_array_equal(none.layers[0][0].weight, 1.0)


def test_it_is_masked_and_names_what_it_needs(x64):
    model = eqx.filter(network(jnp.array([0.1, 0.1, 0.1])), eqx.is_inexact_array)
    updates = jax.tree.map(lambda x: jnp.full_like(x, -1.0), model)
    mask = eqx.tree_at(lambda n: n.layers[0][0].weight, jax.tree.map(lambda _: True, model), False)
    over = optax.masked(ep.keep_not_negative(), mask)
    new, _ = over.update(updates, over.init(model), model)
    np.testing.assert_allclose(new.layers[0][0].delay, -0.1)
    np.testing.assert_allclose(new.layers[0][0].weight, -1.0)
    with pytest.raises(ValueError, match="needs the parameters"):
        ep.keep_not_negative().update(updates, optax.EmptyState())


def test_a_delay_is_learned_and_stops_at_zero(x64):
    """A neuron that shall fire before it can: its delay shrinks to 0, and another target takes it back up."""
    spikes = ep.Spikes.from_events([2.0], [0])

    def error(model, target):
        solution = ep.simulate(model, spikes, 60.0, solver=ep.Exact(max_spikes=1), throw=False)
        return (solution.spikes[0].first()[0] - target) ** 2

    connection = ep.Dense(jnp.array([[9.0]]), jnp.array([1.0]))
    model = ep.FeedForward([(connection, ep.LIF(20.0, 5.0, refractory=ep.FiresOnce()))])
    model = jax.tree.map(jnp.asarray, model)
    optimiser = optax.chain(optax.sgd(0.1), ep.keep_not_negative())
    delays = eqx.tree_at(lambda n: n.layers[0][0].delay, jax.tree.map(lambda _: False, model), True)

    @jax.jit
    def step(model, target):
        gradient = eqx.filter(eqx.filter_grad(error)(model, target), delays)
        updates, _ = optimiser.update(gradient, optimiser.init(model), model)
        return eqx.apply_updates(model, updates)

    for target in (0.0, 7.0):
        model = jax.lax.fori_loop(0, 40, lambda _, model, target=target: step(model, target), model)
        np.testing.assert_array_equal(model.layers[0][0].delay == 0, target == 0)
    np.testing.assert_allclose(error(model, 7.0), 0.0, atol=1e-6)
