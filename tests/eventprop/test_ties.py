"""Derivatives where two things are exactly equal: time constants, events, an event and a spike, a sample and an end."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
from tests.eventprop import reference
from tests.eventprop.differences import central_differences

# Four neurons: two with equal time constants, one on either side. Inputs 1 and 2 come together, input 3 has weight 0
# (and in neuron 1 all but one have), and the refractory period holds the neurons while some arrive.
TAU_MEM, TAU_SYN = np.array([10.0, 7.0, 20.0, 5.0]), np.array([10.0, 7.0, 5.0, 20.0])
TIMES = np.array([1.0, 4.0, 4.0, 6.0])
WEIGHT = np.array([[4.0, 3.0, 1.0, 0.0], [9.0, 0.0, 0.0, 0.0], [11.0, 2.0, 5.0, 0.0], [7.0, 1.0, -3.0, 0.0]])
V, I = np.array([0.1, 0.0, -0.3, 0.0]), np.array([0.5, 0.0, 2.0, 0.0])
COMMON = np.concatenate([TIMES, np.zeros(8)])
"""The input times, and what is added to every neuron's weights, V(0), I(0), and time constants."""
SLOTS, END, REFRACTORY = 3, 30.0, 1.5


def spike_times(common):
    """The first three spikes of each neuron [neurons, slots]."""
    times, added, v, i, tau_mem, tau_syn = jnp.split(common, [4, 8, 9, 10, 11])
    neuron = ep.LIF(TAU_MEM + tau_mem, TAU_SYN + tau_syn, refractory=REFRACTORY)
    network = ep.FeedForward([(ep.Dense(WEIGHT + added[None]), neuron)])
    state = ep.NetworkState((ep.LIFState.free(V + v, I + i),))
    spikes = ep.Spikes(times, jnp.arange(4))
    solution = ep.simulate(network, spikes, END, solver=ep.Exact(12), state=state, throw=False)
    return solution.spikes[0].times[:, :SLOTS]


def by_brute_force(common):
    times, added, v, i, tau_mem, tau_syn = np.split(common, [4, 8, 9, 10, 11])
    neurons = [
        reference.Neuron(a, b, refractory=REFRACTORY) for a, b in zip(TAU_MEM + tau_mem, TAU_SYN + tau_syn, strict=True)
    ]
    layer = reference.simulate_layer(times, np.arange(4), (WEIGHT + added[None]).T, neurons, END, V + v, I + i)
    return reference.trains(layer, 12)[:, :SLOTS]


