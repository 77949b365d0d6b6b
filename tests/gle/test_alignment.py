"""Phaseless alignment learning: the fixed point of B, and what it learns from."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gle

STD, TAU, DT, DECAY = 0.05, 0.1, 0.01, 1e-5


def single(weight=1.0, back=0.0):
    """1-1-1, logistic, predicting itself."""
    one = lambda value: gle.Dense(jnp.full((1, 1), value), None)  # noqa: E731
    return gle.Microcircuit.self_predicting(
        [one(1.0), one(weight)], [gle.FeedbackAlignment(one(back))], jax.nn.sigmoid, delay=DT
    )


def correlation(weight, replicas, key):
    """<xi r^> of hidden neuron and output, without an input or target."""
    stepper, inputs = gle.Exploring(STD, TAU, key), jnp.zeros((700, replicas, 1))
    learner = gle.settle(gle.start(single(weight), stepper=stepper, batch=(replicas,)), inputs[0], stepper=stepper)
    product = lambda _, signals: jnp.mean(signals.noise[0] * signals.filtered[1])  # noqa: E731
    _, products, _ = gle.online(learner, inputs, dt=DT, stepper=stepper, observe=product)
    return jnp.mean(products[100:])


def test_the_fixed_point_of_b(key, x64):
    """B* = s^2/2 rho g_a/g phi' g_b/g_above phi'_above W / alpha, with rho and variance those of the Euler steps."""
    g, a = gle.Conductances(), 1 - DT / TAU
    slope = lambda u: jax.nn.sigmoid(u) * jax.nn.sigmoid(-u)  # noqa: E731
    out = g.basal * 0.5 / (g.leak + g.basal)
    gain = g.apical / (g.leak + g.basal + g.apical) * slope(0.0) * g.basal / (g.leak + g.basal) * slope(out)
    continuous = STD**2 / 4 * gain
    np.testing.assert_allclose(continuous, 9.1464e-6, rtol=1e-4)
    np.testing.assert_allclose(continuous / DECAY, 0.91464, rtol=1e-4)
    discrete = STD**2 * (DT / TAU) / (1 - a**2) * a**2 * (1 - a) / (1 - a * a) * gain  # two steps from xi to r^
    np.testing.assert_allclose(discrete / DECAY, 0.8209, rtol=1e-4)
    np.testing.assert_allclose(correlation(1.0, 4096, key) / DECAY, 0.8209, rtol=0.02)
    assert correlation(-1.0, 64, key) < 0


def test_increments(key, x64, rng):
    """rate (<r^ xi^T> - decay B) at B, whatever the optimiser said; other synapses keep their updates."""
    up = [gle.Dense.init(*sizes, key=key) for sizes in ((2, 4), (4, 3))]
    back = gle.FeedbackAlignment(gle.random_like(up[1], key))
    circuit = gle.Microcircuit.self_predicting(up, [back], jnp.tanh, delay=DT)
    stepper = gle.Exploring(STD, TAU, key)
    learner = gle.start(circuit, stepper=stepper, batch=(5,))
    seen = lambda network, signals: (signals.noise[0], signals.filtered[1])  # noqa: E731
    inputs = jnp.asarray(rng.normal(size=(3, 5, 2)))
    _, (noise, filtered), _ = gle.online(learner, inputs, dt=DT, stepper=stepper, observe=seen)
    assert np.abs(np.asarray(filtered[-1])).max() > 1e-4
    optimiser = optax.chain(optax.sgd(0.1), gle.phaseless(0.3, 0.01))
    after, _, _ = gle.online(
        gle.start(circuit, optimiser, stepper=stepper, batch=(5,)),
        inputs[:2],
        dt=DT,
        stepper=stepper,
        optimiser=optimiser,
    )
    b = np.asarray(back.connection.weight)
    for xi, r in zip(np.asarray(noise[:2]), np.asarray(filtered[:2]), strict=True):
        b = b + 0.3 * (np.einsum("bn,bs->ns", r, xi) / 5 - 0.01 * b)
    np.testing.assert_allclose(after.network.feedback[0].connection.weight, b, rtol=1e-10)
    with pytest.raises(ValueError, match="phaseless needs params, noise and filtered"):
        gle.online(gle.start(circuit, optimiser, batch=(5,)), inputs, dt=DT, optimiser=optimiser)
    with pytest.raises(ValueError, match="tau of the noise must be above 0"):
        gle.Exploring(STD, 0.0, key)


def test_feedback_of_a_network(key, x64):
    """In latent equilibrium xi is in the upper rate at once: <r^ xi^T> = std^2 s^2 / (1 - a^2)^2 phi'_above W phi'."""
    generator, s = np.random.default_rng(1), DT / TAU
    lower, upper, back = (gle.Dense(generator.normal(size=shape), None) for shape in ((3, 2), (2, 3), (2, 3)))
    layers = [gle.Layer(lower, 1.0, 1.0, jnp.tanh)]
    layers.append(gle.Layer(upper, 1.0, 1.0, jax.nn.sigmoid, feedback=gle.FeedbackAlignment(back)))
    network, replicas = gle.Network(layers, gle.MeanSquaredError()), 1024
    stepper, inputs = gle.Exploring(STD, TAU, key), jnp.full((400, replicas, 2), 0.3)
    optimiser = optax.chain(optax.set_to_zero(), gle.phaseless(1.0, 0.0))
    start = lambda: gle.settle(  # noqa: E731
        gle.start(network, optimiser, stepper=stepper, batch=(replicas,)), inputs[0], stepper=stepper
    )
    settled, _, _ = gle.online(start(), inputs[:100], dt=DT, stepper=stepper)
    after, _, _ = gle.online(settled, inputs[100:], dt=DT, stepper=stepper, optimiser=optimiser)
    rest = network.equilibrium(inputs[0, 0])
    inner, outer = 1 - jnp.tanh(rest.u[0]) ** 2, jax.nn.sigmoid(rest.u[1]) * jax.nn.sigmoid(-rest.u[1])
    expected = STD**2 * s**2 / (1 - (1 - s) ** 2) ** 2 * outer[:, None] * upper.weight * inner[None]
    learned = (after.network.layers[1].feedback.connection.weight - back.weight) / 300
    np.testing.assert_allclose(learned, expected, atol=0.02 * np.abs(expected).max())
    np.testing.assert_array_equal(after.network.layers[1].connection.weight, upper.weight)
    with pytest.raises(ValueError, match="Exploring runs a Microcircuit or a Network"):
        gle.start(gle.LeastAction(jnp.eye(2), jnp.eye(2), jnp.tanh, tau=1.0, beta=[1.0]), stepper=stepper)
    with pytest.raises(ValueError, match="stepper must learn by local plasticity, unlike RTRL"):
        gle.Exploring(STD, TAU, key, stepper=gle.RTRL())
