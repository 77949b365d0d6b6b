import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gle
from gle import RESULTS, Algorithm1, FeedbackAlignment, Step
from tests.gle.networks import arrays, network, stream
from tests.gle.reference import algorithm1

DT = 0.05
SGD = optax.sgd(0.1)


def learn(net, inputs, targets, optimiser, stepper, dt=DT):
    learner = gle.start(net, optimiser, stepper=stepper, batch=inputs.shape[1:-1])
    return gle.online(learner, inputs, targets, dt=dt, optimiser=optimiser, stepper=stepper)


@pytest.mark.parametrize(("fresh_errors", "gamma"), [(False, 0.4), (True, 0.4)])
def test_algorithm_1_step_by_step(fresh_errors, gamma, key, x64, rng):
    """Outputs and all learned parameters, against NumPy; one rate per kind of parameter."""
    net = network(key, beta=0.7, coupling=gle.Coupled(gamma))
    inputs, targets = stream(rng, 60, 1, 2, 3)
    rates = {"connection": 0.03, "tau_m": 0.02, "tau_r": 0.01}
    optimiser = optax.partition(
        {name: optax.sgd(rate) for name, rate in rates.items()} | {"feedback": optax.set_to_zero()}, gle.labels
    )
    learner, potentials, _ = learn(net, inputs, targets, optimiser, Algorithm1(fresh_errors))
    outputs, parameters = algorithm1(
        [layer.connection.weight for layer in net.layers],
        [layer.connection.bias for layer in net.layers],
        [layer.tau_m for layer in net.layers],
        [layer.tau_r for layer in net.layers],
        inputs[:, 0],
        targets[:, 0],
        dt=DT,
        beta=0.7,
        gamma=gamma,
        rates=(0.03, 0.03, 0.02, 0.01),
        fresh_errors=fresh_errors,
    )
    np.testing.assert_allclose(jnp.tanh(potentials[:, 0]), outputs, atol=1e-12)
    for layer, weight, bias, tau_m, tau_r in zip(learner.network.layers, *parameters, strict=True):
        np.testing.assert_allclose(layer.connection.weight, weight, atol=1e-12)
        np.testing.assert_allclose(layer.connection.bias, bias, atol=1e-12)
        np.testing.assert_allclose(layer.tau_m, tau_m, atol=1e-12)
        np.testing.assert_allclose(layer.tau_r, tau_r, atol=1e-12)


@pytest.mark.parametrize(("solver", "order"), [(diffrax.Euler(), 1), (diffrax.Heun(), 2), (gle.RK4(), 4)])
def test_order_of_convergence(solver, order, key, x64):
    """A constant input, so that holding it over a step costs nothing; against a much finer solution."""
    net = network(key)
    x, target = jnp.ones((1, 2)), 0.2 * jnp.ones((1, 3))
    start = jax.tree.map(lambda y: 0.3 * jax.random.normal(key, y.shape), net.init((1,)))

    def end(solver, steps):
        advance = eqx.filter_jit(lambda state, dt: Step(solver).step(net, state, x, target, dt)[0])
        state = start
        for _ in range(steps):
            state = advance(state, jnp.asarray(2.0 / steps))
        return jnp.concatenate(arrays(state), axis=None)

    exact = end(diffrax.Dopri8(), 64)
    errors = [np.linalg.norm(end(solver, steps) - exact) for steps in (8, 16, 32)]
    slopes = -np.diff(np.log2(errors))
    np.testing.assert_allclose(slopes[-1], order, atol=0.35)


