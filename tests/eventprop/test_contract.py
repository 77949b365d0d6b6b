"""What all public modules and functions have in common: every number of theirs can be a Python number or an array,
jitted, vmapped and differentiated, in both precisions; another value is no other program; all can be saved; bad input
is told.
"""

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest

import eventprop as ep

SOLVER = ep.Exact(max_spikes=3)
WEIGHT = [[5.1, 2.3], [1.2, 9.9]]
STEP = 1e-6


class Case(NamedTuple):
    """A function of numbers, `function(**numbers)`, and whether it is differentiable (or piecewise constant)."""

    function: Callable[..., Any]
    numbers: dict[str, float]
    differentiable: bool = True


def finite(tree: Any) -> Any:
    """The spikes that exist."""
    return jax.tree.map(lambda x: jnp.where(x == jnp.inf, 0, x), tree)


def run(neuron: ep.AbstractNeuron, *, t1=40.0, times=(1.0, 4.5), v=0.0, t=12.0, weight=None, **options) -> Any:
    """Spikes, potentials and final state of two neurons with two inputs."""
    weight = jnp.asarray(WEIGHT) if weight is None else weight
    # Lists would do, but not of traced numbers under the type checker of the tests.
    spikes = ep.Spikes(jnp.stack([jnp.asarray(time, float) for time in times]), jnp.array([0, 1]))
    state = neuron.init(2, jnp.result_type(float))
    state = eqx.tree_at(lambda s: s.v, state, jnp.full(2, v, jnp.result_type(float)))
    saveat = diffrax.SaveAt(ts=jnp.stack([jnp.asarray(t, float), jnp.asarray(30.0)]))
    network = ep.FeedForward([(ep.Dense(weight), neuron)])
    solution = ep.simulate(
        network, spikes, t1, solver=SOLVER, saveat=saveat, state=ep.NetworkState((state,)), throw=False, **options
    )
    (trains,), (potentials,) = solution.spikes, solution.ys
    return None if trains is None else finite(trains.times), potentials, solution.state.neurons[0].v


def tangential(policy: type[ep.AbstractTangential]) -> Callable[..., Any]:
    return lambda minimum, slope: policy(minimum).reciprocal(jnp.asarray(slope), jnp.asarray(True))


def cross_entropy(first, second, **numbers):
    return ep.first_spike_cross_entropy(jnp.stack([jnp.asarray(first), jnp.asarray(second)]), 1, **numbers)


def bumped(bump, allowed, silent):
    remedy = ep.weight_bump(bump, (allowed, allowed))
    weights = (jnp.zeros((2, 3)), jnp.zeros((2, 2)))
    return remedy.update(weights, remedy.init(weights), silent=(0.0, silent))[0]


def regularised(strength, low, high, count):
    remedy = ep.spike_count_regulariser(strength, (low,), (high,))
    counts = (jnp.stack([jnp.asarray(count), jnp.asarray(7.0)]),)
    return remedy.update((jnp.zeros((2, 3)),), optax.EmptyState(), counts=counts)[0]


def latency(x, **numbers):
    return ep.Latency(**numbers)(jnp.stack([jnp.asarray(x, float), jnp.asarray(0.3)])).times


CASES = {
    "LIF, ResetToValue": Case(
        lambda value, **numbers: run(ep.LIF(reset=ep.ResetToValue(value), **numbers)),
        {"value": -0.2, "tau_mem": 20.0, "tau_syn": 5.0, "threshold": 1.0, "refractory": 2.0, "bias": 0.1},
    ),
    "LI": Case(lambda **numbers: run(ep.LI(**numbers)), {"tau_mem": 20.0, "tau_syn": 5.0, "bias": 0.1}),
    "simulate, Dense, FiresOnce": Case(
        lambda first, second, weight, **numbers: run(
            ep.LIF(20.0, 5.0, refractory=ep.FiresOnce()),
            times=(first, second),
            weight=weight * jnp.asarray(WEIGHT),
            **numbers,
        ),
        {"first": 1.0, "second": 4.5, "weight": 1.1, "v": 0.2, "t": 12.0, "t1": 41.0},
    ),
    "ClipSlope": Case(tangential(ep.ClipSlope), {"minimum": 0.5, "slope": 0.4}),
    "ZeroGradient": Case(tangential(ep.ZeroGradient), {"minimum": 0.5, "slope": 0.6}),
    "RaiseTangential": Case(tangential(ep.RaiseTangential), {"minimum": 0.5, "slope": 0.6}),
    "Latency": Case(latency, {"x": 0.7, "t_min": 1.0, "t_max": 30.0, "t_bias": 3.0}),
    "Poisson": Case(
        lambda rate, t_max: finite(ep.Poisson(rate, 3, t_max, 40)(key=jax.random.key(0)).times),
        {"rate": 0.1, "t_max": 21.0},
    ),
    "Normal": Case(lambda mean, std: ep.Normal(mean, std)(jax.random.key(0), (2, 3)), {"mean": 0.3, "std": 0.7}),
    "first_spike_cross_entropy": Case(
        cross_entropy,
        {"first": 3.0, "second": 5.0, "tau0": 2.0, "tau1": 10.0, "alpha": 0.01, "silent_time": 60.0},
    ),
    "first_spike_accuracy": Case(
        lambda first: ep.first_spike_accuracy(jnp.stack([jnp.asarray(first, float), jnp.asarray(2.5)]), 0),
        {"first": 2.0},
        differentiable=False,
    ),
    "weight_bump": Case(bumped, {"bump": 1e-2, "allowed": 0.1, "silent": 0.3}),
    "spike_count_regulariser": Case(regularised, {"strength": 0.1, "low": 1.0, "high": 4.0, "count": 0.3}),
}


