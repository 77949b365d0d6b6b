import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import gle
from benchmarks.experiments.gle.completion.model import Completion, bounded, correlations, gle_completion, sources


def test_free_traces_follow_the_others(key):
    config = Completion(visible=8, free=2, hidden=4, duration=1000.0, test_duration=600.0, epochs=60)
    metrics, network, result, record = eqx.filter_jit(gle_completion)(config, key)
    assert result == gle.RESULTS.successful
    assert metrics["lowest_test_correlation"] > 0.8
    assert record.truth.shape == record.completed.shape == (400, 2)
    assert network.weight.shape == (12, 12)


def test_the_norm_of_recurrent_weights_is_bounded(key):
    """Steps that would take the largest singular value to 2 and more leave it at 1.5."""
    network = gle.LeastAction(
        jax.random.normal(key, (6, 6)) / 6, jnp.zeros((6, 1)), jax.nn.sigmoid, tau=1.0, beta=[1.0]
    )
    rule, params = bounded(1.5), eqx.filter(network, eqx.is_inexact_array)
    up = 1e-2 * jax.random.normal(jax.random.fold_in(key, 1), (6, 6))
    constant = eqx.tree_at(lambda x: x.weight, jax.tree.map(jnp.zeros_like, params), up)

    def step(carry, _):
        params, state = carry
        updates, state = rule.update(constant, state, params)
        params = eqx.apply_updates(params, updates)
        return (params, state), jnp.linalg.norm(params.weight, 2)

    _, norms = jax.jit(lambda carry: jax.lax.scan(step, carry, length=100))((params, rule.init(params)))
    assert norms[0] < 1
    np.testing.assert_allclose(norms[-10:], 1.5, rtol=1e-4)
    assert np.linalg.norm(network.weight + 100 * up, 2) > 2


def test_sources_have_variance_one(key):
    x = np.asarray(sources(key, 20000, 1.0))
    np.testing.assert_allclose(x.var(axis=0), [0.5, 0.5, 0.5, 1.0], rtol=0.2)
    np.testing.assert_allclose(np.mean(x[1:, 3] * x[:-1, 3]) / x[:, 3].var(), 0.97, atol=0.01)
    y = jax.random.normal(key, (50, 3))
    np.testing.assert_allclose(correlations(y, 2 * y + 1), jnp.ones(3), rtol=1e-5)
