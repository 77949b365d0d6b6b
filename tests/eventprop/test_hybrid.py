"""Hybrid and Replay: golden values, the closed form, and every mode of differentiation; what a step could miss."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
from tests.eventprop import golden_network as golden
from tests.eventprop.test_recurrent import golden_network, parameters, totals

PRECISE = {
    "largest_step": 2.0,
    "solver": diffrax.Dopri8(),
    "stepsize_controller": diffrax.PIDController(rtol=1e-10, atol=1e-10),
}


def sum_of(times):
    fired = times < jnp.inf
    return jnp.sum(jnp.where(fired, times, 0))


def test_golden_network(x64):
    """Spikes, the state at the end, and the gradients of L1 and L3 by EventProp, which are those of the tables."""
    p = parameters()
    spikes = ep.Spikes(jnp.asarray(golden.TIMES), jnp.asarray(golden.INDEX))
    solver = ep.Hybrid(max_spikes=8, max_steps=512, **PRECISE)

    @jax.jit
    @lambda f: jax.jacrev(f, has_aux=True)
    def losses(p):
        found = ep.simulate(golden_network(p), spikes, golden.T1, solver=solver, adjoint=ep.EventProp(), throw=False)
        return jnp.stack([sum_of(found.spikes[0].times), found.state.neurons[0].v[0]]), found

    jacobian, found = losses(p)
    assert found.result == ep.RESULTS.successful
    for row, expected in zip(np.asarray(found.spikes[0].times), golden.SPIKES, strict=True):
        np.testing.assert_allclose(row[: len(expected)], expected, rtol=0, atol=1e-9)
        assert np.all(row[len(expected) :] == np.inf)
    np.testing.assert_allclose(found.state.neurons[0].v, golden.V, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.state.neurons[0].i, golden.I, rtol=0, atol=1e-10)
    for name, value in totals(p, jacobian).items():
        right = np.array(golden.GRADIENTS[name])[[0, 2]]
        np.testing.assert_allclose(value, right, rtol=1e-9, atol=1e-8, err_msg=name)
    distinct = ~np.eye(5, dtype=bool)
    np.testing.assert_allclose(jacobian["weight"][0][distinct], golden.L1_BY_WEIGHT[distinct], rtol=0, atol=1e-7)
    np.testing.assert_allclose(jacobian["delay"][0][distinct], golden.L1_BY_DELAY[distinct], rtol=0, atol=1e-7)
    np.testing.assert_allclose(jacobian["input"][0], golden.L1_BY_INPUT_WEIGHT, rtol=0, atol=1e-7)


RNG = np.random.default_rng(0)
TIMES = np.sort(RNG.uniform(0, 30, 12))
INDEX = RNG.integers(0, 3, 12).astype(np.int32)


def layers():
    """Parameters of two layers: LIF with delays and refractory period, and a readout."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(1.5, 1.0, (6, 3)), rng.normal(1.0, 0.5, (2, 6))
    numbers = {"delay": np.array([0.5, 0.0, 1.0]), "tau_mem": 20.0, "tau_syn": 5.0, "refractory": 1.5, "t1": 40.0}
    return {name: jnp.asarray(x) for name, x in ({"first": first, "second": second, "times": TIMES} | numbers).items()}


def simulate(p, solver, adjoint=ep.Implicit(), state=None, window=(0.0, 40.0)):
    begin, _ = window
    lif = ep.LIF(p["tau_mem"], p["tau_syn"], refractory=p["refractory"])
    network = ep.FeedForward(
        [(ep.Dense(p["first"], delay=p["delay"]), lif), (ep.Dense(p["second"]), ep.LI(p["tau_mem"], 5.0))]
    )
    saveat = diffrax.SaveAt(ts=jnp.asarray([10.0, 33.0, 21.0]))
    spikes = ep.Spikes(p["times"] - begin, jnp.asarray(INDEX))
    return ep.simulate(
        network, spikes, p["t1"], solver=solver, adjoint=adjoint, saveat=saveat, state=state, throw=False
    )


def loss(p, solver, adjoint=ep.Implicit()):
    found = simulate(p, solver, adjoint)
    times = found.spikes[0].times
    times = jnp.where(times < jnp.inf, times, 0)
    ends = jnp.sum(found.state.neurons[1].v ** 2) + 0.1 * jnp.sum(found.state.neurons[0].v)
    return jnp.sum(jnp.sin(times / 7)) + jnp.sum(found.ys[1] ** 2) + ends