@pytest.fixture(autouse=True)
def _forget_traces():
    """chex counts by the names of functions, across tests."""
    chex.clear_trace_counter()


@pytest.fixture(params=CASES)
def case(request) -> Case:
    return CASES[request.param]


def close(actual: Any, expected: Any, rtol: float, atol: float) -> None:
    chex.assert_trees_all_close(actual, expected, rtol=rtol, atol=atol)


def test_jit_is_eager_and_another_number_no_other_program(precision, case):
    """`jax.jit` and not Equinox's: Python numbers are arrays there, and objects have to tell what is static."""
    jitted = jax.jit(chex.assert_max_traces(lambda numbers: case.function(**numbers), n=1))
    others = {name: 1.01 * value for name, value in case.numbers.items()}
    tolerance = 2e-4 if precision == np.float32 else 1e-11
    for numbers in (case.numbers, others):
        eager, compiled = case.function(**numbers), jitted(numbers)
        chex.assert_tree_all_finite(compiled)
        assert all(x.dtype == precision for x in jax.tree.leaves(compiled))
        close(compiled, eager, tolerance, tolerance)


def test_vmap_is_a_loop_and_gradients_are_differences(x64, case):
    """A batch whose members differ from the first one in one number each, by a step up or down."""
    names = list(case.numbers)
    values = jnp.asarray(list(case.numbers.values()))
    steps = STEP * jnp.concatenate([jnp.zeros((1, len(names))), jnp.eye(len(names)), -jnp.eye(len(names))])

    def flat(values):
        leaves = jax.tree.leaves(case.function(**dict(zip(names, values, strict=True))))
        return jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])

    members = values[None] + steps
    batch = jax.jit(jax.vmap(flat))(members)
    close(batch, jnp.stack([flat(member) for member in members]), 1e-11, 1e-11)
    if case.differentiable:
        weights = jnp.cos(jnp.arange(batch.shape[1]))
        loss = batch @ weights
        differences = (loss[1 : 1 + len(names)] - loss[1 + len(names) :]) / (2 * STEP)
        close(jax.jit(jax.grad(lambda x: flat(x) @ weights))(values), differences, 1e-5, 1e-7)


class Counted(ep.AbstractSolver):
    """A solver that may be traced once."""

    traced: Callable[..., Any] = eqx.field(static=True)

    def prepare(self, network, t1, adjoint):
        return self

    def run(self, *args, **kwargs):
        return self.traced(*args, **kwargs)


def test_python_numbers_do_not_compile_again():
    """Each of them used to be a part of the program, which took up to twenty seconds to compile."""
    solver = Counted(chex.assert_max_traces(SOLVER.run, n=1))
    spikes = ep.Spikes.from_events([1.0, 4.5], [0, 1])
    firsts = []
    for t1, tau, threshold, reset, refractory, minimum in (
        (50.0, 20.0, 1.0, -0.1, 2.0, 1e-3),
        (51, 21, 1.1, -0.2, 3, 1e-2),
        (np.float64(52.0), jnp.asarray(19), np.array([1.1, 1.2]).mean(), 0.0, jnp.inf, np.float32(0.1)),
    ):
        neuron = ep.LIF(tau, 5.0, threshold, ep.ResetToValue(reset), refractory)
        network = ep.FeedForward([(ep.Dense(WEIGHT), neuron)])
        adjoint = ep.Implicit(ep.ClipSlope(minimum))
        firsts.append(ep.simulate(network, spikes, t1, solver=solver, adjoint=adjoint).spikes[0].first())
    assert len(np.unique(np.stack(firsts))) == 6


