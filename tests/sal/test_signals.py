"""In which forms `align` takes spikes, and that all of them teach the same."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import eventprop as ep
import sal
from tests.sal.test_stdp import rasters

WINDOW = sal.Exponential(10.0)
STDP = sal.STDP(WINDOW, sal.Exponential(4.0), 3.0)


def learned(rule, pre, post, weight=None):
    weight = jnp.zeros((4, 3)) if weight is None else weight
    return rule.update(weight, rule.init(weight), pre=pre, post=post)[0]


def replicas(count=3):
    """Spikes [time, replicas, neurons] of 3 and 4 neurons, and the same as events and as trains."""
    trials = [rasters(seed) for seed in range(count)]
    pre, post = (np.stack([trial[i] for trial in trials], axis=1) for i in (0, 1))

    def events(spikes):
        trials = [ep.Spikes.from_raster(spikes[:, r], 1.0, capacity=128) for r in range(count)]
        return ep.Spikes.stack(trials)

    def trains(spikes):
        steps, _, neurons = spikes.shape
        times = np.full((count, neurons, steps), np.inf)
        for r in range(count):
            for n in range(neurons):
                found = np.flatnonzero(spikes[:, r, n]) + 0.5
                times[r, n, : len(found)] = found
        return Trains(jnp.asarray(times, jnp.float32))

    return (pre, post), tuple(map(events, (pre, post))), tuple(map(trains, (pre, post)))


class Trains(eqx.Module):
    """Known by its attribute alone."""

    times: jax.Array


def test_replicas_of_spike_times_are_averaged():
    bins, events, trains = replicas()
    by_bins = learned(sal.align(0.1, STDP, replicas=(3,)), *(sal.Raster(jnp.asarray(x), 1.0) for x in bins))
    rule = sal.align(0.1, STDP)
    np.testing.assert_allclose(learned(rule, *events), by_bins, atol=1e-5)
    np.testing.assert_allclose(learned(rule, *trains), by_bins, atol=1e-5)
    mean = np.mean([learned(rule, *jax.tree.map(lambda x, r=r: x[r], events)) for r in range(3)], axis=0)
    np.testing.assert_allclose(learned(rule, *events), mean, atol=1e-6)


def test_arrays_are_single_steps():
    """A stream in arrays [replicas, neurons], step by step, is the raster at once."""
    (pre, post), _, _ = replicas()
    rule = sal.align(0.1, STDP, replicas=(3,), dt=1.0)
    weight = jnp.zeros((4, 3))

    def step(carry, spikes):
        return rule.update(*carry, pre=spikes[0], post=spikes[1]), None

    (online, _), _ = jax.lax.scan(step, (weight, rule.init(weight)), (jnp.asarray(pre), jnp.asarray(post)))
    whole = learned(rule, sal.Raster(jnp.asarray(pre), 1.0), sal.Raster(jnp.asarray(post), 1.0))
    np.testing.assert_allclose(online, whole, atol=1e-5)
    with pytest.raises(ValueError, match=r"is an array, one time step.*dt="):
        learned(sal.align(0.1, STDP, replicas=(3,)), pre[0], post[0])


def test_a_transposed_weight_sees_what_a_synapse_the_other_way_sees():
    pre, post = (sal.Raster(jnp.asarray(x), 1.0) for x in rasters(5))
    stdp = sal.STDP(WINDOW, sal.Exponential(4.0), 3.0, coincidence=sal.Swept(False))
    there = learned(sal.align(0.1, stdp), post, pre, jnp.zeros((3, 4)))
    back = learned(sal.align(0.1, stdp, transposed=True), pre, post)
    np.testing.assert_allclose(back, there.T, rtol=1e-6)
    with pytest.raises(ValueError, match="pre must have 3 neurons"):
        learned(sal.align(0.1, stdp, transposed=True), post, pre)


def test_a_bare_signal_goes_to_all_weights_and_trees_may_have_more_than_the_mask_leaves():
    pre, post = (sal.Raster(jnp.asarray(x), 1.0) for x in rasters(6))
    rule, weight = sal.align(0.1, STDP), jnp.zeros((4, 3))
    alone = learned(rule, pre, post)
    params = {"bias": jnp.zeros(4), "weight": weight, "twin": weight, "frozen": None}
    masked = optax.masked(rule, {"bias": False, "weight": True, "twin": True, "frozen": None})
    updates, _ = masked.update(params, masked.init(params), params, pre=pre, post=post)
    for name in ("weight", "twin"):
        np.testing.assert_array_equal(updates[name], alone)
    np.testing.assert_array_equal(updates["bias"], 0)
    full = {"bias": None, "weight": pre, "twin": pre, "frozen": pre}, {"bias": None, "weight": post, "twin": post}
    found, _ = masked.update(params, masked.init(params), params, pre=full[0], post={**full[1], "frozen": post})
    np.testing.assert_array_equal(found["twin"], alone)
    one = optax.masked(rule, {"bias": False, "weight": True, "twin": False, "frozen": None})
    found, _ = one.update(params, one.init(params), params, pre=full[0], post={**full[1], "frozen": post})
    np.testing.assert_array_equal(found["weight"], alone)
    with pytest.raises(ValueError, match=r"\['twin'\] has only one of pre and post"):
        masked.update(params, masked.init(params), params, pre={**full[0], "twin": None}, post=post)


def test_a_simulation_offers_its_signals(key):
    """Backward weights of a layered network, learned from its own solution, by the network's own structure."""
    shapes = [(3, 2), (4, 3)]
    forward = [jnp.ones(shape) for shape in shapes]
    network = sal.Network(sal.Layered(forward, [jnp.zeros_like(w) for w in forward]), jnp.zeros(9), 4.0)
    solution = sal.simulate(network, 60.0, dt=1.0, key=key)
    signals = solution.signals(network)
    spikes = solution.spikes.spikes
    places = zip(signals["pre"].connectivity.backward, signals["post"].connectivity.backward, strict=True)
    for layer, place in enumerate(places):
        np.testing.assert_array_equal(place[0].spikes, spikes[:, [slice(0, 2), slice(2, 5)][layer]])
        np.testing.assert_array_equal(place[1].spikes, spikes[:, [slice(2, 5), slice(5, 9)][layer]])
    params = eqx.filter(network, eqx.is_inexact_array)
    mask = eqx.tree_at(lambda n: n.connectivity.backward, jax.tree.map(lambda _: False, params), (True, True))
    stdp = sal.STDP(WINDOW, WINDOW, 4.0, coincidence=sal.Swept(False))

    def learn(rate):
        rule = optax.masked(sal.align(rate, stdp, transposed=True), mask)
        zeros = jax.tree.map(jnp.zeros_like, params)
        updates, _ = rule.update(zeros, rule.init(params), params, **signals)
        return updates.connectivity.backward

    rates = jnp.array([0.1, 0.2])
    together = jax.vmap(learn)(rates)
    for index, rate in enumerate((0.1, 0.2)):
        jax.tree.map(lambda a, b, i=index: np.testing.assert_allclose(a[i], b, rtol=1e-6), together, learn(rate))
    assert [w.shape for w in learn(0.1)] == shapes
    pre, post = (sal.Raster(spikes[:, part], 1.0) for part in (slice(2, 5), slice(0, 2)))
    direct = learned(sal.align(0.1, stdp), pre, post, jnp.zeros((2, 3)))
    np.testing.assert_allclose(learn(0.1)[0], direct.T, rtol=1e-6)
    square = sal.Network(sal.Recurrent(jnp.zeros((9, 9))), jnp.zeros(9), 4.0)
    np.testing.assert_array_equal(square.signals(solution.spikes)["pre"].connectivity.weight.spikes, spikes)
