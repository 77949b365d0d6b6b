"""The network of the guide, as printed, beside a plain reference; and what `simulate` does for any."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sal
from tests.test_readme import examples


@pytest.fixture(scope="module")
def names():
    names: dict = {}
    exec(compile(examples("docs/sal.md")[1], "docs/sal.md", "exec"), names)
    return names


def reference(network, steps, key):
    """Spikes and dendrites, neuron by neuron."""
    weight, bias = np.asarray(network.weight, float), np.asarray(network.bias, float)
    fatigue, spikes, dendrites = np.zeros(3), np.zeros((steps, 3)), np.zeros((steps, 3))
    for t in range(steps):
        z = spikes[max(0, t - 10) : t].any(axis=0)
        noise = np.asarray(jax.random.uniform(jax.random.fold_in(key, t), (3,)))
        for n in range(3):
            dendrites[t, n] = 2 * np.tanh(weight[n] @ z / 2)
            u = bias[n] + dendrites[t, n] - fatigue[n]
            resting = spikes[max(0, t - 9) : t, n].any()
            spikes[t, n] = not resting and noise[n] < 1 / (1 + np.exp(-(u - np.log(10))))
        fatigue = fatigue * np.exp(-1 / 100) + 0.2 * spikes[t]
    return spikes, dendrites


def test_the_network_of_the_guide(names):
    network, run, updates = names["network"], names["run"], names["updates"]
    spikes, dendrites = reference(network, 1000, jax.random.key(0))
    assert 100 < spikes.sum() < 300
    np.testing.assert_array_equal(run.spikes.spikes[:1000], spikes)
    np.testing.assert_allclose(run.observed[:1000], dendrites, atol=1e-6)
    # W_12 = 2 and W_21 = -1 approach each other.
    assert updates.weight[0, 1] < 0 < updates.weight[1, 0]
    assert np.all(updates.bias == 0)


def test_everything_takes_it(names, key):
    """Clamps, drives, cut runs, replicas, other numbers, moments and samples."""
    network = names["network"]
    clamp = sal.Clamp(jnp.array([True, False, False]), jnp.array([1, 0, 0]))
    drive = jnp.array([0.0, -3.0, 0.0])

    @eqx.filter_jit
    @eqx.filter_vmap(in_axes=(None, 0))
    def whole(network, key):
        return sal.simulate(network, 200.0, dt=1.0, key=key, clamp=clamp, drive=drive, observe=lambda m: m.z)

    keys = jax.random.split(key, 2)
    found = whole(network, keys)
    assert np.all(found.observed[..., 0]) and np.all(found.result == sal.RESULTS.successful)
    first = sal.simulate(network, 80.0, dt=1.0, key=keys[1], clamp=clamp, drive=drive)
    second = sal.simulate(network, 120.0, dt=1.0, key=keys[1], clamp=clamp, drive=drive, state=first.state)
    np.testing.assert_array_equal(jnp.concatenate([first.spikes.spikes, second.spikes.spikes]), found.spikes.spikes[1])
    moments, _, _ = sal.measure_moments(network, 100.0, chunks=20, dt=1.0, key=key)
    p, _, _ = sal.sample(network, 100.0, chunks=20, dt=1.0, key=key)
    np.testing.assert_allclose(moments.bias, sal.distribution_moments(p).bias, atol=0.01)
    broken = eqx.tree_at(lambda n: n.bias, network, jnp.array([0.0, jnp.nan, 0.0]))
    assert sal.simulate(broken, 50.0, dt=1.0, key=key, throw=False).result == sal.RESULTS.non_finite
    with pytest.raises(ValueError, match="state must be one of a Tired like this one"):
        sal.simulate(network, 50.0, dt=1.0, key=key, state=sal.State.silent(3, jnp.zeros((2, 3))))
