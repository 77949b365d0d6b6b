import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sal.feedback import Connection, affine_layers, angle, dense_layers, plastic_leaves, with_feedback
from sal.transports import Fixed, KolenPollack, SignConcordant, Transpose, kaiming_uniform

KINDS = [Transpose, Fixed, SignConcordant, KolenPollack]
OWN = [Fixed, SignConcordant, KolenPollack]


class ConvNet(eqx.Module):
    """Convolution, tanh, dense layer, tanh, dense layer."""

    first: eqx.Module
    hidden: eqx.Module
    last: eqx.Module

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.first = eqx.nn.Conv2d(2, 3, 3, stride=2, padding=1, key=keys[0])
        self.hidden = eqx.nn.Linear(3 * 3 * 3, 5, key=keys[1])
        self.last = eqx.nn.Linear(5, 4, use_bias=False, key=keys[2])

    def __call__(self, x):
        return self.last(jnp.tanh(self.hidden(jnp.tanh(self.first(x)).ravel())))


def squares(model, x):
    return jnp.mean(jnp.sum(jax.vmap(model)(x) ** 2, axis=1))


def bare(tree):
    """Without transports: the gradients, or the parameters, of the layers."""
    found = [layer.layer if isinstance(layer, Connection) else layer for layer in affine_layers(tree)]
    return [leaf for layer in found for leaf in (layer.weight, layer.bias) if leaf is not None]


@pytest.fixture
def images(key):
    return jax.random.normal(jax.random.fold_in(key, 1), (6, 2, 5, 5))


def test_with_the_transpose_everything_is_automatic_differentiation(key, images, precision):
    images = images.astype(precision)
    plain = ConvNet(key)
    model = with_feedback(plain, Transpose, key=key)
    gradient = eqx.filter_jit(eqx.filter_grad(squares))
    for ours, reference in zip(bare(gradient(model, images)), bare(gradient(plain, images)), strict=True):
        np.testing.assert_array_equal(ours, reference)


def test_an_own_rule_with_the_forward_weights_is_backpropagation(key, images, x64):
    """The custom rule, given B = W, against automatic differentiation and against central differences."""
    images = images.astype(float)
    plain = ConvNet(key)
    model = eqx.tree_at(
        lambda m: [m.first, m.hidden, m.last],
        plain,
        [Connection(layer, Fixed(layer.weight)) for layer in affine_layers(plain)],
    )
    gradient = eqx.filter_jit(eqx.filter_grad(squares))
    ours, reference = (bare(gradient(m, images)) for m in (model, plain))
    loss, parameters, steps = eqx.filter_jit(squares), bare(plain), 1e-5 * 2.0 ** np.arange(3)
    random = np.random.default_rng(0)
    for gradient, exact, value in zip(ours, reference, parameters, strict=True):
        np.testing.assert_allclose(gradient, exact, rtol=1e-12, atol=1e-14)
        direction = random.normal(size=value.shape)

        def shifted(step, value=value, direction=direction):
            moved = jax.tree.map(lambda leaf: leaf + step * direction if leaf is value else leaf, plain)
            return loss(moved, images)

        for step in steps:
            slope = (shifted(step) - shifted(-step)) / (2 * step)
            np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-7)