def test_agrees_with_the_closed_form(x64):
    """Spikes, potentials, gradients by EventProp, and by Replay of Exact's spikes."""
    p, exact = layers(), ep.Exact(max_spikes=12)
    hybrid = ep.Hybrid(max_spikes=12, max_steps=256, **PRECISE)
    right, found = simulate(p, exact), simulate(p, hybrid)
    assert np.sum(right.spikes[0].times < np.inf) == 10
    np.testing.assert_allclose(found.spikes[0].times, right.spikes[0].times, rtol=0, atol=1e-9)
    for x, y in zip(found.ys, right.ys, strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-10)
    gradient = jax.grad(loss)(p, exact)
    replay = ep.Replay(right.spikes, max_steps=256, **PRECISE)
    for solver, adjoint in [(hybrid, ep.EventProp(interval=8)), (replay, ep.Implicit())]:
        found = jax.grad(loss)(p, solver, adjoint)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=1e-8), found, gradient)


@pytest.mark.slow
def test_second_derivatives(x64):
    """Those of Exact."""
    p, exact = layers(), ep.Exact(max_spikes=12)
    hybrid = ep.Hybrid(max_spikes=12, max_steps=256, **PRECISE)
    v = jax.tree.map(lambda x: 0.3 * jnp.ones_like(x), p)

    def second(solver):
        # Forward over reverse mode: what lax.scan makes of rules in its body would show here.
        value, slope = jax.jvp(jax.grad(lambda p: loss(p, solver)), (p,), (v,))
        return jax.flatten_util.ravel_pytree(value)[0], jax.flatten_util.ravel_pytree(slope)[0]

    (x, xx), (y, yy) = second(hybrid), second(exact)
    np.testing.assert_allclose(x, y, rtol=0, atol=1e-8)
    np.testing.assert_allclose(xx, yy, rtol=1e-6, atol=1e-6 * np.abs(yy).max())


def test_replay_changes_times_by_the_implicit_rule_at_the_given_spikes(x64):
    """One neuron, a spike where its potential happens to be: dt/dw = -(dV/dw) / V' there, by the closed form."""
    tau, w, t = 10.0, 3.0, 6.0
    given = (ep.SpikeTrains(jnp.asarray([[t, jnp.inf]])),)
    solver = ep.Replay(given, max_steps=64, **PRECISE)

    def time(w):
        network = ep.FeedForward([(ep.Dense(w * jnp.ones((1, 1))), ep.LIF(tau, tau))])
        return ep.simulate(network, ep.Spikes.from_events([0.0], [0]), 20.0, solver=solver).spikes[0].times[0, 0]

    found, slope = jax.value_and_grad(time)(jnp.asarray(w))
    assert found == t
    # V = w x exp(-x) at x = t / tau.
    x = t / tau
    np.testing.assert_allclose(slope, -x * np.exp(-x) / (w * (1 - x) * np.exp(-x) / tau), rtol=1e-8)


def test_a_peak_within_a_step(x64):
    """2e-4 above threshold, between the ends of every step: fires at the closed form's time, and not at 2e-4 below."""
    peak = np.exp(-1.0)  # of t/tau exp(-t/tau), at tau
    for above in (2e-4, -2e-4):
        network = ep.FeedForward([(ep.Dense(jnp.asarray([[(1 + above) / peak]])), ep.LIF(10.0, 10.0))])
        solver = ep.Hybrid(largest_step=5.0, max_spikes=3, max_steps=128)
        spikes = ep.Spikes.from_events([1.0], [0])
        found = ep.simulate(network, spikes, 60.0, solver=solver).spikes[0].times
        right = ep.simulate(network, spikes, 60.0, solver=ep.Exact(max_spikes=3)).spikes[0].times
        assert np.sum(right < np.inf) == (above > 0)
        np.testing.assert_allclose(found, right, atol=5e-3)


@pytest.mark.parametrize("cut", [0.0, 7.3, 16.0])
def test_windows(x64, cut):
    """A trial that is cut anywhere, with spikes in flight, is the whole; V beyond the cut is that at the cut."""
    p, hybrid = layers(), ep.Hybrid(max_spikes=12, max_steps=256, **PRECISE)
    whole = simulate(p, hybrid)
    first = simulate(p | {"t1": jnp.asarray(cut)}, hybrid)
    for seen, y in zip(first.ys, first.state.neurons, strict=True):
        np.testing.assert_allclose(seen[1], y.v, rtol=0, atol=1e-12)  # at 33, which is beyond all cuts
    late = jnp.where(p["times"] >= cut, p["times"], jnp.inf)
    order = jnp.argsort(late)
    lif = ep.LIF(p["tau_mem"], p["tau_syn"], refractory=p["refractory"])
    network = ep.FeedForward(
        [(ep.Dense(p["first"], delay=p["delay"]), lif), (ep.Dense(p["second"]), ep.LI(p["tau_mem"], 5.0))]
    )
    rest = ep.Spikes(late[order] - cut, jnp.asarray(INDEX)[order])
    second = ep.simulate(network, rest, 40.0 - cut, solver=hybrid, state=first.state)
    times = np.concatenate([first.spikes[0].times, second.spikes[0].times + cut], axis=1)
    np.testing.assert_allclose(np.sort(times, axis=1)[:, :12], whole.spikes[0].times, rtol=0, atol=1e-9)
    for x, y in zip(jax.tree.leaves(second.state.neurons), jax.tree.leaves(whole.state.neurons), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-9)


