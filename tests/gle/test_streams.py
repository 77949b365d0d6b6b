"""Streams, learners and settings as users give them: what is converted, and what is refused and how."""

import inspect

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gle
from tests.gle.networks import arrays, network

GRADIENTS = (gle.bptt, gle.adjoint_method, gle.algorithm2, gle.adjoint_variables)
INPUTS, TARGETS = np.arange(16).reshape(4, 2, 2) % 3, np.arange(24).reshape(4, 2, 3) % 2
SGD, ADAM = optax.sgd(0.1), optax.adam(0.1)
STEP, ALGORITHM1 = gle.Step(), gle.Algorithm1()


@pytest.fixture
def net(key):
    return network(key, (2, 3))


def test_whole_numbers_are_floats(net):
    """From NumPy's integers to the same numbers as from floats."""
    floats = INPUTS.astype(np.float32), TARGETS.astype(np.float32)
    for function in GRADIENTS:
        for found, expected in zip(
            arrays(function(net, INPUTS, TARGETS, dt=0.1)), arrays(function(net, *floats, dt=0.1)), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(gle.infer(net, INPUTS, dt=0.1)[0], gle.infer(net, floats[0], dt=0.1)[0])
    learner = gle.settle(gle.start(net, batch=(2,)), INPUTS[0], TARGETS[0])
    whole, same = (gle.online(learner, *stream, dt=0.1)[1] for stream in ((INPUTS, TARGETS), floats))
    np.testing.assert_array_equal(whole, same)
    loop = gle.start(network(jax.random.key(1), (2, 1)))
    series = np.arange(5)[:, None] % 2
    found, same = (gle.autoregress(loop, past, 3, delays=(0, 2), dt=0.1)[1] for past in (series, series * 1.0))
    np.testing.assert_array_equal(found, same)


def test_weights_of_numpy_and_of_whole_numbers_learn():
    layer = gle.Layer(gle.Dense(np.eye(2, dtype=int), [0, 1]), np.int64(1), [1, 2], jnp.tanh)
    learner = gle.start(gle.Network([layer], gle.MeanSquaredError()), SGD)
    after, *_ = gle.online(learner, INPUTS[:, 0], TARGETS[:, 0, :2], dt=0.1, optimiser=SGD)
    weight = after.network.layers[0].connection.weight
    assert weight.dtype == np.float32 and jnp.any(weight != jnp.eye(2))


def test_half_precision_is_refused_by_name(net):
    half = jnp.asarray(INPUTS, jnp.bfloat16)
    for run in (*GRADIENTS, lambda net, x, y, dt: gle.online(gle.start(net, batch=(2,)), x, y, dt=dt)):
        with pytest.raises(ValueError, match="inputs has the dtype bfloat16: use float32"):
            run(net, half, TARGETS, dt=0.1)
    with pytest.raises(ValueError, match="weight has the dtype float16"):
        gle.Dense(jnp.ones((2, 2), jnp.float16), None)


@pytest.mark.parametrize("function", [*GRADIENTS, "online"])
def test_streams_that_do_not_fit_are_refused(function, net):
    def run(inputs, targets):
        if function == "online":
            # As users have it, without the type checker of the tests.
            return inspect.unwrap(gle.online)(gle.start(net, batch=(2,)), inputs, targets, dt=0.1)
        return function(net, inputs, targets, dt=0.1)

    with pytest.raises(ValueError, match=r"targets must have the shape \(4, 2, 3\).* has \(3, 2, 3\)"):
        run(INPUTS, TARGETS[:3])
    with pytest.raises(ValueError, match=r"targets must have the shape \(4, 2, 3\).* has \(4, 2, 2\)"):
        run(INPUTS, TARGETS[..., :2])
    with pytest.raises(ValueError, match=r"inputs must have the shape \(4, 2, 2\).* has \(4, 2, 1\)"):
        run(INPUTS[..., :1], TARGETS)
    with pytest.raises(ValueError, match=r"at least one sample, but have shape \(4, 0, 2\)"):
        run(INPUTS[:, :0], TARGETS[:, :0])


def test_time_steps_that_are_none_are_refused(net):
    for dt in (0, -0.1, np.nan, jnp.asarray(0.0)):
        for function in GRADIENTS:
            with pytest.raises(ValueError, match="dt must be positive"):
                function(net, INPUTS, TARGETS, dt=dt)
        with pytest.raises(ValueError, match="dt must be positive"):
            gle.infer(net, INPUTS, dt=dt)
    with pytest.raises(ValueError, match=r"dt must be one number, but has shape \(2,\)"):
        gle.online(gle.start(net, batch=(2,)), INPUTS, dt=jnp.ones(2))


def test_dt_has_the_precision_of_the_network(key, x64):
    """An input in float32 used to round dt as well."""
    net, dt = network(key, (2, 3)), 0.1
    _, potentials, _ = gle.online(gle.start(net, batch=(2,)), INPUTS.astype(np.float32), dt=dt)
    expected, u = [], np.zeros((2, 3))
    (layer,) = net.layers
    for x in INPUTS:
        du = (x @ np.asarray(layer.connection.weight).T + layer.connection.bias[None] - u) / layer.tau_m[None]
        expected.append(u + layer.tau_r[None] * du)
        u = u + dt * du
    np.testing.assert_allclose(potentials, expected, rtol=1e-13)


def test_a_learner_is_of_its_optimiser_stepper_and_batch(net):
    def run(learner, **options):
        gle.online(learner, INPUTS, TARGETS, dt=0.1, **options)

    for learner in (gle.start(net, batch=(2,)), gle.start(net, SGD, batch=(2,))):
        with pytest.raises(ValueError, match="not the state of this optimiser: start the learner with it"):
            run(learner, optimiser=ADAM)
    for learner in (gle.start(net, batch=(2,)), gle.start(net, stepper=ALGORITHM1), gle.start(net)):
        with pytest.raises(ValueError, match=r"does not fit Algorithm1 and a batch of \(2,\): start the learner with"):
            run(learner, stepper=ALGORITHM1)
    with pytest.raises(ValueError, match="does not fit Step"):
        run(gle.start(net, stepper=ALGORITHM1, batch=(2,)))
    with pytest.raises(
        ValueError, match=r"batch must be a tuple of sizes, each at least 1, such as \(32,\), but is \(0,\)"
    ):
        gle.start(net, batch=(0,))


def test_a_network_is_no_learner_and_a_class_no_stepper(net, untyped):
    for call in (lambda: gle.online(net, np.ones((3, 2)), dt=0.1), lambda: gle.settle(net, np.ones(2))):
        with pytest.raises(ValueError, match=r"learner must be a Learner, but is a Network: gle\.start"):
            call()
    with pytest.raises(ValueError, match=r"stepper must be an AbstractStepper such as Step\(\)"):
        gle.start(net, stepper=gle.Algorithm1)  # pyright: ignore[reportArgumentType]


def test_implicit_solvers_need_a_root_finder(key):
    """With one, they stay stable at any dt; a constant input is approached by u <- (u + dt/tau W x) / (1 + dt/tau)."""
    with pytest.raises(ValueError, match=r"ImplicitEuler\(root_finder=diffrax\.VeryChord\(rtol=1e-5, atol=1e-5\)\)"):
        gle.Step(diffrax.ImplicitEuler())
    stepper = gle.Step(diffrax.ImplicitEuler(root_finder=diffrax.VeryChord(rtol=1e-6, atol=1e-6)))
    net = gle.Network([gle.Layer(gle.Identity(1), 1.0, 0.5, gle.linear)], gle.MeanSquaredError())
    learner, *_ = gle.online(gle.start(net, stepper=stepper), jnp.ones((3, 1)), dt=3.0, stepper=stepper)
    np.testing.assert_allclose(learner.state.u[0], 1 - 0.25**3, rtol=1e-4)


def test_autoregression_that_fails_returns_the_learner(key):
    learner = gle.start(network(key, (2, 1)), SGD)
    past = jnp.ones((4, 1))
    for bad, dt in ((past.at[1].set(jnp.nan), 0.1), (past, 50.0), (past, -1.0)):
        after, _, result = gle.autoregress(learner, bad, 3, delays=(0, 2), dt=dt, throw=False)
        assert result != gle.RESULTS.successful
        for new, old in zip(arrays(after), arrays(learner), strict=True):
            np.testing.assert_array_equal(new, old)
    with pytest.raises(ValueError, match="1 channels at 3 delays needs 3 inputs and 1 outputs, but has 2 and 1"):
        gle.autoregress(learner, past, 3, delays=(0, 1, 2), dt=0.1)
    with pytest.raises(ValueError, match="does not fit Algorithm1"):
        gle.autoregress(learner, past, 3, delays=(0, 2), dt=0.1, stepper=ALGORITHM1)


def test_a_network_is_made_inside_jit_from_traced_numbers(key):
    """What is traced cannot be checked, and need not be known."""

    @jax.jit
    def potential(weight, tau, gamma, beta):
        layer = gle.Layer(gle.Dense(weight, None), tau, tau, gle.linear)
        net = gle.Network([layer], gle.MeanSquaredError(), beta=beta, coupling=gle.Coupled(gamma))
        return net.signals(net.init(), jnp.array([0.5]), jnp.array([2.0]), throw=False).error[0]

    np.testing.assert_allclose(potential(jnp.ones((1, 1)), 1.3, 1.0, 1.0), [0.75], rtol=1e-5)


def test_settings_of_every_kind_are_numbers(net):
    """Python's, NumPy's, JAX's; a whole number is one too."""
    expected = gle.bptt(net, INPUTS, TARGETS, dt=0.1)[0]
    for one in (1, np.float32(1), np.array(1), jnp.asarray(1)):
        same = gle.Network(net.layers, net.cost, beta=one, coupling=gle.Coupled(one))
        np.testing.assert_array_equal(gle.bptt(same, INPUTS, TARGETS, dt=0.1)[0], expected)
        after, *_ = gle.online(gle.start(same, SGD, batch=(2,)), INPUTS, TARGETS, dt=0.1, optimiser=SGD)
        assert eqx.tree_equal(after.network.beta, same.beta)


def test_an_empty_stream_leaves_the_potentials_and_has_no_gradient(net):
    u = jax.tree.map(lambda x: x + 0.5, net.init((2,)).u)
    outputs, last = gle.infer(net, INPUTS[:0], dt=0.1, u=u)
    assert outputs.shape == (0, 2, 3)
    np.testing.assert_array_equal(last[0], u[0])
    for function in GRADIENTS:
        with pytest.raises(ValueError, match="inputs must hold at least one step for a gradient"):
            function(net, INPUTS[:0], TARGETS[:0], dt=0.1)


def test_potentials_to_start_from_fit_the_network(net):
    for u in (net.init().u, (), np.zeros((2, 3))):
        with pytest.raises(ValueError, match=r"u must hold the potentials of each layer, of shapes \[\(2, 3\)\]"):
            gle.infer(net, INPUTS, dt=0.1, u=u)
    same = [np.zeros((2, 3)).tolist()]
    np.testing.assert_array_equal(gle.infer(net, INPUTS, dt=0.1, u=same)[0], gle.infer(net, INPUTS, dt=0.1)[0])


def test_nothing_settles_under_nan(net):
    learner, broken = gle.start(net, batch=(2,)), np.where(INPUTS[0] > 0, np.nan, 0)
    with pytest.raises(eqx.EquinoxRuntimeError, match="inputs or targets hold NaN"):
        gle.settle(learner, broken, TARGETS[0])
    assert np.isnan(gle.settle(learner, broken, TARGETS[0], throw=False).state.u[0]).any()


def test_delays_and_series_of_numpy():
    """x(t - 2) beside x(t) of 0, 1, 2, 3."""
    for delays in (np.array([2, 0]), [2, 0]):
        np.testing.assert_array_equal(gle.delayed(np.arange(4)[:, None], delays), [[0, 2], [1, 3]])
    with pytest.raises(ValueError, match="delays must be non-negative numbers of steps"):
        gle.delayed(np.arange(4)[:, None], np.array([0.5]))


DENSE = gle.Dense(np.ones((2, 3)), None)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gle.Layer(DENSE, 1.0, 1.0, lambda x: x.sum()), r"for each of 2 neurons, but gives float32\[\]"),
        (lambda: gle.Layer(DENSE, 1.0, 1.0, lambda x: x[..., :1]), r"for each of 2 neurons, but gives float32\[1\]"),
        (lambda: gle.Layer(DENSE, 1.0, 1.0, lambda x: (x > 0).astype(int)), r"but gives int32\[2\]"),
        (lambda: gle.Layer(gle.Dense(np.ones((0, 3)), None), 1.0, 1.0, jnp.tanh), "at least one neuron"),
        (
            lambda: network(jax.random.key(0), beta=np.array([1.0, 2.0])),
            r"beta must be one number, but has shape \(2,\)",
        ),
        (lambda: gle.Coupled(np.ones(3)), r"gamma must be one number, but has shape \(3,\)"),
        (lambda: gle.Coupled(np.float16(1)), "gamma has the dtype float16"),
        (lambda: gle.Retrospective(jnp.bfloat16(1)), "tau has the dtype bfloat16"),
        (lambda: gle.NoisyRates(STEP, np.ones(2), 1.0, jax.random.key(0)), "std must be one number"),
        (lambda: gle.Identity(0), "size must be at least 1"),
        (lambda: gle.Conv2d.init((1, 5, 5), 2, 2, pool=0, key=jax.random.key(0)), "pool 0"),
        (lambda: gle.Conv2d.init((1, 5, 5), 2, 0, key=jax.random.key(0)), "kernel and pool at least 1"),
    ],
)
def test_what_does_not_fit_is_refused_where_it_is_given(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_energies_are_not_broadcast(net):
    signals = net.signals(net.init((2,)), jnp.ones((2, 2)), jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"target must have the shape \(2, 3\) of the state and the network, but has"):
        net.energy(signals, jnp.zeros((2, 1)))