def numpy_gradients(weights, biases, backward, x):
    """Plain loops over samples of a tanh network, errors through `backward`; gradients of W and b."""
    gw, gb = [np.zeros_like(w) for w in weights], [np.zeros_like(b) for b in biases]
    for sample in x:
        rates = [sample]
        for number, (w, b) in enumerate(zip(weights, biases, strict=True)):
            y = w @ rates[-1] + b
            rates.append(y if number == len(weights) - 1 else np.tanh(y))
        error = 2 * rates[-1] / len(x)
        for number in reversed(range(len(weights))):
            gw[number] += np.outer(error, rates[number])
            gb[number] += error
            error = (1 - rates[number] ** 2) * (backward[number].T @ error)
    return gw, gb


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_a_backward_pass_in_numpy(kind, key, rng, precision):
    model = with_feedback(eqx.nn.MLP(4, 3, 6, 2, jnp.tanh, key=key, dtype=precision), kind, key=key)
    x = jnp.asarray(rng.normal(size=(7, 4)), precision)
    weights, biases = (
        [layer.weight for layer in affine_layers(model)],
        [layer.layer.bias for layer in affine_layers(model)],
    )
    backward = {
        Transpose: weights,
        SignConcordant: [
            np.sign(w) * np.abs(layer.backward) for w, layer in zip(weights, affine_layers(model), strict=True)
        ],
    }.get(kind, [getattr(layer.transport, "weight", None) for layer in affine_layers(model)])
    arrays = ([np.asarray(a, float) for a in group] for group in (weights, biases, backward))
    gw, gb = numpy_gradients(*arrays, np.asarray(x, float))
    gradient = eqx.filter_jit(eqx.filter_grad(squares))(model, x)
    for layer, w, b in zip(affine_layers(gradient), gw, gb, strict=True):
        tolerance = {"rtol": 1e-4, "atol": 1e-6} if precision == np.float32 else {"rtol": 1e-11, "atol": 1e-14}
        np.testing.assert_allclose(layer.weight, w, **tolerance)
        np.testing.assert_allclose(layer.layer.bias, b, **tolerance)
        if kind is KolenPollack:
            np.testing.assert_array_equal(layer.transport.weight, layer.weight)
        elif kind is not Transpose:
            np.testing.assert_array_equal(layer.transport.weight, 0)


def test_errors_through_a_convolution_take_its_backward_weights(key, images, x64):
    """A loop over all pixels: dL/dx = sum of B e over the places that a pixel is seen from."""
    layer = with_feedback([eqx.nn.Conv2d(2, 3, 3, key=key)], Fixed, key=key)[0]
    image, error = images[0].astype(float), np.random.default_rng(1).normal(size=(3, 3, 3))
    expected = np.zeros((2, 5, 5))
    for row in range(3):
        for column in range(3):
            patch = np.einsum("oikl,o->ikl", np.asarray(layer.backward), error[:, row, column])
            expected[:, row : row + 3, column : column + 3] += patch
    ours = jax.grad(lambda x: jnp.sum(layer(x) * error))(image)
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)