def test_ties_and_batches():
    """Twins that inhibit each other at once both fire; a batch is its members."""
    twins = ep.LIF(20.0, 5.0)
    lateral = ep.Dense(jnp.asarray([[0.0, -9.0], [-9.0, 0.0]]))
    network = ep.Recurrent([(ep.Dense(jnp.asarray([[8.0], [8.0]])), twins, lateral)])
    solver = ep.Hybrid(largest_step=1.0, max_spikes=3, max_steps=256)

    def fire(time):
        return ep.simulate(network, ep.Spikes(time[None], jnp.zeros(1, int)), 30.0, solver=solver).spikes[0].times

    exact = ep.simulate(network, ep.Spikes.from_events([2.0], [0]), 30.0, solver=ep.Exact(max_spikes=3))
    times = jax.vmap(fire)(jnp.asarray([2.0, 5.5, 31.0]))
    np.testing.assert_allclose(times[0], exact.spikes[0].times, atol=1e-4)
    np.testing.assert_allclose(times[1, :, 0] - 3.5, times[0, :, 0], atol=1e-4)
    assert np.all(times[2] == np.inf)


def test_trains_that_are_given_in_any_order():
    """Those at t1 or later have no part, and negative ones and NaN are an error, also where only a run can tell."""
    network = ep.FeedForward(
        [(ep.Dense(jnp.ones((1, 1))), ep.LIF(20.0, 5.0)), (ep.Dense(jnp.ones((1, 1))), ep.LI(20.0, 5.0))]
    )

    @eqx.filter_jit
    def run(times):
        solver = ep.Replay((ep.SpikeTrains(times[None]), None), 1.0, max_steps=64)
        found = ep.simulate(network, ep.Spikes.from_events([], []), 10.0, solver=solver, throw=False)
        return found.spikes[0].times[0], found.state.neurons[1].v[0], found.result

    right, v, result = run(jnp.asarray([2.0, 5.0, jnp.inf, jnp.inf]))
    assert result == ep.RESULTS.successful
    np.testing.assert_array_equal(right, [2.0, 5.0, np.inf, np.inf])
    same = run(jnp.asarray([np.inf, 10.0, 5.0, 2.0]))
    np.testing.assert_array_equal(same[0], right)
    assert same[1] == v > 0
    for wrong in (-1.0, np.nan):
        assert run(jnp.asarray([2.0, wrong, 5.0, 7.0]))[2] == ep.RESULTS.invalid_trains
        with pytest.raises(ValueError, match=r"the times of spikes\[0\] must not be negative"):
            ep.Replay((ep.SpikeTrains(jnp.asarray([[wrong]])), None), 1.0)


def test_neurons_without_events():
    """A readout alone has no guard to look at."""
    network = ep.FeedForward([(ep.Dense(jnp.ones((1, 1))), ep.LI(20.0, 5.0))])
    spikes = ep.Spikes.from_events([1.0], [0])

    @jax.jit
    @lambda f: jax.value_and_grad(f, has_aux=True)
    def v(time):
        solver = ep.Hybrid(1.0, 1, max_steps=64)
        found = ep.simulate(network, ep.Spikes(time, spikes.index), 9.0, solver=solver, adjoint=ep.EventProp())
        return found.state.neurons[0].v[0], found.result

    (found, _), slope = v(spikes.times)
    right = (np.exp(-8 / 20) - np.exp(-8 / 5)) * 5 / 15
    np.testing.assert_allclose(found, right, rtol=1e-4)
    np.testing.assert_allclose(slope[0], -(np.exp(-8 / 5) / 5 - np.exp(-8 / 20) / 20) * 5 / 15, rtol=1e-4)

    def end(t1):
        nothing = ep.Spikes(jnp.zeros(0), jnp.zeros(0, int))
        solver = ep.Hybrid(1.0, 1, max_steps=64)
        return ep.simulate(network, nothing, t1, solver=solver, adjoint=ep.EventProp()).state.neurons[0].v[0]

    assert jax.grad(end)(9.0) == end(9.0) == 0