@pytest.mark.slow
def test_gradient_flow_is_the_limit_of_small_steps(key, x64, rng):
    """SGD with a rate proportional to dt: halving dt halves the distance from theta' = -eta dE/dtheta."""
    net, rate = network(key), 0.5
    x, target = jnp.ones((1, 2)), 0.2 * jnp.ones((1, 3))
    arrays_, static = eqx.partition(net, eqx.is_inexact_array)

    def flow(t, y, args):
        state, parameters = y
        current = eqx.combine(parameters, static)
        signals = current.signals(state, x, target)
        gradient = eqx.filter(current.plasticity(signals), eqx.is_inexact_array)
        return gle.State(signals.du, signals.dv), jax.tree.map(lambda g: -rate * g, gradient)

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(flow), diffrax.Tsit5(), 0.0, 2.0, 0.01, (net.init((1,)), arrays_), max_steps=1000
    )
    exact = np.concatenate([np.ravel(a) for a in jax.tree.leaves(solution.ys[1])])
    distances = []
    for steps in (40, 80):
        streams = (jnp.broadcast_to(y, (steps, *y.shape)) for y in (x, target))
        learner, _, _ = learn(net, *streams, optax.sgd(rate * 2.0 / steps), Step(), dt=2.0 / steps)
        distances.append(np.linalg.norm(np.concatenate([np.ravel(a) for a in arrays(learner.network)]) - exact))
    np.testing.assert_allclose(distances[0] / distances[1], 2, rtol=0.1)