def test_the_signs_of_backward_weights_follow_the_forward_ones(key):
    layer = with_feedback([eqx.nn.Linear(20, 30, key=key)], SignConcordant, key=key)[0]
    flipped = eqx.tree_at(lambda l: l.layer.weight, layer, -layer.weight)
    np.testing.assert_array_equal(jnp.sign(layer.backward), jnp.sign(layer.weight))
    np.testing.assert_array_equal(flipped.backward, -layer.backward)
    np.testing.assert_array_equal(jnp.abs(layer.backward), jnp.abs(layer.transport.weight))
    assert 30 < layer.angle < 50  # random magnitudes: the cosine of two uniform ones is 3/4


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_kolen_pollack_decays_the_difference_as_theory_says(momentum, key, rng, x64):
    """D = W - B: v <- mu v + lambda D, D <- D - eta v, whatever the gradients; without momentum (1 - eta lambda)^t."""
    rate, decay, steps = 0.1, 0.3, 40
    model = with_feedback(eqx.nn.MLP(4, 3, 6, 1, jnp.tanh, key=key), KolenPollack, key=key)
    optimiser = optax.chain(optax.add_decayed_weights(decay), optax.sgd(rate, momentum=momentum))
    parameters, static = eqx.partition(model, plastic_leaves(model))
    state = optimiser.init(parameters)
    start = [layer.weight - layer.backward for layer in affine_layers(model)]

    @eqx.filter_jit
    def step(parameters, state, x):
        gradient = eqx.filter_grad(lambda p: squares(eqx.combine(p, static), x))(parameters)
        updates, state = optimiser.update(gradient, state, parameters)
        return eqx.apply_updates(parameters, updates), state

    for _ in range(steps):
        parameters, state = step(parameters, state, jnp.asarray(rng.normal(size=(5, 4))))
    factor = np.linalg.matrix_power([[1 - rate * decay, -rate * momentum], [decay, momentum]], steps)[0, 0]
    if momentum == 0:
        assert factor == pytest.approx((1 - rate * decay) ** steps)
    for layer, difference in zip(affine_layers(eqx.combine(parameters, static)), start, strict=True):
        np.testing.assert_allclose(layer.weight - layer.backward, factor * difference, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_and_networks_can_be_vmapped(kind, key, images):
    """Samples and networks side by side give the mean and the stack of what each gives alone."""
    keys, images = jax.random.split(key, 2), images[:3]
    networks = [with_feedback(ConvNet(k), kind, key=k) for k in keys]
    stacked = eqx.filter_vmap(lambda k: with_feedback(ConvNet(k), kind, key=k))(keys)
    gradient = eqx.filter_jit(eqx.filter_grad(squares))
    single = eqx.filter_jit(eqx.filter_grad(lambda model, image: jnp.sum(model(image) ** 2)))
    together = eqx.filter_jit(eqx.filter_vmap(gradient, in_axes=(eqx.if_array(0), None)))(stacked, images)
    for number, network in enumerate(networks):
        alone = [bare(single(network, image)) for image in images]
        for ours, *singles in zip(bare(together), *alone, strict=True):
            np.testing.assert_allclose(ours[number], np.mean(singles, axis=0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", OWN)
def test_other_derivatives_are_refused(kind, key, images):
    model = with_feedback(ConvNet(key), kind, key=key)
    parameters, static = eqx.partition(model, eqx.is_inexact_array)

    def loss(parameters):
        return squares(eqx.combine(parameters, static), images)

    def again(parameters):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(jax.grad(loss)(parameters)))

    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(loss, (parameters,), (parameters,))
    with pytest.raises(TypeError, match="first derivatives"):
        jax.grad(again)(parameters)


def test_where_chooses_the_layers(key):
    mixed = with_feedback(with_feedback(ConvNet(key), Fixed, key=key), KolenPollack, key=key, where=dense_layers)
    assert [type(layer.transport) for layer in affine_layers(mixed)] == [Fixed, KolenPollack, KolenPollack]
    again = with_feedback(mixed, Transpose, key=key, where=lambda model: [model.hidden])
    assert [type(layer.transport) for layer in affine_layers(again)] == [Fixed, Transpose, KolenPollack]
    assert isinstance(again.hidden.layer, eqx.nn.Linear)


def test_plastic_leaves_out_what_no_gradient_changes(key):
    model = with_feedback(with_feedback(ConvNet(key), Fixed, key=key), KolenPollack, key=key, where=dense_layers)
    spec = plastic_leaves(model)
    assert (spec.first.layer.weight, spec.first.layer.bias, spec.first.transport.weight) == (True, True, False)
    assert (spec.hidden.layer.weight, spec.hidden.transport.weight, spec.last.layer.bias) == (True, True, None)
    assert not any(jax.tree.leaves(plastic_leaves({"activation": jnp.tanh, "count": jnp.int32(1)})))


def test_backward_weights_are_drawn_like_forward_ones(key):
    for layer in (eqx.nn.Linear(500, 300, key=key), eqx.nn.Conv2d(10, 60, 5, key=key)):
        drawn = kaiming_uniform(layer.weight, jax.random.fold_in(key, 1))
        for measure in (np.max, np.std):
            np.testing.assert_allclose(measure(np.asarray(drawn)), measure(np.asarray(layer.weight)), rtol=0.02)
        assert 80 < angle(drawn, layer.weight) < 100


def test_angles(precision):
    a = jnp.array([[1.0, 0.0], [0.0, 1.0]], precision)
    for degrees in (0.0, 1e-3, 45.0, 90.0, 179.999, 180.0):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        rotated = 7 * jnp.array([[c, s], [-s, c]], precision)
        assert angle(a, rotated) == pytest.approx(degrees, abs=1e-4 if precision == np.float32 else 1e-9)
    assert angle(a, jnp.zeros_like(a)) == angle(jnp.zeros_like(a), jnp.zeros_like(a)) == 90


def test_bad_input(key):
    layer = eqx.nn.Linear(3, 2, key=key)
    with pytest.raises(ValueError, match=r"shape \(3, 2\).*has the shape \(2, 3\)"):
        Connection(layer, Fixed(jnp.zeros((3, 2))))
    with pytest.raises(ValueError, match=r"got \['float'\]"):
        with_feedback(layer, Fixed, key=key, where=lambda model: [1.0])
    with pytest.raises(ValueError, match="same shape"):
        angle(jnp.zeros((2, 3)), jnp.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"got \[\]"):
        with_feedback({"activation": jnp.tanh}, Fixed, key=key)
