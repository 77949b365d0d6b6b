"""What learning rules are given: pre, post and error at each weight, the cost of a step; rates that mix neurons."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gle
from tests.gle.networks import Gain, arrays, network, stream

DT = 0.05


def hebbian(rate):
    """-rate e r^T at each weight that has signals, whatever the gradient is; nothing elsewhere."""

    def update(updates, state, params=None, *, pre, error, **extra):
        def change(update, pre, error):
            if isinstance(update, optax.MaskedNode):
                return update
            if pre is None:
                return jnp.zeros_like(update)
            return rate * jnp.mean(error[..., :, None] * pre[..., None, :], axis=tuple(range(pre.ndim - 1)))

        masked = lambda x: isinstance(x, optax.MaskedNode)  # noqa: E731
        return jax.tree.map(change, updates, pre, error, is_leaf=masked), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def with_feedback(net, kind, key):
    """Backward weights without bias, drawn anew, wherever errors arrive."""
    first, *others = net.layers
    layers = [first]
    for layer in others:
        drawn = gle.random_like(layer.connection, key)
        layers.append(eqx.tree_at(lambda x: x.feedback, layer, kind(gle.Dense(drawn.weight, None))))
    return gle.Network(layers, net.cost)


def test_a_rule_of_signals_is_the_gradient(key, x64, rng):
    """-e r^T from `pre` and `error` moves W and B as sgd moves those of Kolen & Pollack; B needs no bias for that."""
    inputs, targets = stream(rng, 10, 2, 2, 3)
    ends = []
    for kind, optimiser in ((gle.KolenPollack, optax.sgd(0.1)), (gle.FeedbackAlignment, hebbian(0.1))):
        only_weights = gle.only(connection=optimiser, feedback=optimiser)
        net = with_feedback(network(key), kind, key)
        net = eqx.tree_at(lambda n: [l.connection.bias for l in n.layers], net, [None] * 3)
        learner = gle.start(net, only_weights, batch=(2,))
        ends.append(gle.online(learner, inputs, targets, dt=DT, optimiser=only_weights)[0].network.layers)
    for ours, theirs in zip(*ends, strict=True):
        np.testing.assert_allclose(ours.connection.weight, theirs.connection.weight, rtol=1e-12, atol=1e-14)
    for ours, theirs in zip(*(layers[1:] for layers in ends), strict=True):
        np.testing.assert_allclose(ours.feedback.connection.weight, theirs.feedback.connection.weight, rtol=1e-12)


def test_rules_are_vmapped_over_rates_and_resumed_bit_for_bit(key, rng):
    inputs, targets = (x.astype(jnp.float32) for x in stream(rng, 8, 2, 2, 3))
    net = with_feedback(network(key, (2, 4, 3)), gle.FeedbackAlignment, key)

    @jax.jit
    @jax.vmap
    def runs(rate):
        optimiser = gle.only(connection=optax.sgd(rate), feedback=hebbian(rate))

        def go_on(learner, steps):
            return gle.online(learner, inputs[steps], targets[steps], dt=DT, optimiser=optimiser, throw=False)[0]

        start = gle.start(net, optimiser, batch=(2,))
        whole, parts = go_on(start, slice(8)), go_on(go_on(start, slice(4)), slice(4, 8))
        return [arrays(learner.network) for learner in (whole, parts)]

    whole, parts = runs(jnp.array([0.1, 0.2]))
    optimiser = gle.only(connection=optax.sgd(0.2), feedback=hebbian(0.2))
    alone, *_ = gle.online(
        gle.start(net, optimiser, batch=(2,)), inputs, targets, dt=DT, optimiser=optimiser, throw=False
    )
    for one, other, single in zip(whole, parts, arrays(alone.network), strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one[1], single, rtol=1e-5, atol=1e-6)


def test_optimisers_are_given_the_cost(key, rng, x64):
    """The mean over the batch, without beta, of the potentials that were observed."""

    def update(updates, costs, params=None, *, value, **extra):
        return jax.tree.map(jnp.zeros_like, updates), jnp.concatenate([costs[1:], value[None]])

    keep = optax.GradientTransformationExtraArgs(lambda params: jnp.zeros(4), update)
    inputs, targets = stream(rng, 4, 2, 2, 3)
    learner = gle.start(network(key, (2, 3), beta=0.3), keep, batch=(2,))
    after, potentials, _ = gle.online(learner, inputs, targets, dt=DT, optimiser=keep)
    costs = 0.5 * np.sum((np.tanh(potentials) - targets) ** 2, axis=-1).mean(axis=-1)
    np.testing.assert_allclose(after.optimiser, costs, rtol=1e-12)


def test_a_plateau_lowers_the_rate(key):
    """`optax.contrib.reduce_on_plateau`: a cost that never falls halves the rate every second step."""
    plateau = optax.contrib.reduce_on_plateau(factor=0.5, patience=2, rtol=0.0, atol=1e3)
    optimiser = optax.chain(optax.sgd(1e-3), plateau)
    learner = gle.start(network(key, (2, 3)), optimiser)
    after, *_ = gle.online(learner, jnp.ones((6, 2)), jnp.ones((6, 3)), dt=DT, optimiser=optimiser)
    assert 0 < after.optimiser[1].scale < 1


def instantaneous(layers, cost, x, target):
    """The mean cost of a network without lags."""
    for layer in layers:
        potential = layer.connection(x)
        x = layer.activation(potential)
    return jnp.mean(cost(potential, target, layers[-1].activation))


@pytest.mark.parametrize("hidden", ["softmax", "gain"])
def test_without_lags_any_activation_learns_by_backpropagation(hidden, key, x64):
    """Softmax in a hidden layer mixes its neurons; the parameters of an activation learn, at the output too."""
    make = {"softmax": lambda: jax.nn.softmax, "gain": lambda: Gain(jnp.array(1.3))}[hidden]
    layers = [
        gle.Layer(gle.Dense.init(sources, neurons, key=jax.random.fold_in(key, neurons)), 1.3, 1.3, make())
        for sources, neurons in ((2, 5), (5, 4), (4, 3))
    ]
    net = gle.Network(layers, gle.MeanSquaredError())
    x, target = jax.random.normal(key, (6, 2)), jax.random.normal(key, (6, 3))
    exact = jax.jit(jax.grad(instantaneous), static_argnums=1)(net.layers, net.cost, x, target)

    @jax.jit
    def plasticity(net):
        return net.plasticity(net.signals(net.init((6,)), x, target))

    for found, expected in zip(plasticity(net).layers, exact, strict=True):
        for part in ("connection", "activation"):
            for ours, theirs in zip(arrays(getattr(found, part)), arrays(getattr(expected, part)), strict=True):
                assert jnp.any(theirs != 0)
                np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-14)


def test_activations_learn_by_every_rule(key, x64, rng):
    """The adjoint method is autodiff whatever beta is; RTRL is that too, and RFLO where nothing lags above."""
    layer = gle.Layer(gle.Dense.init(2, 3, key=key), 1.1, 0.7, Gain(jnp.array(1.3)))
    net = gle.Network([layer], gle.MeanSquaredError(), beta=0.3)
    inputs, targets = stream(rng, 5, 2, 2, 3)
    exact = gle.bptt(net, inputs, targets, dt=DT)[1].layers[0].activation.gain
    for function in (gle.adjoint_method, gle.algorithm2):
        found = function(net, inputs, targets, dt=DT)[1].layers[0].activation.gain
        np.testing.assert_allclose(found, exact, rtol=1e-11)

    collect = optax.GradientTransformation(
        lambda parameters: jax.tree.map(jnp.zeros_like, parameters),
        lambda gradients, total, _=None: (jax.tree.map(jnp.zeros_like, gradients), optax.tree.add(total, gradients)),
    )
    for stepper in (gle.RTRL(), gle.RFLO(), gle.Instantaneous()):
        learner = gle.start(net, collect, stepper=stepper, batch=(2,))
        learner, *_ = gle.online(learner, inputs, targets, dt=DT, optimiser=collect, stepper=stepper)
        found = DT * learner.optimiser.layers[0].activation.gain
        np.testing.assert_allclose(found, 0.3 * exact, rtol=1e-11)


def test_weights_of_an_activation_have_no_signals(key):
    """An activation may call its parameter `weight`: there is no synapse."""

    class Scale(eqx.Module):
        weight: jax.Array

        def __call__(self, potential):
            return self.weight * potential

    layer = gle.Layer(gle.Dense.init(2, 3, key=key), 1.0, 1.0, Scale(jnp.array(2.0)))
    net = gle.Network([layer], gle.MeanSquaredError())
    pre = net.synapses(net.signals(net.init(), jnp.ones(2), jnp.ones(3)))["pre"]
    assert pre.layers[0].activation.weight is None and pre.layers[0].connection.weight.shape == (2,)


def test_feedback_that_does_not_fit_is_refused(key):
    dense = gle.Dense.init(3, 2, key=key)
    for kind in (gle.FeedbackAlignment, gle.KolenPollack):
        with pytest.raises(ValueError, match=r"= \(2, 3\), but lead from 2 sources to 3 neurons"):
            gle.Layer(dense, 1.0, 1.0, jnp.tanh, feedback=kind(gle.Dense(dense.weight.T, None)))
    conv = gle.Conv2d.init((1, 4, 4), 2, 3, key=key)
    other = gle.Conv2d.init((1, 4, 4), 8, 4, key=key)
    assert (other.sources, other.neurons) == (conv.sources, conv.neurons)
    gle.Layer(conv, 1.0, 1.0, jnp.tanh, feedback=gle.FeedbackAlignment(other))
    with pytest.raises(ValueError, match=r"both need one shape.*\(8, 1, 4, 4\)"):
        gle.Layer(conv, 1.0, 1.0, jnp.tanh, feedback=gle.KolenPollack(other))


def test_feedback_angles_are_precise(key, x64):
    """W against W + epsilon V with W V = 0, and against zero; the arccosine has 1e-8 as its least angle."""
    weight = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    forward = gle.Dense(weight, None)
    for angle in (1e-10, 1e-3, 1.0, np.pi - 1e-10):
        turned = gle.Dense(weight @ jnp.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]), None)
        found = gle.feedback_angle(forward, gle.FeedbackAlignment(turned), key=key)
        np.testing.assert_allclose(found, np.degrees(angle), rtol=1e-5)
    zero = gle.FeedbackAlignment(gle.Dense(jnp.zeros((2, 2)), None))
    assert gle.feedback_angle(forward, zero, key=key) == 90
