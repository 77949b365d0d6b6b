import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import eventprop as ep
import gle
import sal
from benchmarks.training import scan_state
from tests.sal.test_stdp import rasters

WINDOW = sal.Exponential(10.0)


def sweep_stdp(neurons):
    return sal.STDP(WINDOW, WINDOW, 10.0, sal.AllPairs(), sal.one_by_one(neurons))


def learn_pair(weights, plastic, key, *, rate=1e-2, chunks=300):
    """The weights of a pair of neurons after SAL during simulation; 100 pairs side by side, averaged."""
    rule = sal.align(rate, sweep_stdp(2), replicas=(100,))
    network = sal.Network(sal.Recurrent(weights), jnp.zeros(2), 10.0)
    states = jax.tree.map(lambda x: jnp.broadcast_to(x, (100, *x.shape)), network.init())

    def chunk(carry, key):
        weights, states, memory = carry
        network = sal.Network(sal.Recurrent(weights), jnp.zeros(2), 10.0)

        def run(key, state):
            solution = sal.simulate(network, 100.0, dt=1.0, key=key, state=state, throw=False)
            return solution.spikes, solution.state

        raster, states = jax.vmap(run, out_axes=(1, 0))(jax.random.split(key, 100), states)
        update, memory = rule.update(jnp.zeros_like(weights), memory, pre=raster, post=raster)
        return (weights + plastic * update, states, memory), None

    start = weights, states, rule.init(weights)
    (weights, _, _), _ = jax.jit(lambda start: jax.lax.scan(chunk, start, jax.random.split(key, chunks)))(start)
    return weights


def test_two_plastic_weights_go_to_their_mean(key):
    weights = jnp.array([[0.0, 1.5], [0.5, 0.0]])
    learned = learn_pair(weights, 1 - jnp.eye(2), key)
    np.testing.assert_allclose([learned[0, 1], learned[1, 0]], [1.0, 1.0], atol=0.05)
    # What one synapse gains the other loses.
    assert learned[0, 1] + learned[1, 0] == pytest.approx(2.0, abs=1e-3)


def test_one_plastic_weight_follows_the_other(key):
    weights = jnp.array([[0.0, 1.5], [-0.5, 0.0]])
    learned = learn_pair(weights, jnp.array([[0.0, 0.0], [1.0, 0.0]]), key, chunks=500)
    assert learned[0, 1] == 1.5
    assert learned[1, 0] == pytest.approx(1.5, abs=0.07)


def signals(seed=0):
    pre, post = (sal.Raster(jnp.array(x, jnp.float32), 1.0) for x in rasters(seed))
    return {"pre": pre, "post": post}


def test_increments_are_the_prefactors_times_the_sums():
    stdp = sal.STDP(WINDOW, sal.Triangular(6.0), 3.0, sal.AllPairs(), sal.Shared())
    causal = jnp.arange(12.0).reshape(4, 3)
    rule = sal.align(0.1, stdp, causal=causal, anticausal=0.5)
    start = jnp.ones((4, 3))
    update, _ = rule.update(start, rule.init(start), **signals())
    sums, _ = stdp.update(stdp.init((3,), (4,)), *signals().values())
    np.testing.assert_allclose(update, 1 + 0.1 * (causal * sums.causal + 0.5 * sums.anticausal), rtol=1e-6)


def test_spike_times_and_rasters_teach_the_same():
    rule = sal.align(0.1, sal.STDP(WINDOW, WINDOW, 3.0))
    pre, post = rasters(0)
    start = jnp.zeros((4, 3))
    events = {name: ep.Spikes.from_raster(raster, 1.0, capacity=120) for name, raster in (("pre", pre), ("post", post))}
    by_times, _ = rule.update(start, rule.init(start), **events)
    by_bins, _ = rule.update(start, rule.init(start), **signals())
    np.testing.assert_allclose(by_times, by_bins, atol=1e-5)


def test_a_stream_teaches_step_by_step_what_it_teaches_at_once():
    rule = sal.align(optax.constant_schedule(0.1), sweep_stdp(7))
    spikes = jnp.array(np.concatenate(rasters(1), axis=1), jnp.float32)
    start = jnp.zeros((7, 7))

    def step(carry, spikes):
        raster = sal.Raster(spikes[None], 1.0)
        return rule.update(*carry, pre=raster, post=raster), None

    (online, state), _ = jax.jit(lambda: jax.lax.scan(step, (start, rule.init(start)), spikes))()
    whole = sal.Raster(spikes, 1.0)
    at_once, _ = rule.update(start, rule.init(start), pre=whole, post=whole)
    np.testing.assert_allclose(online, at_once, atol=1e-5)
    assert state.count == 60


def test_masks_chains_and_schedules():
    """`align` after Adam, on one of two leaves, as the docstring of the rules says."""
    params = {"forward": jnp.ones((4, 3)), "backward": jnp.ones((4, 3))}
    stdp = sal.STDP(WINDOW, WINDOW, 3.0)
    rules = optax.chain(
        optax.masked(optax.adam(0.01), {"forward": True, "backward": False}),
        optax.masked(sal.align(lambda count: 0.1 / (1 + count), stdp), {"forward": False, "backward": True}),
    )
    gradient = {"forward": jnp.full((4, 3), 2.0), "backward": jnp.zeros((4, 3))}
    trains = {name: {"forward": None, "backward": raster} for name, raster in signals().items()}
    state = rules.init(params)
    first, state = jax.jit(rules.update)(gradient, state, params, **trains)
    np.testing.assert_allclose(first["forward"], -0.01, rtol=1e-5)
    alone = sal.align(0.1, stdp)
    expected, memory = alone.update(jnp.zeros((4, 3)), alone.init(params["backward"]), **signals())
    np.testing.assert_allclose(first["backward"], expected, rtol=1e-5)
    second, _ = jax.jit(rules.update)(gradient, state, params, **trains)
    following, _ = alone.update(jnp.zeros((4, 3)), memory, **signals())
    np.testing.assert_allclose(second["backward"], following / 2, rtol=1e-5)