@pytest.mark.parametrize("stepper", [Step(diffrax.Heun()), Algorithm1()])
def test_a_stream_in_two_parts_ends_the_same(stepper, key, rng):
    net, optimiser = network(key, (2, 4, 3)), optax.adam(1e-2)
    inputs, targets = (x.astype(jnp.float32) for x in stream(rng, 40, 3, 2, 3))
    run = eqx.filter_jit(lambda learner, x, y: gle.online(learner, x, y, dt=DT, optimiser=optimiser, stepper=stepper))
    start = gle.start(net, optimiser, stepper=stepper, batch=(3,))
    whole, observed, _ = run(start, inputs, targets)
    half, first, _ = run(start, inputs[:20], targets[:20])
    both, second, _ = run(half, inputs[20:], targets[20:])
    for a, b in zip(arrays(whole), arrays(both), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(observed, np.concatenate([first, second]))


def test_instantaneous_errors_are_those_of_gle_without_lags(key, x64, rng):
    net = network(key, tau_m=1.1, tau_r=1.1)
    inputs, targets = stream(rng, 30, 2, 2, 3)
    one, other = (
        learn(net, inputs, targets, gle.weights_only(optax.sgd(0.1)), s)[0].network
        for s in (Step(), gle.Instantaneous())
    )
    for a, b in zip(arrays(one), arrays(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def is_none(x):
    return x is None


def test_an_optimiser_sees_the_signals(key, rng):
    def update(updates, state, params=None, *, pre, post, error, value, **extra):
        """At each weight, and nowhere else; with the network's own structure."""
        for signal in (pre, post, error):
            assert jax.tree.structure(signal, is_leaf=is_none) == jax.tree.structure(updates, is_leaf=is_none)
            assert signal.layers[0].connection.bias is None and signal.layers[0].tau_m is None
        assert [x.shape for x in jax.tree.leaves(pre)] == [(2, 2), (2, 5), (2, 4), (2, 4)]
        assert [x.shape for x in jax.tree.leaves(post)] == [(2, 5), (2, 4), (2, 3), (2, 3)]
        assert [x.shape for x in jax.tree.leaves(error)] == [(2, 5), (2, 4), (2, 3), (2, 3)]
        assert value.shape == ()
        return jax.tree.map(jnp.zeros_like, updates), state

    optimiser = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
    inputs, targets = (x.astype(jnp.float32) for x in stream(rng, 3, 2, 2, 3))
    first, second, last = network(key).layers
    last = gle.Layer(last.connection, last.tau_m, last.tau_r, jnp.tanh, feedback=gle.FeedbackAlignment(last.connection))
    net = gle.Network([first, second, last], gle.MeanSquaredError())
    learner, _, _ = learn(net, inputs, targets, optimiser, Step())
    for a, b in zip(arrays(learner.network), arrays(net), strict=True):
        np.testing.assert_array_equal(a, b)


def test_only_what_is_chosen_learns_and_time_constants_stay_above_their_bounds(key, rng):
    inputs, targets = (x.astype(jnp.float32) for x in stream(rng, 50, 2, 2, 3))
    weights, _, _ = learn(network(key, (2, 4, 3)), inputs, targets, gle.weights_only(optax.sgd(0.1)), Step())
    for new, old in zip(weights.network.layers, network(key, (2, 4, 3)).layers, strict=True):
        np.testing.assert_array_equal(new.tau_m, old.tau_m)
        assert jnp.all(new.connection.weight != old.connection.weight)
    bounded, _, _ = learn(
        network(key, (2, 4, 3)), inputs, targets, optax.chain(optax.sgd(0.1), gle.at_least(0.8, 0.7)), Step()
    )
    for layer in bounded.network.layers:
        assert jnp.all(layer.tau_m >= 0.8) and jnp.all(layer.tau_r >= 0.7)
    assert min(layer.tau_m.min() for layer in bounded.network.layers) == np.float32(0.8)


def test_weight_decay_leaves_frozen_layers_alone(key, rng):
    first, *others = network(key).layers
    frozen = gle.Layer(first.connection, first.tau_m, first.tau_r, jnp.tanh, plastic=False)
    net = gle.Network([frozen, *others], gle.MeanSquaredError())
    inputs, targets = (x.astype(jnp.float32) for x in stream(rng, 5, 2, 2, 3))
    learner, _, _ = learn(net, inputs, targets, gle.weights_only(optax.adamw(0.1, weight_decay=0.1)), Step())
    np.testing.assert_array_equal(learner.network.layers[0].connection.weight, first.connection.weight)
    assert jnp.all(learner.network.layers[1].connection.weight != others[0].connection.weight)


@pytest.mark.parametrize(
    ("solver", "limit"),
    [(diffrax.Euler(), 2.0), (diffrax.Heun(), 2.0), (diffrax.Bosh3(), 2.5127), (gle.RK4(), 2.7853)],
)
def test_stability_limits(solver, limit):
    np.testing.assert_allclose(gle.stability_limit(solver), limit, atol=5e-3)


def test_bad_streams_are_refused_and_nothing_is_lost(key, rng):
    net = network(key, (2, 4, 3))
    inputs, targets = (x.astype(jnp.float32) for x in stream(rng, 10, 2, 2, 3))
    run = eqx.filter_jit(
        lambda learner, x, dt, throw: gle.online(learner, x, targets, dt=dt, optimiser=optax.sgd(0.1), throw=throw)
    )
    learner = gle.start(net, optax.sgd(0.1), batch=(2,))
    bad = inputs.at[3, 0, 0].set(jnp.nan)
    with pytest.raises(RuntimeError, match="inputs or targets hold NaN"):
        run(learner, bad, DT, True)
    with pytest.raises(RuntimeError, match="above the stability limit"):
        run(learner, inputs, 10.0, True)
    assert run(learner, bad, DT, False)[2] == RESULTS.invalid_input
    assert run(learner, inputs, 10.0, False)[2] == RESULTS.unstable_step
    assert run(learner, inputs, DT, False)[2] == RESULTS.successful
    huge = eqx.filter_jit(
        lambda learner: gle.online(learner, inputs, targets, dt=DT, optimiser=optax.sgd(np.inf), throw=False)
    )
    assert huge(learner)[2] == RESULTS.non_finite
    with pytest.raises(ValueError, match="tau_m must be positive"):
        gle.at_least(0.0, 1.0)


@pytest.mark.slow
def test_seeds_and_streams_vmap(key, rng):
    """A batch of networks, each with its own stream, equals one after the other."""
    keys = jax.random.split(key, 3)
    inputs, targets = (x.astype(jnp.float32) for x in stream(rng, 20, 3, 2, 3))

    def final(key, x, y):
        optimiser = optax.adam(1e-2)
        learner = gle.start(network(key), optimiser)
        return gle.online(learner, x, y, dt=DT, optimiser=optimiser, throw=False)[1]

    batched = jax.jit(jax.vmap(final, in_axes=(0, 1, 1)))(keys, inputs, targets)
    for number in (0, 2):
        alone = jax.jit(final)(keys[number], inputs[:, number], targets[:, number])
        np.testing.assert_allclose(batched[number], alone, rtol=1e-4, atol=1e-5)


def test_rates_and_errors_that_never_agree_are_a_result():
    """e = target - W x - gamma e of a linear neuron at beta = 1 has no solution for gamma = -1, or any."""
    synapse = gle.Dense(jnp.array([[1.0]]), None)
    layer, cost = gle.Layer(synapse, 1.0, 1.0, gle.linear), gle.MeanSquaredError()
    net = gle.Network([layer], cost, coupling=gle.Coupled(-1.0))
    inputs, targets = jnp.full((3, 1), 0.5), jnp.full((3, 1), 2.0)
    learner = gle.start(net, SGD)
    after, _, result = gle.online(learner, inputs, targets, dt=DT, optimiser=SGD, throw=False)
    assert result == RESULTS.no_solution
    for new, old in zip(arrays(after), arrays(learner), strict=True):
        np.testing.assert_array_equal(new, old)
    assert gle.online(learner, inputs, inputs, dt=DT, optimiser=SGD, throw=False)[2] == RESULTS.successful
    with pytest.raises(RuntimeError, match="no common solution"):
        gle.online(learner, inputs, targets, dt=DT, optimiser=SGD)
    with pytest.raises(RuntimeError, match="no common solution"):
        net.signals(net.init(), inputs[0], targets[0])


@pytest.mark.parametrize(("rate", "result"), [(0.5, RESULTS.successful), (100.0, RESULTS.unstable_step)])
def test_time_constants_that_learned_to_be_negative_are_a_failure(rate, result):
    """One step from rest: u' = 1 and e = 1, so that tau_m = 1 - rate."""
    net = gle.Network([gle.Layer(gle.Dense(jnp.ones((1, 1)), None), 1.0, 1.0, gle.linear)], gle.MeanSquaredError())
    optimiser = gle.only(tau_m=optax.sgd(rate))
    before, ones = gle.start(net, optimiser), np.ones((1, 1))
    after, _, found = gle.online(before, ones, 2 * ones, dt=0.1, optimiser=optimiser, throw=False)
    assert found == result
    np.testing.assert_array_equal(after.network.layers[0].tau_m, 0.5 if rate == 0.5 else 1.0)


def test_a_learner_is_checked_while_the_program_is_traced_and_not_again(key):
    """What the optimiser says of its state costs more than a short stream."""
    asked = []

    def init(parameters):
        asked.append(parameters)
        return SGD.init(parameters)

    optimiser = optax.GradientTransformation(init, SGD.update)
    learner, inputs = gle.start(network(key, (2, 1)), optimiser), np.ones((3, 2))
    for turns in (2, 2):
        learner, *_ = gle.online(learner, inputs, inputs[:, :1], dt=0.1, optimiser=optimiser)
        assert len(asked) == turns


def test_runs_under_shard_map(key):
    """Members over a mesh of devices, at the defaults of `jax.shard_map`, as without a mesh."""
    inputs, targets = np.ones((2, 4, 2)), np.zeros((2, 4, 1))
    shape = gle.Dense(jnp.ones((1, 2)), None)

    def member(weight, inputs, targets):
        layer = gle.Layer(gle.Dense(weight, None), 1.0, 0.5, jnp.tanh)
        net = gle.Network([layer], gle.MeanSquaredError())
        outputs = []
        for stepper in (Step(), gle.RTRL()):
            learner = gle.settle(gle.start(net, SGD, stepper=stepper), inputs[0], targets[0], stepper=stepper)
            outputs.append(gle.online(learner, inputs, targets, dt=DT, optimiser=SGD, stepper=stepper)[1])
        exact = gle.bptt(net, inputs, targets, dt=DT), gle.adjoint_method(net, inputs, targets, dt=DT)
        turned = gle.feedback_angle(shape, FeedbackAlignment(layer.connection), key=key)
        loop = gle.start(net), inputs[:, :1]
        return outputs, arrays(exact), turned, gle.autoregress(*loop, 3, delays=(0, 1), dt=DT)[1]

    weights = jax.random.normal(key, (2, 1, 2))
    mesh = jax.make_mesh((1,), ("members",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.sharding.PartitionSpec("members")
    sharded = jax.shard_map(jax.vmap(member), mesh=mesh, in_specs=spread, out_specs=spread)
    found = jax.jit(sharded)(weights, *map(jnp.asarray, (inputs, targets)))
    expected = jax.jit(jax.vmap(member))(weights, inputs, targets)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)