def test_plain_jit_takes_every_object():
    """The solver, the policy and the network as arguments: whatever is static is declared."""
    network = ep.FeedForward([(ep.Dense(WEIGHT), ep.LIF(20.0, 5.0, refractory=ep.FiresOnce()))])
    spikes, adjoint = ep.Spikes.from_events([1.0, 4.5], [0, 1]), ep.Implicit(ep.ZeroGradient())

    @jax.jit
    def jitted(network, spikes, t1, solver, adjoint):
        return ep.simulate(network, spikes, t1, solver=solver, adjoint=adjoint, throw=False)

    solver = ep.Exact(max_spikes=[np.int64(3)], chunk=32)
    solution = jitted(network, spikes, 50.0, solver, adjoint)
    expected = ep.simulate(network, spikes, 50.0, solver=solver, throw=False)
    chex.assert_trees_all_close(solution, expected, rtol=1e-6)
    assert np.all(np.isfinite(solution.spikes[0].first()))
    assert solution.result == ep.RESULTS.successful


@pytest.mark.parametrize(
    "thing",
    [
        ep.FeedForward([(ep.Dense(WEIGHT), ep.LIF(20.0, jnp.array([5.0, 6.0]), reset=ep.ResetToValue(-0.1)))]),
        ep.FeedForward([(ep.Dense(WEIGHT), ep.LIF(20, 5, refractory=ep.FiresOnce())), (ep.Dense(WEIGHT), ep.LI(9, 2))]),
        ep.Spikes([1.0, np.inf], [3, 0]),
        ep.SpikeTrains([[1.0, 2.0], [3.0, np.inf]]),
        ep.LIF(20.0, 5.0).init(3),
        ep.LI(20.0, 5.0).init(3),
        ep.Implicit(ep.ZeroGradient(1e-2)),
        ep.Exact((3, 1), max_events=7),
        ep.Latency(0.0, 30.0, t_bias=1.0),
        ep.Poisson(0.2, 3, 40.0, 9),
        ep.Normal(0.1, 0.2),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_everything_can_be_saved(thing):
    """The same bits in the same place; numbers that were changed in between come back."""
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, thing)
    file.seek(0)
    changed = jax.tree.map(lambda x: x + 1, thing)
    loaded = eqx.tree_deserialise_leaves(file, changed)
    assert jax.tree.structure(loaded) == jax.tree.structure(thing)
    chex.assert_trees_all_equal(loaded, thing)


def test_lists_of_traced_numbers():
    """Nested ones used to be a TracerArrayConversionError."""
    twice = jax.jit(lambda x: (ep.Dense([[x, 2.0], [3, x]]).weight, ep.Spikes([0.0, x], [0, 1]).times))(1.5)
    chex.assert_trees_all_equal(twice, (jnp.array([[1.5, 2.0], [3.0, 1.5]]), jnp.array([0.0, 1.5])))


@pytest.mark.parametrize("name", ["Latency", "Poisson", "to_raster", "RaiseTangential"])
def test_errors_under_shard_map(name):
    """At its defaults it refused them: "cond branches must have equal output types"."""
    function, batch = {
        "Latency": (lambda x: ep.Latency(0.0, 9.0)(x).times, jnp.array([[0.1, 0.2], [0.5, 0.4]])),
        "Poisson": (lambda key: ep.Poisson(0.1, 2, 9.0, 9)(key=key).times, jax.random.split(jax.random.key(0), 2)),
        "to_raster": (lambda times: ep.Spikes(times, [0, 1]).to_raster(2, 1.0, 4), jnp.array([[1.0, 2.0], [0.0, 3.0]])),
        "RaiseTangential": (lambda slope: tangential(ep.RaiseTangential)(0.5, slope), jnp.array([0.6, 0.7])),
    }[name]
    mesh, along = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("trials",)), jax.sharding.PartitionSpec("trials")
    sharded = jax.shard_map(jax.vmap(function), mesh=mesh, in_specs=along, out_specs=along)
    chex.assert_trees_all_close(jax.jit(sharded)(batch), jax.vmap(function)(batch), rtol=1e-6)


NETWORK = ep.FeedForward([(ep.Dense(WEIGHT), ep.LIF(20.0, 5.0))])
SPIKES = ep.Spikes([1.0, 4.5], [0, 1])


def simulated(network: Any = NETWORK, spikes: Any = SPIKES, t1: Any = 50.0, solver: Any = SOLVER, **options):
    return ep.simulate(network, spikes, t1, solver=solver, **options)


