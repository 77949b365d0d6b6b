"""What once passed in silence, or failed without saying why."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import eventprop as ep
import sal

WINDOW = sal.Exponential(10.0)
STDP = sal.STDP(WINDOW, WINDOW, 3.0)


def network(neurons=3, **options):
    return sal.Network(sal.Recurrent(jnp.zeros((neurons, neurons))), jnp.zeros(neurons), 2.0, **options)


def raster(*shape, dt=1.0):
    return sal.Raster(jnp.zeros(shape), dt)


@pytest.mark.parametrize("bad", [jnp.nan, -0.1])
def test_no_distribution_with_a_nan_scores_well(bad):
    good = jnp.array([0.25, 0.75])
    for p, q in ((good.at[0].set(bad), good), (good, good.at[0].set(bad)), (good.at[:].set(bad), good)):
        assert np.isnan(sal.kl_divergence(p, q))


def test_a_clamp_fits_its_network(key):
    def run(clamp):
        return sal.simulate(network(), 2.0, dt=1.0, key=key, clamp=clamp)

    with pytest.raises(ValueError, match=r"clamp must have one entry per neuron, the shape \(3,\), got \(2,\)"):
        run(sal.Clamp(jnp.array([True, False]), jnp.array([True, False])))
    with pytest.raises(ValueError, match="neurons must be bools, one per neuron, got int32"):
        sal.Clamp(jnp.array([0, 2]), jnp.array([True, False]))
    with pytest.raises(ValueError, match=r"same shape, got \(3,\) and \(2,\)"):
        sal.Clamp(jnp.ones(3, bool), jnp.ones(2, bool))
    with pytest.raises(ValueError, match="state must be one of 3 neurons"):
        sal.simulate(network(), 2.0, dt=1.0, key=key, state=network(2).init())


def test_states_count_in_one_time_step(key):
    """Two steps of the old dt after its last spike a neuron would be ready in two shorter ones."""
    net = network(1)
    for start in (net.init(), net.init(1.0), None):
        state = sal.simulate(net, 2.0, dt=1.0, key=key, state=start).state
        with pytest.raises(ValueError, match=r"steps of dt = 1(\.0)?, got dt = 0\.5"):
            sal.simulate(net, 2.0, dt=0.5, key=key, state=state)
    seen = sal.simulate(net, 2.0, dt=1.0, key=key, state=net.init()).state
    with pytest.raises(Exception, match=r"other steps than dt = 0\.5"):
        jax.jit(lambda state: sal.simulate(net, 2.0, dt=0.5, key=key, state=state).spikes)(seen)


def test_traces_count_in_one_time_step():
    for rule in (sal.align(1.0, STDP), sal.align(1.0, STDP, dt=1.0)):
        weight = jnp.zeros((2, 2))
        _, state = rule.update(weight, rule.init(weight), pre=raster(3, 2), post=raster(3, 2))
        with pytest.raises(ValueError, match=r"steps of dt = 1(\.0)?, got dt = 0\.5"):
            rule.update(weight, state, pre=raster(3, 2, dt=0.5), post=raster(3, 2, dt=0.5))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32])
def test_rasters_of_integers_are_those_of_floats(dtype):
    """300 coincidences, half causal and half anti-causal: 150 times the window at 0."""
    ones = np.ones((300, 1), dtype)
    shared = sal.STDP(WINDOW, WINDOW, 1.0, sal.NearestPairs(), sal.Shared())
    spikes = sal.Raster(ones, 1.0)
    sums, _ = shared.update(shared.init((1,), (1,)), spikes, spikes)
    # Nearest pairs one step apart come on top, between all of which there are spikes of the same step.
    alone = sal.STDP(sal.Rectangular(0.5), sal.Rectangular(0.5), 1.0, sal.LastPairs(), sal.Shared())
    np.testing.assert_allclose(alone.update(alone.init((1,), (1,)), spikes, spikes)[0].causal, 150.0)
    floats = sal.Raster(ones.astype(np.float32), 1.0)
    np.testing.assert_array_equal(sums.causal, shared.update(shared.init((1,), (1,)), floats, floats)[0].causal)
    assert spikes.spikes.dtype == jnp.float32


def test_intervals_below_tau_ref_are_counted_or_refused():
    """A spike in each of 12 steps under a triangle of 10 steps: sum over all pairs, sum_k (12 - k) (1 - k / 10)."""
    exact = sum((12 - k) * (1 - k / 10) for k in range(1, 10))
    assert exact == pytest.approx(37.5)
    window, every = sal.Triangular(10.0), sal.Raster(jnp.ones((12, 1)), 1.0)
    times = ep.SpikeTrains(jnp.arange(12.0)[None])
    enough = sal.STDP(window, window, 1.0)
    sums, _ = enough.update(enough.init((1,), (1,)), every, every)
    np.testing.assert_allclose([sums.causal, sums.anticausal], exact, rtol=1e-6)
    np.testing.assert_allclose(enough.pairs(times, times, (1, 1)).causal, exact, rtol=1e-6)
    few = sal.STDP(window, window, 10.0)
    with pytest.raises(Exception, match=r"faster than tau_ref = 10\.0"):
        few.update(few.init((1,), (1,)), every, every)
    # At intervals of tau_ref nothing is forgotten.
    rare = sal.Raster(jnp.zeros((31, 1)).at[::10].set(1.0), 1.0)
    few.update(few.init((1,), (1,)), rare, rare)


def test_neurons_have_no_synapse_onto_themselves(key, rng):
    stdp = sal.STDP(WINDOW, WINDOW, 1.0, coincidence=sal.one_by_one(3))
    spikes = sal.Raster(jnp.asarray(rng.random((20, 3)) < 0.3), 1.0)
    sums, _ = stdp.update(stdp.init((3,), (3,)), spikes, spikes)
    times = ep.Spikes.from_raster(np.asarray(spikes.spikes), 1.0)
    for found in (sums, stdp.pairs(times, times, (3, 3))):
        assert np.all(np.diagonal(found.causal) == 0) and np.all(np.diagonal(found.anticausal) == 0)
        assert np.all(found.causal + np.eye(3) > 0)
    trace = sal.Exponential(5.0)
    with_loops, without = (
        sal.Network(sal.Recurrent(w * jnp.eye(3)), jnp.zeros(3), 2.0, trace=trace) for w in (9.0, 0.0)
    )
    spikes = [sal.simulate(net, 100.0, dt=1.0, key=key).spikes.spikes for net in (with_loops, without)]
    np.testing.assert_array_equal(*spikes)


def test_spike_times_fit_the_weight():
    rule, weight = sal.align(1.0, STDP), jnp.zeros((20, 3))
    state = rule.init(weight)
    trains = [ep.SpikeTrains(jnp.ones((n, 2))) for n in (3, 20)]
    rule.update(weight, state, pre=trains[0], post=trains[1])
    with pytest.raises(ValueError, match=r"post must have 20 neurons.*shape \(3, 2\)"):
        rule.update(weight, state, pre=trains[0], post=trains[0])
    events = ep.Spikes.from_events([1.0], [5])
    with pytest.raises(ValueError, match=r"pre must have 3 neurons.*index 5"):
        rule.update(weight, state, pre=events, post=events)
    with pytest.raises(Exception, match="pre must have 3 neurons"):
        jax.jit(rule.update)(weight, state, pre=events, post=events)


def linear(key):
    return eqx.nn.Linear(4, 3, key=key)


def test_layers_that_are_not_there_are_errors(key):
    model, other = [linear(key)], linear(key)
    with pytest.raises(ValueError, match="1 are not in the model"):
        sal.with_feedback(model, sal.Fixed, key=key, where=lambda m: [other])
    with pytest.raises(ValueError, match="1 are named again"):
        sal.with_feedback(model, sal.Fixed, key=key, where=lambda m: [m[0], m[0]])
    chain, elsewhere = (sal.with_feedback([layer], sal.Fixed, key=key) for layer in (model[0], other))
    twin = sal.SALNet(updates=1, replicas=1, duration=100.0)
    with pytest.raises(ValueError, match="1 are not in the model"):
        sal.symmetrize(chain, twin, key=key, where=lambda m: elsewhere)
    with pytest.raises(ValueError, match="at least one layer, got none"):
        sal.symmetrize(chain, twin, key=key, where=lambda m: [])


@pytest.mark.parametrize("twin", [sal.SALNet(updates=1, replicas=2, duration=100.0), sal.RDDNet(1000.0, 2)])
def test_twins_learn_nothing_from_nan(key, twin):
    (layer,) = sal.with_feedback([linear(key)], sal.Fixed, key=key)
    broken = [eqx.tree_at(lambda c: c.layer.weight, layer, layer.weight.at[0, 0].set(jnp.nan))]
    with pytest.raises(ValueError, match="forward weights of layer 0 must be finite"):
        sal.symmetrize(broken, twin, key=key)
    (traced,) = eqx.filter_jit(sal.symmetrize)(broken, twin, key=key)
    assert np.all(np.isnan(traced.backward))


def test_parameters_that_are_no_weights_are_named():
    params = {"bias": jnp.zeros(3), "kernel": jnp.zeros((2, 2, 3)), "weight": np.zeros((3, 3), np.float32)}
    rule = sal.align(1.0, STDP)
    for name, shape in (("bias", r"\(3,\)"), ("kernel", r"\(2, 2, 3\)")):
        with pytest.raises(ValueError, match=rf"\['{name}'\] must be a weight.*{shape}.*optax\.masked"):
            some = {name: params[name]}
            rule.update(some, rule.init(some), pre=raster(4, 3), post=raster(4, 3))
    with pytest.raises(ValueError, match=r"None at every parameter"):
        rule.update(params, rule.init(params), pre=dict.fromkeys(params), post=dict.fromkeys(params))
    one_sided = {"bias": None, "kernel": None, "weight": raster(4, 3)}
    with pytest.raises(ValueError, match=r"\['weight'\] has only one of pre and post"):
        rule.update(params, rule.init(params), pre=one_sided, post=dict.fromkeys(params))
    with pytest.raises(ValueError, match=r"causal must be a number or have the shape \(3, 3\).*got \(1, 1\)"):
        wide = sal.align(1.0, STDP, causal=jnp.ones((1, 1)))
        wide.update(params, wide.init(params), pre=one_sided, post=one_sided)
    masked = optax.masked(rule, {"bias": False, "kernel": False, "weight": True})
    state = masked.init(params)
    updates, _ = masked.update(params, state, pre=raster(4, 3), post=raster(4, 3))
    np.testing.assert_array_equal(updates["weight"], 0)


def test_a_window_is_no_stdp(untyped):
    with pytest.raises(ValueError, match="stdp must be an STDP, of two windows"):
        sal.align(1.0, WINDOW)  # pyright: ignore[reportArgumentType]


def test_unclear_errors_are_clear(key):
    two = sal.STDP(WINDOW, WINDOW, 1.0, coincidence=sal.one_by_one(3))
    with pytest.raises(ValueError, match=r"shape \[post, pre\] of the synapses, \(2, 2\), got \(3, 3\)"):
        two.update(two.init((2,), (2,)), raster(4, 2), raster(4, 2))
    nearest = sal.STDP(WINDOW, WINDOW, 1.0, sal.NearestPairs())
    with pytest.raises(ValueError, match=r"at least one replica, got rasters of shape \(4, 0, 2\)"):
        nearest.update(nearest.init((0, 2), (0, 2)), raster(4, 0, 2), raster(4, 0, 2))
    with pytest.raises(ValueError, match=r"the traces need the shapes.*but the state has"):
        nearest.update(nearest.init((2,), (2,)), raster(4, 5, 2), raster(4, 5, 2))
    with pytest.raises(ValueError, match=r"duration must be a positive multiple of dt = 1\.0, got -5\.0"):
        sal.SALNet(duration=-5)
    with pytest.raises(ValueError, match="Boltzmann: weight must be finite"):
        sal.Boltzmann(jnp.full((2, 2), jnp.nan), jnp.zeros(2))
    with pytest.raises(ValueError, match="Recurrent: weight must be float32 or float64, got bfloat16"):
        sal.Recurrent(jnp.zeros((2, 2), jnp.bfloat16))
    with pytest.raises(ValueError, match="pre must be a pytree in the structure of the parameters"):
        rule = sal.align(1.0, STDP)
        rule.update({"a": jnp.zeros((2, 2))}, rule.init({"a": jnp.zeros((2, 2))}), pre={"b": 1}, post=raster(4, 2))
    with pytest.raises(TypeError, match="tau_ref decides the shape"):
        jax.jit(lambda tau: sal.Network(sal.Recurrent(jnp.zeros((2, 2))), jnp.zeros(2), tau))(2.0)
    # Lists and integers are numbers, too.
    assert sal.Recurrent([[0, 1], [2, 0]]).weight.dtype == jnp.float32
    sal.simulate(sal.Network(sal.Recurrent(np.eye(2)), [0, 1], 2), 4, dt=1, key=key)


def test_windows_are_no_longer_than_is_remembered():
    with pytest.raises(Exception, match=r"longest must be at least tau, got longest 5\.0"):
        jax.block_until_ready(jax.jit(lambda tau: sal.Triangular(tau, longest=5.0)(jnp.array(7.0)))(10.0))
    with pytest.raises(ValueError, match="tau must be finite, got inf"):
        sal.Rectangular(np.inf)


def test_shapes_are_not_broadcast_in_silence():
    rule = sal.wake_sleep(0.1)
    with pytest.raises(ValueError, match=r"wake_sleep: wake must hold moments.*\(2, 2\).*got \(1, 1\)"):
        rule.update(jnp.zeros((2, 2)), rule.init(jnp.zeros((2, 2))), wake=jnp.ones((1, 1)), sleep=jnp.ones((2, 2)))
    noisy, one = sal.wake_sleep(0.1, sleep_factor=jnp.ones(2)), jnp.ones((2, 2))
    with pytest.raises(ValueError, match=r"sleep_factor must be a number or have the shape of the parameter, \(2, 2\)"):
        noisy.update(one, noisy.init(one), wake=one, sleep=one)
    with pytest.raises(ValueError, match=r"vectors of one length.*got the shapes \(3,\) and \(1,\)"):
        sal.relative_deviation(jnp.arange(3.0), jnp.zeros(1))
    with pytest.raises(ValueError, match="of two numbers at least"):
        sal.relative_deviation(jnp.ones(1), jnp.ones(1))


@pytest.mark.parametrize("backward", [2.0, -1.0, 0.0])
def test_the_angle_of_parallel_weights_has_a_derivative(backward):
    """It has an extremum there: the derivative is 0 by symmetry, and no NaN."""
    weight = jnp.array([[1.0, 2.0], [0.5, -1.0]])
    np.testing.assert_allclose(jax.grad(sal.angle)(weight, backward * weight), 0, atol=1e-4)


def test_a_network_that_is_no_number_has_not_moved(key):
    network = sal.Network(sal.Recurrent(jnp.full((2, 2), jnp.nan)), jnp.zeros(2), 1.0)
    solution = sal.simulate(network, 5.0, dt=1.0, key=key, throw=False)
    assert solution.result == sal.RESULTS.non_finite
    for now, before in zip(jax.tree.leaves(solution.state), jax.tree.leaves(network.init(1.0)), strict=True):
        np.testing.assert_array_equal(now, before)


def test_a_state_belongs_to_its_trace(key):
    """Three spikes fit into a PSP of thrice tau_ref; one that remembers a single spike would lose the others."""
    weight = jnp.array([[0.0, 3.0], [0.0, 0.0]])

    def run(trace, t1, state=None):
        net = sal.Network(sal.Recurrent(weight), jnp.array([-1.0, 50.0]), 2.0, trace=trace)
        return sal.simulate(net, t1, dt=1.0, key=key, state=state, observe=lambda moment: moment.potential[0])

    short = run(None, 4.0).state
    for other in (sal.Rectangular(6.0), sal.LastSpike(sal.Rectangular(2.0)), sal.Exponential(2.0)):
        with pytest.raises(ValueError, match="state must be one of a Network like this one"):
            run(other, 6.0, short)
    long = run(sal.Rectangular(6.0), 4.0).state
    assert run(sal.Rectangular(6.0), 4.0, long).observed[-1] == -1.0 + 3 * 3.0
    traces = STDP.init((2,), (2,))
    with pytest.raises(ValueError, match="the state is one of other windows or pairings"):
        sal.STDP(WINDOW, WINDOW, 3.0, sal.LastPairs()).update(traces, raster(1, 2), raster(1, 2))


@pytest.mark.parametrize("bad", [np.nan, 0.5, 2.0])
def test_a_clamp_holds_a_state(bad):
    with pytest.raises(ValueError, match="z must be 0 or 1, the states in which neurons are held, got"):
        sal.Clamp(jnp.array([True, False]), jnp.array([bad, 0.0]))
    assert list(sal.Clamp(jnp.array([True, True]), jnp.array([1, 0])).z) == [True, False]


def test_the_order_of_a_sweep_is_bools():
    """~1 is -2, which is true as well: coincident spikes would be causal and anti-causal."""
    for number in (1, np.ones((2, 2), int)):
        with pytest.raises(ValueError, match="Swept: pre_first must be bools, got int32"):
            sal.Swept(number)
    spike = sal.Raster(jnp.ones((1, 1)), 1.0)
    for first in (True, np.True_, [[True]]):
        stdp = sal.STDP(WINDOW, WINDOW, 3.0, coincidence=sal.Swept(first))
        sums, _ = stdp.update(stdp.init((1,), (1,)), spike, spike)
        np.testing.assert_allclose((sums.causal[0, 0], sums.anticausal[0, 0]), (np.exp(-0.05), 0.0), rtol=1e-6)


def test_spike_times_are_times():
    with pytest.raises(ValueError, match="pre: times must not be NaN"):
        STDP.pairs(ep.SpikeTrains(jnp.full((1, 1), jnp.nan)), ep.SpikeTrains(jnp.ones((1, 1))), (1, 1))
    with pytest.raises(ValueError, match="index must be the integer numbers of neurons, got float32"):
        STDP.pairs(Events([1.0], [0.5]), Events([2.0], [0]), (1, 1))
    # In any order: 7 pairs with 5, not with 1.
    last = sal.STDP(WINDOW, WINDOW, 3.0, sal.LastPairs())
    sums = last.pairs(Events([5.0, 1.0], [0, 0]), Events([7.0], [0]), (1, 1))
    np.testing.assert_allclose(sums.causal, [[np.exp(-0.2)]], rtol=1e-6)


class Events:
    """Spike times as a user's own object."""

    def __init__(self, times, index):
        self.times, self.index = np.array(times), np.array(index)


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_angles_do_not_depend_on_length(scale):
    weight, backward = jnp.array([[3.0, 0.0]]), jnp.array([[1.0, 1.0]])
    np.testing.assert_allclose(sal.angle(weight * scale, backward), 45.0, rtol=1e-6)


