"""Which parameters learn, and the bounds they keep after rounding."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gle
from tests.gle.networks import network

SGD = optax.sgd(0.1)


def bounded_step(parameter, update, bound):
    """A time constant after `at_least`, as `eqx.apply_updates` adds it up."""
    layer = gle.Layer(gle.Identity(parameter.size), parameter, 1.0, gle.linear)
    parameters = eqx.filter(gle.Network([layer], gle.MeanSquaredError()), eqx.is_inexact_array)
    updates = eqx.tree_at(lambda net: net.layers[0].tau_m, jax.tree.map(jnp.zeros_like, parameters), update)
    updates, _ = gle.at_least(bound, 0.1).update(updates, optax.EmptyState(), parameters)
    return eqx.apply_updates(parameters, updates).layers[0].tau_m


def test_bounds_hold_after_rounding(rng, precision):
    """.1 used to end at .0999999, and a step down from 1e8 at 0; what stays above its bound is left alone."""
    old = jnp.asarray(0.1 * 10 ** rng.uniform(0, 9, 400), precision)
    update = jnp.asarray(-(10 ** rng.uniform(-3, 10, 400)), precision)
    step = jax.jit(bounded_step)
    for bound in (0.1, 0.3, 1 / 3):
        new, free = step(old, update, bound), old + update
        assert jnp.all(new >= jnp.asarray(bound, precision))
        np.testing.assert_array_equal(new[free >= bound], free[free >= bound])
        # As near to the bound as the sum of two floats comes: half a unit of the old value.
        near = new[free < bound] - bound
        assert jnp.all(near <= 2 * jnp.finfo(precision).eps * (old[free < bound] + bound))


@pytest.mark.parametrize("start", [1.0, 0.7, 1e3, 1e8])
def test_a_stream_goes_on_at_the_bound(start):
    """dt is the limit of stability, two times the bound, so the least rounding below it would be refused."""
    pull = optax.chain(optax.stateless(lambda updates, _: jax.tree.map(lambda x: -3e9 * jnp.ones_like(x), updates)))
    optimiser = optax.chain(gle.only(tau_m=pull, tau_r=pull), gle.at_least(0.1, 0.1))
    net = gle.Network([gle.Layer(gle.Identity(1), start, start, gle.linear)], gle.MeanSquaredError())
    learner, stream = gle.start(net, optimiser), jnp.ones((3, 1))
    for _ in range(2):
        learner, *_ = gle.online(learner, stream, stream, dt=0.2, optimiser=optimiser)
    (layer,) = learner.network.layers
    np.testing.assert_array_equal([layer.tau_m, layer.tau_r], np.full((2, 1), np.float32(0.1)))


def test_names_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="there are no parameters conection; choose among connection, tau_m"):
        gle.only(conection=SGD)
    for bad in (0.0, np.nan, jnp.asarray(-1.0), np.array([0.1, 0.0])):
        with pytest.raises(ValueError, match="tau_r must be positive"):
            gle.at_least(0.1, bad)


def test_bounds_can_be_vmapped(key):
    net = eqx.filter(network(key, (2, 3)), eqx.is_inexact_array)
    down = jax.tree.map(lambda x: jnp.full_like(x, -10.0), net)

    def bounded(bound):
        updates, _ = gle.at_least(bound, bound).update(down, optax.EmptyState(), net)
        return eqx.apply_updates(net, updates).layers[0].tau_m

    bounds = jnp.array([0.2, 0.4])
    np.testing.assert_allclose(jax.vmap(bounded)(bounds), jnp.broadcast_to(bounds[:, None], (2, 3)), rtol=1e-6)