def test_wake_sleep_scales_each_phase_by_its_factors():
    wake, sleep = ({"weights": jnp.full((2, 2), x), "bias": jnp.full(2, x)} for x in (3.0, 1.0))
    factor = {"weights": jnp.array([[1.0, 2.0], [0.5, 1.0]]), "bias": jnp.ones(2)}
    start = jax.tree.map(jnp.zeros_like, wake)
    both = sal.wake_sleep(0.1, wake_factor=factor, sleep_factor=factor)
    update, _ = both.update(start, both.init(start), wake=wake, sleep=sleep)
    np.testing.assert_allclose(update["weights"], 0.2 * factor["weights"], rtol=1e-6)
    half = sal.wake_sleep(0.1, sleep_factor=factor)
    update, _ = half.update(start, half.init(start), wake=wake, sleep=sleep)
    np.testing.assert_allclose(update["weights"], 0.1 * (3 - factor["weights"]), rtol=1e-6)


def test_kolen_pollack_lets_differences_decay(x64, rng):
    pair = {"w": jnp.array(rng.standard_normal((3, 2))), "b": jnp.array(rng.standard_normal((3, 2)))}
    rule = optax.chain(optax.sgd(0.1), sal.weight_decay(0.01))
    before, state = pair["w"] - pair["b"], rule.init(pair)
    for _ in range(20):
        shared = jnp.array(rng.standard_normal((3, 2)))
        updates, state = rule.update({"w": shared, "b": shared}, state, pair)
        pair = optax.apply_updates(pair, updates)
    np.testing.assert_allclose(pair["w"] - pair["b"], 0.99**20 * before, rtol=1e-12)


def test_adam_and_sal_share_a_gle_network(key):
    """Feedback weights of a gle network align through a spiking twin, while Adam learns the forward weights."""
    hidden_key, output_key, feedback_key, input_key, target_key, key = jax.random.split(key, 6)
    hidden, output = gle.Dense.init(3, 8, key=hidden_key), gle.Dense.init(8, 4, key=output_key)
    output = eqx.tree_at(lambda c: c.weight, output, 3 * output.weight)
    feedback = gle.FeedbackAlignment(gle.random_like(output, feedback_key))
    layers = [gle.Layer(hidden, 1.0, 1.0, jnp.tanh), gle.Layer(output, 1.0, 1.0, gle.linear, feedback=feedback)]
    start = gle.Network(layers, gle.MeanSquaredError())

    def backward(network):
        return network.layers[1].feedback.connection.weight

    params = eqx.filter(start, eqx.is_inexact_array)
    aligned = eqx.tree_at(backward, jax.tree.map(lambda _: False, params), True)
    # gle keeps feedback weights in the shape of the forward ones, [above, below]; the layer above is swept last.
    stdp = sal.STDP(WINDOW, WINDOW, 10.0, sal.AllPairs(), sal.Swept(False))
    rules = optax.chain(
        optax.masked(optax.adam(1e-3), jax.tree.map(lambda yes: not yes, aligned)),
        optax.masked(sal.align(1.5e-2, stdp, replicas=(50,), transposed=True), aligned),
    )
    inputs, targets = jax.random.normal(input_key, (50, 3)), jax.random.normal(target_key, (50, 4))

    def twin(network, key):
        weights = sal.Layered([network.layers[1].connection.weight], [backward(network)])
        spiking = sal.Network(weights, jnp.zeros(12), 10.0)

        def run(key):
            return sal.simulate(spiking, 300.0, dt=1.0, key=key, throw=False).spikes

        raster = jax.vmap(run, out_axes=1)(jax.random.split(key, 50))
        return raster[:8], raster[8:]

    def step(carry, key):
        network, memory = carry
        gradient = network.plasticity(network.signals(network.equilibrium(inputs, targets), inputs, targets))
        nothing = jax.tree.map(lambda _: None, params)
        trains = {
            name: eqx.tree_at(backward, nothing, raster, is_leaf=lambda x: x is None)
            for name, raster in zip(("pre", "post"), twin(network, key), strict=True)
        }
        updates, memory = rules.update(gradient, memory, eqx.filter(network, eqx.is_inexact_array), **trains)
        return (eqx.apply_updates(network, updates), memory), None

    def angle(network):
        weights = network.layers[1].connection.weight, backward(network)
        cosine = jnp.sum(weights[0] * weights[1]) / jnp.linalg.norm(weights[0]) / jnp.linalg.norm(weights[1])
        return np.degrees(np.arccos(cosine))

    (end, _), _ = eqx.filter_jit(scan_state)(step, (start, rules.init(params)), jax.random.split(key, 100))
    assert angle(start) > 60
    assert angle(end) < 15
    # Adam has learned meanwhile.
    assert np.max(np.abs(end.layers[0].connection.weight - start.layers[0].connection.weight)) > 0.02