def test_implicit_integrators(x64):
    """Their root finder takes the controller's tolerances, as in `diffeqsolve`; others need a field in parts."""
    network = ep.FeedForward([(ep.Dense(jnp.full((1, 1), 3.0)), ep.LIF(20.0, 5.0))])
    spikes = ep.Spikes.from_events([1.0], [0])

    def first(solver, controller, largest_step):
        hybrid = ep.Hybrid(largest_step, 2, 1024, solver=solver, stepsize_controller=controller)
        return ep.simulate(network, spikes, 9.0, solver=hybrid).spikes[0].times[0, 0]

    exact = ep.simulate(network, spikes, 9.0, solver=ep.Exact(2)).spikes[0].times[0, 0]
    fixed, pid = diffrax.ConstantStepSize(), diffrax.PIDController(rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(first(diffrax.Kvaerno5(), pid, 2.0), exact, rtol=0, atol=1e-5)
    own = diffrax.ImplicitEuler(root_finder=diffrax.VeryChord(rtol=1e-9, atol=1e-9))
    np.testing.assert_allclose(first(own, fixed, 0.01), exact, rtol=0, atol=0.02)
    with pytest.raises(ValueError, match="no tolerances for the root finder of ImplicitEuler"):
        first(diffrax.ImplicitEuler(), fixed, 0.01)
    for solver in (diffrax.KenCarp4(), diffrax.SemiImplicitEuler(), diffrax.LeapfrogMidpoint()):
        with pytest.raises(ValueError, match="needs a field in several terms, or the steps before"):
            first(solver, fixed, 0.1)
    with pytest.raises(ValueError, match="StepTo fixes times"):
        first(diffrax.Heun(), diffrax.StepTo(ts=jnp.linspace(0, 9, 10)), 1.0)


def test_shard_map():
    """As without a mesh, once JAX does not ask what varies over it."""

    def gradient(time):
        def v(time):
            network = ep.FeedForward([(ep.Dense(jnp.full((1, 1), 3.0)), ep.LIF(20.0, 5.0))])
            solver = ep.Hybrid(1.0, 2, 64)
            found = ep.simulate(
                network, ep.Spikes(time[None], jnp.zeros(1, int)), 9.0, solver=solver, adjoint=ep.EventProp()
            )
            return found.state.neurons[0].v[0] + found.spikes[0].times[0, 0]

        return jax.vmap(jax.value_and_grad(v))(time)

    mesh, along = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("trials",)), jax.sharding.PartitionSpec("trials")
    times = jnp.asarray([1.0, 2.5])
    with pytest.raises(ValueError, match="Hybrid needs"):
        jax.shard_map(gradient, mesh=mesh, in_specs=along, out_specs=along)(times)
    sharded = jax.shard_map(gradient, mesh=mesh, in_specs=along, out_specs=along, check_vma=False)
    for x, y in zip(jax.jit(sharded)(times), gradient(times), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6)


def test_eventprop_has_first_derivatives_only():
    def v(bias):
        network = ep.FeedForward([(ep.Dense(jnp.full((1, 1), 3.0)), ep.LIF(20.0, 5.0, bias=bias))])
        solver = ep.Hybrid(1.0, 2, 64)
        spikes = ep.Spikes.from_events([1.0], [0])
        return ep.simulate(network, spikes, 9.0, solver=solver, adjoint=ep.EventProp()).state.neurons[0].v[0]

    for second in (jax.hessian(v), jax.grad(jax.grad(v))):
        with pytest.raises(ValueError, match="EventProp has first derivatives only: take adjoint=Implicit"):
            second(0.1)


def test_bad_input():
    p = jax.tree.map(jnp.asarray, layers())
    with pytest.raises(ValueError, match="t1 = inf must be finite"):
        simulate(p | {"t1": np.inf}, ep.Hybrid(largest_step=1.0, max_spikes=3))
    with pytest.raises(ValueError, match="largest_step must be positive"):
        ep.Hybrid(largest_step=0.0, max_spikes=3)
    for solver in (ep.Hybrid, lambda step, _: ep.Replay((None,), step)):
        with pytest.raises(ValueError, match="largest_step must be finite, but is inf"):
            solver(np.inf, 3)
    run = eqx.filter_jit(lambda step: simulate(p, ep.Hybrid(step, max_spikes=3, max_steps=256)).result)
    assert run(jnp.asarray(np.inf)) == run(jnp.asarray(0.0)) == ep.RESULTS.invalid_time
    with pytest.raises(ValueError, match="max_steps sets the size of arrays"):
        ep.Hybrid(largest_step=1.0, max_spikes=3, max_steps=0)
    with pytest.raises(ValueError, match=r"spikes\[1\] must be None"):
        simulate(p, ep.Replay((ep.SpikeTrains(jnp.zeros((6, 1))),) * 2, largest_step=1.0))
    short = simulate(p, ep.Hybrid(largest_step=1.0, max_spikes=3, max_steps=16))
    assert short.result == ep.RESULTS.too_many_steps
    lost = simulate(p, ep.Hybrid(largest_step=1.0, max_spikes=1, max_steps=256))
    assert lost.result == ep.RESULTS.spikes_lost
