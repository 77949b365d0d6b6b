import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gle
from gle import Dense, Layer, Network
from tests.gle.networks import arrays, network, stream


def exactly(gamma):
    return gle.Coupled(gamma, gle.DampedNewton(1e-14, 1e-14))


def random_state(key, net, batch):
    return jax.tree.map(lambda x: 0.5 * jax.random.normal(key, x.shape), net.init((batch,)))


@eqx.filter_jit
def signals_of(net, state, x, target):
    return net.signals(state, x, target)


@eqx.filter_jit
def plasticity_of(net, signals):
    return net.plasticity(signals)


@pytest.mark.parametrize("cost", [gle.MeanSquaredError(), gle.CrossEntropy()])
def test_without_lags_the_errors_are_backpropagation(cost, key, x64):
    """tau_m = tau_r and gamma = 0 (latent equilibrium): the gradients are those of an instantaneous network."""
    output = jnp.tanh if isinstance(cost, gle.MeanSquaredError) else jax.nn.softmax
    net = network(key, cost=cost, output=output, tau_m=1.3, tau_r=1.3)
    x, target = jax.random.normal(key, (6, 2)), jax.nn.one_hot(jnp.arange(6) % 3, 3)

    def loss(connections):
        rates = x
        for connection, layer in zip(connections, net.layers, strict=True):
            potential = connection(rates)
            rates = layer.activation(potential)
        return jnp.mean(cost(potential, target, output))

    expected = jax.jit(jax.grad(loss))([layer.connection for layer in net.layers])
    found = plasticity_of(net, signals_of(net, random_state(key, net, 6), x, target))
    for layer, exact in zip(found.layers, expected, strict=True):
        np.testing.assert_allclose(layer.connection.weight, exact.weight, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(layer.connection.bias, exact.bias, rtol=1e-12, atol=1e-15)


def test_plasticity_is_the_gradient_of_the_energy(key, x64):
    """Eqs. 21-24 at gamma = 1, with u and u' fixed; the batch is averaged."""
    net = network(key, coupling=exactly(1.0), beta=0.3)
    x, target = jax.random.normal(key, (4, 2)), 0.3 * jnp.ones((4, 3))
    state = random_state(key, net, 4)
    signals = signals_of(net, state, x, target)

    @eqx.filter_jit
    def energy(net):
        rates, total = x, 0.0
        for layer, u, du in zip(net.layers, state.u, signals.du, strict=True):
            mismatch = u + layer.tau_m[None] * du - layer.connection(rates)
            potential = u + layer.tau_r[None] * du
            rates = layer.activation(potential)
            total = total + 0.5 * jnp.sum(mismatch**2)
        return (total + net.beta * jnp.sum(net.cost(potential, target, layer.activation))) / 4

    exact = eqx.filter_jit(eqx.filter_grad(energy))(net)
    for found, expected in zip(arrays(plasticity_of(net, signals)), arrays(exact), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(net.energy(signals, target).mean(), energy(net), rtol=1e-12)


def test_with_gamma_the_error_is_the_mismatch(key, x64):
    """e = D+ u - W r - b exactly if gamma = 1 (the two forms of e in Eq. 6)."""
    net = network(key, coupling=exactly(1.0), beta=0.3)
    state = random_state(key, net, 4)
    signals = signals_of(net, state, jnp.ones((4, 2)), jnp.zeros((4, 3)))
    for layer, below, u, du, error in zip(net.layers, signals.below, state.u, signals.du, signals.error, strict=True):
        mismatch = u + layer.tau_m[None] * du - layer.connection(below)
        np.testing.assert_allclose(error, mismatch, rtol=1e-10, atol=1e-12)


def test_weak_coupling_tends_to_none(key, x64):
    state = random_state(key, network(key), 4)
    errors = [
        signals_of(network(key, coupling=gle.Coupled(gamma)), state, jnp.ones((4, 2)), jnp.zeros((4, 3))).error[0]
        for gamma in (0.0, 1e-7)
    ]
    np.testing.assert_allclose(errors[0], errors[1], rtol=1e-5)


def test_integrates_with_diffrax_and_rates_stay_put(key, x64):
    """The stationary state of a constant input: u = W r + b, and errors are those of backpropagation."""
    net = network(key)
    x, target = jnp.ones((1, 2)), 0.2 * jnp.ones((1, 3))
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(net.vector_field),
        diffrax.Tsit5(),
        0.0,
        80.0,
        0.05,
        net.init((1,)),
        gle.Drive(lambda t: x, lambda t: target),
        max_steps=10_000,
    )
    state = jax.tree.map(lambda y: y[-1], solution.ys)
    rates = x
    for layer, u in zip(net.layers, state.u, strict=True):
        np.testing.assert_allclose(u, layer.connection(rates), atol=1e-10)
        rates = jnp.tanh(u)
    error = (1 - rates**2) * (target - rates)
    np.testing.assert_allclose(state.v[-1], error, atol=1e-10)


def test_convolutions_are_linear_maps_with_local_gradients(key, x64):
    conv = gle.Conv2d.init((2, 6, 6), 3, 3, pool=2, key=key)
    x, e = jax.random.normal(key, (4, 72)), jax.random.normal(key, (4, conv.neurons))
    assert conv(x).shape == (4, 12) == (4, conv.neurons)
    assert conv.map_shape == (3, 2, 2)

    @eqx.filter_jit
    def parts(conv, e, x):
        return conv(x) - conv(jnp.zeros_like(x)), conv.transpose(e, x), conv.gradient(e, x)

    linear, transposed, gradient = parts(conv, e, x)
    np.testing.assert_allclose(jnp.sum(e * linear), jnp.sum(transposed * x), rtol=1e-12)
    np.testing.assert_allclose(-4 * jnp.sum(gradient.weight * conv.weight), jnp.sum(e * linear), rtol=1e-12)


@pytest.mark.parametrize("pool", [1, 2, 3])
def test_convolutions_equal_plain_loops(key, x64, pool):
    conv = gle.Conv2d.init((2, 7, 13), 3, 2, pool=pool, key=key)
    image, (channels, rows, columns) = jax.random.normal(key, conv.shape), conv.map_shape
    expected = np.zeros(conv.map_shape)
    for c, y, x, i, j in np.ndindex(channels, rows, columns, pool, pool):
        y0, x0 = y * pool + i, x * pool + j
        expected[c, y, x] += np.sum(conv.weight[c] * image[:, y0 : y0 + 2, x0 : x0 + 2]) / pool**2
    expected += conv.bias[:, None, None]
    np.testing.assert_allclose(conv(image.reshape(-1)), expected.ravel(), atol=1e-14)


def test_dense_gradients_are_outer_products(key, x64):
    dense = Dense.init(3, 2, key=key)
    e, r = jax.random.normal(key, (5, 2)), jax.random.normal(key, (5, 3))
    gradient = dense.gradient(e, r)
    np.testing.assert_allclose(gradient.weight, -(e.T @ r) / 5, rtol=1e-12)
    np.testing.assert_allclose(gradient.bias, -e.mean(0), rtol=1e-12)


def test_layers_that_do_not_learn_get_no_errors(key):
    lag = Layer(gle.Identity(3), 1.0, 0.0, lambda x: x, plastic=False)
    top = Layer(Dense.init(3, 2, key=key), 1.0, 1.0, jnp.tanh)
    net = Network([lag, lag, top], gle.MeanSquaredError())
    signals = net.signals(net.init((1,)), jnp.ones((1, 3)), jnp.ones((1, 2)))
    assert net.lowest == 2
    assert not signals.error[0].any() and signals.error[2].all()
    assert all(jnp.all(jnp.isfinite(x)) for x in arrays(net.plasticity(signals)))


def test_bad_networks_are_refused(key):
    def layer(tau_m=1.0, tau_r=1.0, sources=2):
        return Layer(Dense.init(sources, 2, key=key), tau_m, tau_r, jnp.tanh)

    with pytest.raises(ValueError, match="tau_m of layer 0 must be positive, but is -1"):
        Network([layer(tau_m=-1.0)], gle.MeanSquaredError())
    with pytest.raises(ValueError, match=r"tau_r of layer 0 is 0\.0 at least once, but errors pass"):
        Network([layer(tau_r=0.0)], gle.MeanSquaredError())
    with pytest.raises(ValueError, match="layer 0 has 2 neurons, but layer 1 has 3 sources"):
        Network([layer(), layer(sources=3)], gle.MeanSquaredError())
    with pytest.raises(ValueError, match=r"tau_m must be a number or \[2\]"):
        layer(tau_m=jnp.ones(3))
    net = Network([layer()], gle.MeanSquaredError())
    with pytest.raises(ValueError, match=r"target must have the shape \(1, 2\)"):
        net.signals(net.init((1,)), jnp.ones((1, 2)), jnp.ones((1, 3)))
    with pytest.raises(ValueError, match=r"needs outputs with activation jax\.nn\.softmax"):
        Network([layer()], gle.CrossEntropy())
    for wrong in (gle.CrossEntropy().__call__, gle.CrossEntropy().gradient):
        with pytest.raises(ValueError, match=r"needs outputs with activation jax\.nn\.softmax"):
            wrong(jnp.ones((1, 2)), jnp.ones((1, 2)), jax.nn.relu)


def test_a_stream_of_the_wrong_width_is_refused(key, rng):
    inputs, targets = stream(rng, 5, 2, 4, 3)
    with pytest.raises(ValueError, match=r"inputs must have the shape \(5, 2, 2\)"):
        gle.online(gle.start(network(key), batch=(2,)), inputs, targets, dt=0.1)


@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_nothing_moves_in_equilibrium(gamma, key, rng, x64):
    net = network(key, coupling=exactly(gamma) if gamma else gle.Decoupled(), beta=0.3)
    inputs, targets = stream(rng, 1, 4, 2, 3)
    state = net.equilibrium(inputs[0], targets[0])
    rates = [jnp.tanh(u) for u in state.u]
    for layer, u, error, below in zip(net.layers, state.u, state.v, [inputs[0], *rates], strict=False):
        np.testing.assert_allclose(u, layer.connection(below) + gamma * error, atol=1e-10)
    for stepper in (gle.Step(), gle.Algorithm1(), gle.Algorithm1(fresh_errors=True)):
        learner = gle.settle(gle.start(net, batch=(4,), stepper=stepper), inputs[0], targets[0], stepper=stepper)
        later, *_ = gle.online(learner, jnp.repeat(inputs, 20, 0), jnp.repeat(targets, 20, 0), dt=0.1, stepper=stepper)
        for before, after in zip(arrays(learner.state), arrays(later.state), strict=True):
            np.testing.assert_allclose(after, before, atol=1e-10)


def test_a_frozen_network_has_no_errors_but_the_same_rates(key, rng):
    net = network(key)
    inputs, targets = stream(rng, 20, 4, 2, 3)
    _, expected, _ = gle.online(gle.start(net, batch=(4,)), inputs, targets, dt=0.1)
    learner, outputs, _ = gle.online(gle.start(net.frozen(), batch=(4,)), inputs, targets, dt=0.1)
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)
    assert all(not jnp.any(v) for v in learner.state.v)