def test_derivatives_at_ties_are_differences_of_the_reference(x64):
    """Of both modes; second derivatives are differences of the first ones."""
    spikes = np.asarray(spike_times(jnp.asarray(COMMON)))
    np.testing.assert_allclose(spikes, by_brute_force(COMMON), rtol=1e-12)
    finite = np.isfinite(spikes)
    assert np.sum(finite) >= 10 and np.all(finite[:, 0])
    assert np.any((spikes[:, :, None] < TIMES) & (spikes[:, :, None] + REFRACTORY > TIMES))
    jacobian = jax.jit(jax.vmap(jax.jacfwd(spike_times)))

    def batch(points):
        return np.stack([by_brute_force(point) for point in points])

    with np.errstate(invalid="ignore"):
        differences = central_differences(batch, COMMON, np.eye(COMMON.size), [2e-3])[0]
    first = np.moveaxis(np.asarray(jacobian(COMMON[None])[0]), -1, 0)
    np.testing.assert_allclose(first[:, finite], differences[:, finite], rtol=1e-6, atol=1e-7)
    reverse = np.moveaxis(np.asarray(jax.jit(jax.jacrev(spike_times))(jnp.asarray(COMMON))), -1, 0)
    np.testing.assert_allclose(reverse, first, rtol=1e-9, atol=1e-11)

    # Along one direction that keeps coincident inputs together and one that moves all time constants apart.
    direction = np.concatenate([[0.3, 1.0, 1.0, -0.5], [0.2, -0.1, 0.3, 0.1], [0.1, -0.2, 1.0, -0.7]])
    second = jax.jit(lambda x: jax.jvp(jax.jacfwd(spike_times), (x,), (jnp.asarray(direction),))[1])
    expected = central_differences(jacobian, COMMON, direction[None], [1e-3])[0, 0]
    np.testing.assert_allclose(np.asarray(second(COMMON))[finite], expected[finite], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("per_neuron", [False, True])
def test_either_of_two_equal_time_constants(x64, per_neuron):
    """The numbers of a careful calculation: inputs of weight 3 at 1 and 4, both time constants 10."""

    def spikes(tau_mem, tau_syn):
        network = ep.FeedForward([(ep.Dense(jnp.full((1, 2), 3.0)), ep.LIF(tau_mem, tau_syn))])
        events = ep.Spikes(jnp.array([1.0, 4.0]), jnp.array([0, 1]))
        return ep.simulate(network, events, 30.0, solver=ep.Exact(4)).spikes[0].times[0, :3]

    tau = jnp.full((1,), 10.0) if per_neuron else jnp.asarray(10.0)
    by_mem, by_syn = jax.jit(jax.jacrev(spikes, (0, 1)))(tau, tau)
    np.testing.assert_allclose(np.ravel(by_mem), [0.22061, 0.62633, 1.61556], atol=5e-6)
    np.testing.assert_allclose(np.ravel(by_syn), [-0.04100, -0.18485, -0.79022], atol=5e-6)
    together = jax.jit(jax.jacfwd(lambda tau: spikes(tau, tau)))(tau)
    np.testing.assert_allclose(together, by_mem + by_syn, rtol=1e-12)


TRIALS, INPUTS = 128, 10


@jax.jit
@jax.vmap
def shifted(weight, times, tau_mem, tau_syn, refractory):
    """Spike times of one neuron, their derivatives by a common shift of all inputs, and whether all is well."""

    def spikes(times):
        network = ep.FeedForward([(ep.Dense(weight), ep.LIF(tau_mem, tau_syn, refractory=refractory))])
        adjoint, solver = ep.Implicit(ep.ClipSlope(1e-9)), ep.Exact(24, chunk=8)
        events = ep.Spikes(times, jnp.arange(INPUTS))
        solution = ep.simulate(network, events, 100.0, solver=solver, adjoint=adjoint, throw=False)
        return solution.spikes[0].times[0], solution.result == ep.RESULTS.successful

    times, shift, well = jax.jvp(spikes, (times,), (jnp.isfinite(times).astype(times.dtype),), has_aux=True)
    return times, shift, well


@pytest.mark.parametrize("largest", [1.0, 1e9])
def test_spikes_shift_with_their_inputs_also_with_those_at_the_same_time(precision, largest):
    """The derivatives of a spike by all input times sum to 1. Inputs are put where the neuron spikes, one by one.

    Weights of 1e9 make it fire at the very time of an input, as far as numbers can tell.
    """
    rng = np.random.default_rng(1)
    weight = rng.normal(2.0, 3.0, (TRIALS, 1, INPUTS)) * largest ** rng.uniform(size=(TRIALS, 1, INPUTS))
    weight[:, :, 0] = np.abs(weight[:, :, 0])
    taus = rng.choice([[20.0, 5.0], [10.0, 10.0], [5.0, 20.0]], TRIALS)
    refractory = np.where(rng.uniform(size=TRIALS) < 0.5, 1e-3, 2.0)
    weight, tau_mem, tau_syn, refractory = (x.astype(precision) for x in (weight, *taus.T, refractory))
    inputs = np.full((TRIALS, INPUTS), np.inf, precision)
    inputs[:, 0] = rng.choice([0.0, 1.0, 3.7], TRIALS)
    spikes = checked = 0
    for number in range(1, INPUTS + 1):
        spikes, shift, well = (np.asarray(x) for x in shifted(weight, inputs, tau_mem, tau_syn, refractory))
        counts = np.isfinite(spikes) & well[:, None]
        np.testing.assert_allclose(shift[counts], 1.0, atol=1e-6 if precision == np.float64 else 2e-2)
        checked += np.sum(counts)
        if number < INPUTS:  # the next input comes at the first or second spike after the last one
            later = np.sort(np.where(spikes > inputs[:, number - 1, None], spikes, np.inf), axis=1)
            inputs[:, number] = later[:, rng.integers(0, 2)]
    ties = np.sum((spikes[:, :, None] == inputs[:, None, :]) & np.isfinite(spikes)[:, :, None])
    assert checked > 1000 and ties > 50


def test_samples_at_the_start_at_an_input_and_at_the_end(x64):
    """dV/dt at a sample is V' there, of what has arrived before it; where the trial ends makes no difference to it."""

    def potential(ts, t1, start):
        network = ep.FeedForward([(ep.Dense(jnp.full((1, 1), 0.5)), ep.LI(10.0, 10.0))])
        saveat, events = diffrax.SaveAt(ts=ts), ep.Spikes(jnp.array([4.0]), jnp.array([0]))
        state = ep.NetworkState((ep.LIState(*start),))
        return ep.simulate(network, events, t1, solver=ep.Exact(1), saveat=saveat, state=state).ys[0][:, 0]

    ts, end, start = jnp.array([0.0, 4.0, 9.0]), jnp.asarray(9.0), (jnp.full(1, 0.3), jnp.full(1, 0.7))
    v, _ = potential(ts, end, start), None
    current = 0.7 * np.exp(-np.asarray(ts) / 10.0) + np.array([0.0, 0.0, 0.5 * np.exp(-0.5)])
    by_ts, by_end = jax.jit(jax.jacrev(potential, (0, 1)))(ts, end, start)
    np.testing.assert_allclose(by_ts, np.diag((current - v) / 10.0), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(by_end, 0.0)


def test_state_at_the_end_of_a_refractory_period_and_at_a_saved_spike(x64):
    """One-sided derivatives, not halves of them: a membrane is held at the very end of its refractory period."""

    def run(t1, bias, ts):
        lif = ep.LIF(20.0, 5.0, refractory=2.0, bias=bias)
        network = ep.FeedForward([(ep.Dense(jnp.ones((1, 1))), lif)])
        events, saveat = ep.Spikes(jnp.array([jnp.inf]), jnp.array([0])), diffrax.SaveAt(ts=ts)
        solution = ep.simulate(network, events, t1, solver=ep.Exact(2), saveat=saveat)
        return solution.state.neurons[0].v[0], solution.ys[0][0, 0], solution.spikes[0].times[0, 0]

    bias = jnp.asarray(1.5)
    spike = run(jnp.asarray(20.0 * np.log(3.0) + 9.0), bias, jnp.zeros(1))[2]
    gradient = jax.jit(jax.jacrev(run, (0, 1, 2)))(spike + 2.0, bias, spike[None])
    np.testing.assert_allclose([gradient[0][0], gradient[0][1]], 0.0)  # of V(t1), by t1 and by the bias
    np.testing.assert_allclose(gradient[1][2], 0.0)  # of the held potential at the spike, by the time of the sample


LATERAL = (ep.Dense(jnp.full((4, 4), -0.1), delay=1.0),)
EXACT = ep.Exact(8, max_events=12, chunk=4)


@pytest.mark.slow
@pytest.mark.parametrize(("lateral", "solver"), [((), EXACT), (LATERAL, EXACT), (LATERAL, ep.Grid(0.5, 8))])
def test_runs_under_shard_map(lateral, solver):
    """Trials over a mesh of devices, at the defaults of `jax.shard_map`: values and gradients as without a mesh."""
    hidden, output = ep.Dense(jnp.full((4, 3), 5.0)), ep.Dense(jnp.full((2, 4), 3.0))
    network = ep.Recurrent([(hidden, ep.LIF(20.0, 5.0), *lateral), (output, ep.LI(20.0, 5.0))])
    spikes = ep.Spikes.stack([ep.Spikes.from_events([1.0, 4.0, 5.0 + k], [0, 1, 2]) for k in range(4)])
    saveat = diffrax.SaveAt(ts=jnp.array([1.0, 25.0]))

    def loss(network, spikes):
        def trial(spikes):
            solution = ep.simulate(network, spikes, 30.0, solver=solver, saveat=saveat)
            voltages = ep.voltage_maximum(network, spikes, solution, 30.0)
            return jnp.sum(solution.spikes[0].first()) + jnp.sum(solution.ys[1]) + jnp.sum(voltages)

        return jnp.sum(jax.vmap(trial)(spikes))

    def shard(network, spikes):
        value, gradient = eqx.filter_value_and_grad(loss)(network, spikes)
        return jax.lax.psum(value, "trials"), gradient

    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("trials",))
    along = jax.sharding.PartitionSpec
    arrays, rest = eqx.partition(network, eqx.is_array)
    sharded = jax.shard_map(
        lambda arrays, spikes: shard(eqx.combine(arrays, rest), spikes),
        mesh=mesh,
        in_specs=(along(), along("trials")),
        out_specs=(along(), along()),
    )
    value, gradient = jax.jit(sharded)(arrays, spikes)
    expected = eqx.filter_jit(eqx.filter_value_and_grad(loss))(network, spikes)
    np.testing.assert_allclose(value, expected[0], rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), gradient, expected[1])
