import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gle
from benchmarks.errors import InvalidInput
from benchmarks.experiments.gle.natural_gradient.figures import draw_gradients
from benchmarks.experiments.gle.natural_gradient.model import (
    NaturalGradient,
    NaturalGradientTraining,
    attenuation,
    cost,
    expected_gradient,
    joint,
    path,
    rates,
)

CONFIG = NaturalGradient()
N = CONFIG.inputs


@pytest.fixture
def pair(rng):
    """Weights of a pupil and of a teacher."""
    return tuple(jnp.asarray(rng.uniform(-1, 1, N) / N) for _ in range(2))


def test_potentials_are_jointly_normal(x64, pair):
    """For w = 0.15 / n, V ~ N(4.5, 0.2596); the covariance with another potential is w S w*."""
    w, mu = jnp.full(N, 0.15 / N), rates(CONFIG)
    v, theirs, probability = joint(w, pair[1], mu)
    mean, other = probability @ v, probability @ theirs
    np.testing.assert_allclose([mean, probability @ (v - mean) ** 2], [4.5, 0.259605], rtol=2e-4)
    variance = 38.46 * np.asarray(mu)
    np.testing.assert_allclose(probability @ ((v - mean) * (theirs - other)), w @ (variance * pair[1]), rtol=2e-4)
    np.testing.assert_allclose(probability @ (theirs - other) ** 2, pair[1] @ (variance * pair[1]), rtol=2e-4)


def test_the_expected_gradient_is_that_of_the_cost(x64, pair):
    """By central differences; and near the teacher the natural gradient is the way there."""
    (w, teacher), mu = pair, rates(CONFIG)
    value, slope = (jax.jit(lambda w, f=f: f(w, teacher, mu)) for f in (cost, expected_gradient))
    gradient, step = slope(w), 1e-5
    assert value(teacher) == pytest.approx(0, abs=1e-12)
    for i in (0, 30, 60, 99):
        difference = value(w.at[i].add(step)) - value(w.at[i].add(-step))
        np.testing.assert_allclose(gradient[i], difference / (2 * step), rtol=1e-6)
    near = teacher + 1e-4 * w
    rule = gle.natural_gradient(lambda v: 100 * jax.nn.sigmoid(0.3 * (v - 10)), mu, mu / 0.026)
    way = jax.jit(rule.update)(slope(near)[None], rule.init(near), near[None])[0][0]
    np.testing.assert_allclose(way, near - teacher, rtol=1e-2, atol=1e-8)


def test_natural_paths_are_straight(x64):
    start, teacher = jnp.full(N, 0.3 / N), jnp.full(N, 0.15 / N)
    lengths = {}
    for rule, steps in (("natural", 400), ("euclidean", 4000)):
        config = dataclasses.replace(CONFIG, natural_rate=0.02, euclidean_rate=5e-6)
        walk = np.asarray(jax.jit(lambda rule=rule, steps=steps, c=config: path(c, rule, start, teacher, steps))())
        np.testing.assert_allclose(walk[-1], teacher, rtol=2e-3)
        lengths[rule] = np.linalg.norm(np.diff(walk, axis=0), axis=1).sum() / np.linalg.norm(start - teacher)
    assert lengths["natural"] < 1.001
    np.testing.assert_allclose(lengths["euclidean"], 1.38, atol=0.01)


def test_distal_synapses_learn_as_fast_by_natural_gradients(x64, key):
    """Dendritic democracy: weights at the soma are the same, wherever synapses sit; their distance falls as exp(-t)."""
    training = NaturalGradientTraining(dataclasses.replace(CONFIG, natural_rate=5e-3, seconds=40))
    state, metrics = eqx.filter_jit(training.epoch)(training.init(key), jnp.asarray(0))
    alpha = attenuation(CONFIG, "dendrite")
    natural, euclidean = (
        (state.weights[f"{rule}_soma"][0], alpha * state.weights[f"{rule}_dendrite"][0])
        for rule in ("natural", "euclidean")
    )
    np.testing.assert_allclose(*natural, rtol=1e-9, atol=1e-12)
    moved = [np.abs(w - state.start)[alpha < 0.4].mean() for w in euclidean]
    assert moved[1] < 0.3 * moved[0]
    np.testing.assert_allclose(metrics["distance_natural_soma"], np.exp(-0.2), atol=0.05)
    assert metrics["cost_natural_soma"] < cost(state.start, state.teacher, rates(CONFIG))
    history = {name: np.full((1, 2), value) for name, value in metrics.items()}
    final = jax.tree.map(lambda x: x[None] if eqx.is_array(x) else x, state)
    assert (
        len(draw_gradients(dataclasses.replace(CONFIG, natural_rate=0.1, euclidean_rate=1e-4), history, final).axes)
        == 4
    )


def test_inputs_have_the_right_moments(x64, key):
    """Filtered Poisson spikes have mean r and variance 38.46 r, but for r dt; the teacher fires with its intensity."""
    training = NaturalGradientTraining(CONFIG)

    def observe(filters, key):
        filters, x, y = training._observe(filters, jnp.full(N, 0.3 / N), key)
        return filters, (x, jnp.mean(y))

    _, (x, y) = jax.jit(lambda f, k: jax.lax.scan(observe, f, k))(
        training.init(key).filters, jax.random.split(key, 300)
    )
    x = np.asarray(x).reshape(-1, 2, N // 2)
    np.testing.assert_allclose(x.mean(axis=(0, 2)), [10, 50], rtol=0.02)
    np.testing.assert_allclose(x.var(axis=0).mean(axis=1), [384.6, 1923], rtol=0.06)
    v = 0.3 / N * x.sum(axis=(1, 2))
    np.testing.assert_allclose(y.mean() / 5e-4, (100 / (1 + np.exp(-0.3 * (v - 10)))).mean(), rtol=0.1)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InvalidInput, match="inputs must be even"):
        NaturalGradient(inputs=3)
    with pytest.raises(InvalidInput, match="farthest must be above 0"):
        NaturalGradient(farthest=0.0)
