"""Latency codes are exact and differentiable; Poisson trains have the statistics of Poisson processes."""

import equinox as eqx
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from eventprop.encode import Latency, Poisson

PAPER = Latency(10.0, 40.0, t_bias=20.0)
encode = eqx.filter_jit(lambda encoder, features: encoder(features))


@hypothesis.given(st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4))
def test_latency(precision, features):
    spikes = encode(PAPER, np.asarray(features, precision))
    expected = np.array([10 + 30 * x for x in features] + [20.0])
    order = np.argsort(expected, kind="stable")
    assert spikes.times.dtype == precision
    np.testing.assert_allclose(spikes.times, expected[order], rtol=1e-6)
    assert np.all(np.diff(spikes.times) >= 0)
    np.testing.assert_allclose(expected[np.asarray(spikes.index)], spikes.times, rtol=1e-6)
    assert sorted(np.asarray(spikes.index).tolist()) == [0, 1, 2, 3, 4]


def test_coincident_latencies_are_in_the_order_of_sources(precision):
    spikes = encode(Latency(0.0, 40.0, t_bias=0.0), np.array([0.5, 0.0, 0.5, 0.0], precision))
    np.testing.assert_array_equal(spikes.index, [1, 3, 4, 0, 2])


def test_latency_without_bias():
    spikes = encode(Latency(0.0, 30.0), jnp.array([1.0, 0.5]))
    np.testing.assert_array_equal(spikes.times, [15.0, 30.0])
    np.testing.assert_array_equal(spikes.index, [1, 0])


def test_latency_derivatives(precision):
    features = jnp.array([[0.9, 0.1], [0.2, 0.3]])

    @jax.jit
    def gradients(t_min, features):
        def loss(t_min, features):
            spikes = Latency(t_min, 40.0, t_bias=20.0)(features)
            return jnp.sum((1.0 + spikes.index) * spikes.times)

        return jax.vmap(jax.grad(loss, argnums=(0, 1)), in_axes=(None, 0))(t_min, features)

    t_min, gradient = gradients(jnp.array(10.0), features)
    np.testing.assert_allclose(gradient, [[30.0, 60.0], [30.0, 60.0]], rtol=1e-6)
    np.testing.assert_allclose(t_min, [0.1 + 2 * 0.9, 0.8 + 2 * 0.7], rtol=1e-6)


@pytest.mark.parametrize("bad", [-0.01, 1.01, np.nan])
def test_latency_refuses_features(bad):
    with pytest.raises(RuntimeError, match=r"features must lie in \[0, 1\]"):
        jax.block_until_ready(encode(PAPER, jnp.array([0.5, bad, 0.5, 0.5])))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((-1.0, 40.0), "t_min must not be negative"),
        ((10.0, 10.0), "t_max - t_min must be positive"),
        ((10.0, 40.0, -5.0), "t_bias must not be negative"),
        ((10.0, np.inf), "t_max must be finite"),
    ],
)
def test_latency_refuses_times(arguments, message):
    with pytest.raises(ValueError, match=message):
        Latency(*arguments)


@pytest.mark.parametrize("times", [(-1.0, 40.0, 0.0), (10.0, 5.0, 0.0), (0.0, np.inf, 0.0), (0.0, 40.0, -1.0)])
def test_latency_refuses_traced_times(times):
    with pytest.raises(RuntimeError, match="0 <= t_min < t_max < inf and t_bias >= 0"):
        jax.block_until_ready(eqx.filter_jit(lambda times: Latency(*times)(jnp.array([0.5])))(jnp.array(times)))


@jax.jit
def draw(rate, keys):
    return jax.vmap(lambda key: Poisson(rate, sources=3, t_max=50.0, capacity=96)(key=key))(keys)


def test_poisson_statistics(precision, key):
    trials = draw(jnp.array(0.2), jax.random.split(key, 2000))
    times, index = np.asarray(trials.times), np.asarray(trials.index)
    assert times.dtype == precision
    assert np.all(times[:, 1:] >= times[:, :-1])
    assert np.all(index[np.isinf(times)] == 0)
    counts = np.stack([np.sum(np.isfinite(times) & (index == source), axis=1) for source in range(3)], axis=1)
    # Poisson counts: mean and variance rate t_max = 10, within four standard errors; sources are independent.
    np.testing.assert_allclose(counts.mean(0), 10.0, atol=4 * np.sqrt(10 / 2000))
    np.testing.assert_allclose(counts.var(0), 10.0, atol=4 * 10 * np.sqrt(2 / 2000))
    np.testing.assert_allclose(np.corrcoef(counts.T), np.eye(3), atol=4 / np.sqrt(2000))
    # Given their number, the events of a source are uniform in time, and its gaps exponential.
    first = np.array(
        [times[trial][np.isfinite(times[trial]) & (index[trial] == 0)] for trial in range(50)], dtype=object
    )
    assert scipy.stats.kstest(np.concatenate(first).astype(float) / 50, "uniform").pvalue > 0.01


def test_poisson_of_no_rate(key):
    assert not np.isfinite(draw(jnp.array(0.0), jax.random.split(key, 4)).times).any()


def test_poisson_has_no_gradient_where_nothing_fires(x64, key):
    """A time is E / (sources rate), with E a sum of exponential gaps: its derivative by the rate is -time / rate."""

    def total(rate):
        times = Poisson(rate, sources=3, t_max=50.0, capacity=96)(key=key).times
        return jnp.sum(jnp.where(times < jnp.inf, times, 0))

    value_and_slope = jax.jit(jax.value_and_grad(total))
    assert value_and_slope(0.0) == (0, 0)
    value, slope = value_and_slope(0.2)
    np.testing.assert_allclose(slope, -value / 0.2, rtol=1e-12)


@pytest.mark.parametrize("rate, t_max", [(np.nan, 50.0), (-0.1, 50.0), (0.2, np.nan), (0.2, -1.0)])
def test_poisson_refuses_traced_numbers(key, rate, t_max):
    """NaN used to be no spikes at all."""
    with pytest.raises(RuntimeError, match="rate must be finite and not negative, t_max positive"):
        encoder = eqx.filter_jit(lambda rate, t_max: Poisson(rate, 3, t_max, 96)(key=key))
        jax.block_until_ready(encoder(jnp.asarray(rate), jnp.asarray(t_max)))


def test_poisson_overflow_is_an_error(key):
    with pytest.raises(RuntimeError, match="more events than `capacity`, 8"):
        jax.block_until_ready(eqx.filter_jit(Poisson(0.2, sources=3, t_max=50.0, capacity=8))(key=key))


@pytest.mark.parametrize("name, value", [("rate", -0.1), ("t_max", 0.0), ("sources", 0), ("capacity", 0)])
def test_poisson_refuses(name, value):
    arguments = {"rate": 0.2, "sources": 3, "t_max": 50.0, "capacity": 8} | {name: value}
    with pytest.raises(ValueError, match=f"{name} must"):
        Poisson(**arguments)