def of_dtype(dtype: str, *shape: int):
    return jnp.ones(shape, dtype)


BAD = {
    "weight is bfloat16": lambda: ep.Dense(of_dtype("bfloat16", 2, 3)),
    "weight is float16": lambda: ep.Dense.init(2, 3, jax.nn.initializers.ones, key=jax.random.key(0), dtype="float16"),
    r"weight of layer 0 is float16": lambda: simulated(
        eqx.tree_at(lambda n: n.layers[0][0].weight, NETWORK, of_dtype("float16", 2, 2))
    ),
    "weight must be numbers in rows of one length": lambda: ep.Dense([[1.0, 2.0], [3.0]]),
    r"weight must be \[neurons, sources\], but has shape \(3,\)": lambda: ep.Dense([1.0, 2.0, 3.0]),
    r"weight must be \[neurons, sources\], but has shape \(\)": lambda: ep.Dense(5.0),
    r"weight of layer 0 .* \(4, 2, 2\); use jax.vmap": lambda: simulated(
        eqx.tree_at(lambda n: n.layers[0][0].weight, NETWORK, jnp.ones((4, 2, 2)))
    ),
    "weight of layer 0 is None: combine": lambda: simulated(eqx.filter(NETWORK, eqx.is_array, inverse=True)),
    r"LIF.tau_mem has the shape \(4, 2\)": lambda: simulated(
        eqx.tree_at(lambda n: n.layers[0][1].tau_mem, NETWORK, jnp.ones((4, 2)))
    ),
    r"layer 0 must be \(connection, neuron\)": lambda: ep.FeedForward([ep.Dense(WEIGHT)]),
    r"layer 1 must be \(connection, neuron\)": lambda: ep.FeedForward(
        [(ep.Dense(WEIGHT), ep.LIF(20.0, 5.0)), (jnp.ones((2, 2)), ep.LIF(20.0, 5.0))]
    ),
    "tau_mem is float16": lambda: ep.LIF(of_dtype("float16", 2), 5.0),
    "tau_syn is bfloat16": lambda: ep.LI(20.0, of_dtype("bfloat16")),
    "tau_mem must be a number or an array, but is '20'": lambda: ep.LIF("20", 5.0),
    r"refractory has shape \(2, 2\)": lambda: ep.LIF(20.0, 5.0, refractory=jnp.ones((2, 2))),
    "value is complex64": lambda: ep.ResetToValue(of_dtype("complex64")),
    "minimum is bfloat16": lambda: ep.ClipSlope(of_dtype("bfloat16")),
    "minimum must be positive": lambda: ep.ClipSlope(0.0),
    "Spikes.times is bfloat16": lambda: ep.Spikes(of_dtype("bfloat16", 2), jnp.zeros(2, int)),
    "index must hold integers, got float32": lambda: ep.Spikes(jnp.ones(2), jnp.zeros(2)),
    r"times and index must both have the shape .*\(2,\) and \(3,\)": lambda: ep.Spikes(jnp.ones(2), jnp.zeros(3, int)),
    "SpikeTrains.times is float16": lambda: ep.SpikeTrains(of_dtype("float16", 2, 2)),
    r"SpikeTrains: times must have the shape .*\(3,\)": lambda: ep.SpikeTrains(jnp.ones(3)),
    r"spikes must be those of one trial, \[events\], but have the shape \(3, 2\)": lambda: simulated(
        spikes=jax.tree.map(lambda x: jnp.stack([x] * 3), SPIKES)
    ),
    "spikes must be a Spikes": lambda: simulated(spikes=jnp.ones(3)),
    "network must be an AbstractNetwork": lambda: simulated(NETWORK.layers),
    "solver must be an AbstractSolver, but is 'exact'": lambda: simulated(solver="exact"),
    r"t1 must be one number, but has the shape \(3,\)": lambda: simulated(t1=jnp.ones(3)),
    "t1 must not be negative, got -1.0": lambda: simulated(t1=-1.0),
    "t1 must not be negative, got nan": lambda: simulated(t1=np.nan),
    "t1 is float16": lambda: simulated(t1=of_dtype("float16")),
    r"saveat.ts must be a vector of times, but has the shape \(1, 2\)": lambda: simulated(
        saveat=diffrax.SaveAt(ts=jnp.ones((1, 2)))
    ),
    "saveat.ts must not be negative": lambda: simulated(saveat=diffrax.SaveAt(ts=[-1.0, 2.0])),
    "state must be a NetworkState": lambda: simulated(state=(1.0,)),
    r"state.neurons\[0\].v is bfloat16": lambda: simulated(
        state=ep.NetworkState((ep.LIFState(*[of_dtype("bfloat16", 2)] * 4),))
    ),
    "reset must be an AbstractReset, but is <class": lambda: ep.LIF(20.0, 5.0, reset=ep.ResetBySubtraction),
    r"refractory must be a number, None or FiresOnce\(\)": lambda: ep.LIF(20.0, 5.0, refractory=ep.FiresOnce),
    "tangential must be an AbstractTangential": lambda: ep.Implicit(ep.ClipSlope),
    r"adjoint must be an Implicit, but is ClipSlope": lambda: simulated(adjoint=ep.ClipSlope()),
    "saveat must be a SaveAt": lambda: simulated(saveat=[1.0]),
    r"weight of layer 0 has the shape \(2, 0\).* at least one": lambda: ep.FeedForward(
        [(ep.Dense(jnp.ones((2, 0))), ep.LIF(20.0, 5.0))]
    ),
    r"weight of layer 1 has the shape \(0, 2\).* at least one": lambda: ep.FeedForward(
        [(ep.Dense(WEIGHT), ep.LIF(20.0, 5.0)), (ep.Dense(jnp.ones((0, 2))), ep.LI(20.0, 5.0))]
    ),
    "neurons must be a whole number from 1, but is -2": lambda: ep.Dense.init(
        3, -2, jax.nn.initializers.ones, key=jax.random.key(0)
    ),
    "index must number sources up to": lambda: ep.Spikes(np.ones(1), np.array([2**40])),
    r"trials must have the same leading axes, got \[\(\), \(2,\)\]": lambda: ep.Spikes.stack(
        [SPIKES, ep.Spikes.stack([SPIKES, SPIKES])]
    ),
    r"bump must be one number, but has the shape \(2,\)": lambda: ep.weight_bump(jnp.ones(2), (0.1,)),
    "capacity must be a whole number, but is 2.5": lambda: ep.Spikes.from_events([1.0], [0], 2.5),
    "steps must be a whole number, but is 2.5": lambda: SPIKES.to_raster(2, 1.0, 2.5),
    "max_spikes sets the size of arrays: it must be a whole number from 1, but is None": lambda: ep.Exact(None),
    "max_spikes sets the size of arrays: it must be a whole number from 1, but is 2.5": lambda: ep.Exact(2.5),
    r"t_min must be one number, but has the shape \(2,\)": lambda: ep.Latency(jnp.ones(2), 3.0),
    "t_min must not be negative, got -1.0": lambda: ep.Latency(jnp.asarray(-1.0), 3.0),
    r"features must be those of one trial, a vector, got shape \(1, 2\)": lambda: ep.Latency(0.0, 1.0)([[0.1, 0.2]]),
    "features is float16": lambda: ep.Latency(0.0, 1.0)(of_dtype("float16", 2)),
    "sources must be a whole number, but is 2.5": lambda: ep.Poisson(0.2, 2.5, 10.0, 10),
    "rate must not be negative": lambda: ep.Poisson(-0.2, 2, 10.0, 10),
    "std must not be negative": lambda: ep.Normal(0.0, np.float32(-1.0)),
    "label must be one whole number": lambda: ep.first_spike_accuracy(jnp.ones(3), 0.5),
    r"times must be the first spikes of one trial, \[classes\], got shape \(2, 3\)": lambda: ep.first_spike_accuracy(
        jnp.ones((2, 3)), 0
    ),
    r"times must be the first spikes of one trial, \[classes\], got shape \(0,\)": lambda: ep.first_spike_prediction(
        jnp.ones(0)
    ),
    "tau0 must be positive": lambda: ep.first_spike_cross_entropy(
        jnp.ones(2), 0, tau0=0.0, tau1=1.0, alpha=0.1, silent_time=9.0
    ),
    "silent must hold one number per layer": lambda: ep.weight_bump(0.1, (0.1,)).update(
        (jnp.ones((2, 3)),), optax.EmptyState(), silent=(jnp.ones(2),)
    ),
    "allowed must hold fractions": lambda: ep.weight_bump(0.1, (np.float32(1.5),)),
    "low must not be negative nor exceed high": lambda: ep.spike_count_regulariser(0.1, (np.ones(2),), (np.zeros(2),)),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_told(message):
    """Argument, value and remedy; where the type checker of the test suite is quicker, it is a checker's error."""
    with pytest.raises((ValueError, jaxtyping.TypeCheckError)) as error:
        BAD[message]()
    if error.type is ValueError:
        error.match(message)
