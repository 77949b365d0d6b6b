import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gle
from gle import FeedbackAlignment, KolenPollack, Transpose
from tests.gle.networks import network, stream


def with_feedback(net, make, key):
    layers = [
        eqx.tree_at(lambda l: l.feedback, layer, make(gle.random_like(layer.connection, key))) if number else layer
        for number, layer in enumerate(net.layers)
    ]
    return gle.Network(layers, net.cost)


def angle(net, number, key):
    measure = eqx.filter_jit(gle.feedback_angle)
    return float(measure(net.layers[number].connection, net.layers[number].feedback, key=key))


def test_the_transpose_is_aligned_and_random_weights_are_not(key):
    net = network(key, sizes=(2, 30, 30, 3))
    assert angle(net, 1, key) < 0.1
    assert 70 < angle(with_feedback(net, FeedbackAlignment, key), 1, key) < 110


@pytest.mark.parametrize("feedback", [Transpose, FeedbackAlignment, KolenPollack])
def test_errors_pass_through_the_feedback_weights(feedback, key, x64):
    net = network(key, tau_m=1.0, tau_r=1.0)
    if feedback is not Transpose:
        net = with_feedback(net, feedback, key)
    state = net.init((4,))
    signals = eqx.filter_jit(gle.Network.signals)(net, state, jnp.ones((4, 2)), jnp.ones((4, 3)))
    back = net.layers[2].connection if feedback is Transpose else net.layers[2].feedback.connection
    slope = 1 - jnp.tanh(signals.potential[1]) ** 2
    np.testing.assert_allclose(signals.error[1], slope * (signals.error[2] @ back.weight), rtol=1e-12)


def test_kolen_pollack_aligns_at_the_rate_of_its_decay(key, x64, rng):
    """W - B shrinks by (1 - rate decay) in every step, exactly; random feedback stays put."""
    inputs, targets = stream(rng, 100, 2, 2, 3)
    optimiser = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.05))
    for feedback in (KolenPollack, FeedbackAlignment):
        net = with_feedback(network(key), feedback, key)
        mask = gle.labels(net)
        learned = jax.tree.map(lambda label: label in ("connection", "feedback"), mask)
        chain = optax.chain(
            optax.masked(optimiser, learned), optax.masked(optax.set_to_zero(), jax.tree.map(lambda x: not x, learned))
        )
        if feedback is FeedbackAlignment:
            chain = gle.weights_only(optimiser)
        learner, _, _ = gle.online(gle.start(net, chain, batch=(2,)), inputs, targets, dt=0.05, optimiser=chain)
        for old, new in zip(net.layers[1:], learner.network.layers[1:], strict=True):
            if feedback is FeedbackAlignment:
                np.testing.assert_array_equal(new.feedback.connection.weight, old.feedback.connection.weight)
                continue
            before = old.connection.weight - old.feedback.connection.weight
            after = new.connection.weight - new.feedback.connection.weight
            np.testing.assert_allclose(after, before * (1 - 0.005) ** 100, rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_angles_do_not_depend_on_scales(scale, key):
    """Of one neuron the angle is that of its weights, (1, 0) and (1, 1): squares of them would vanish or overflow."""
    forward, feedback = gle.Dense(scale * jnp.array([[1.0, 0.0]]), None), gle.Dense(scale * jnp.ones((1, 2)), None)
    np.testing.assert_allclose(gle.feedback_angle(forward, FeedbackAlignment(feedback), key=key), 45, rtol=1e-6)


def test_aligned_weights_have_an_angle_with_a_derivative(key):
    turned = jax.grad(lambda w: gle.feedback_angle(gle.Dense(w, None), Transpose(), key=key))(jnp.ones((1, 2)))
    np.testing.assert_array_equal(turned, 0)
    with pytest.raises(ValueError, match="samples must be at least 1, but is 0"):
        gle.feedback_angle(gle.Dense(jnp.ones((1, 2)), None), Transpose(), key=key, samples=0)