def test_nothing_is_not_nonsense(key):
    with pytest.raises(ValueError, match="neurons, neurons], of some neurons, got"):
        sal.Recurrent(jnp.zeros((0, 0)))
    sums, _ = STDP.update(STDP.init((2,), (0,)), raster(3, 2), raster(3, 0))
    assert sums.causal.shape == (0, 2)
    with pytest.raises(ValueError, match=r"of some time, got \(0, 2\)"):
        sal.state_moments(jnp.zeros((0, 2), bool))
    with pytest.raises(ValueError, match="spikes must last some time"):
        sal.spike_moments(STDP, STDP.init((2,), (2,)), raster(0, 2))
    with pytest.raises(ValueError, match="at most 20 units can be enumerated, got 21"):
        sal.all_states(21)
    np.testing.assert_array_equal(sal.all_states(2), [[0, 0], [0, 1], [1, 0], [1, 1]])
    for t1 in (np.nan, np.inf):
        with pytest.raises(ValueError, match=f"t1 must be finite, got {t1}"):
            sal.simulate(network(), t1, dt=1.0, key=key)


def test_numbers_come_in_any_form(key):
    drive = [0.0, 1.0, -1.0]
    spikes = [sal.simulate(network(), 4.0, dt=1.0, key=key, drive=x).spikes.spikes for x in (drive, jnp.array(drive))]
    np.testing.assert_array_equal(*spikes)
    with pytest.raises(ValueError, match="drive must be float32 or float64, got float16"):
        sal.simulate(network(), 4.0, dt=1.0, key=key, drive=np.zeros(3, np.float16))
    assert sal.SALNet(updates=np.int64(2), replicas=np.int32(3)) == sal.SALNet(updates=2, replicas=3)
    with pytest.raises(TypeError, match=r"SALNet: updates must be a whole number that is not traced, got 1\.5"):
        sal.SALNet(updates=1.5)
    rule, weight = sal.align(1.0, STDP), jnp.zeros((2, 2), jnp.bfloat16)
    with pytest.raises(ValueError, match="the weight given must be float32 or float64, got bfloat16"):
        rule.update(weight, rule.init(weight), pre=raster(1, 2), post=raster(1, 2))
