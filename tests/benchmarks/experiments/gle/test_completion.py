import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import gle
from benchmarks.experiments.gle.completion.model import Completion, correlations, gle_completion, sources


def test_free_traces_follow_the_others(key):
    config = Completion(visible=8, free=2, hidden=4, duration=1000.0, test_duration=600.0, epochs=60)
    metrics, network, result, record = eqx.filter_jit(gle_completion)(config, key)
    assert result == gle.RESULTS.successful
    assert metrics["lowest_test_correlation"] > 0.8
    assert record.truth.shape == record.completed.shape == (400, 2)
    assert network.weight.shape == (12, 12)


def test_sources_have_variance_one(key):
    x = np.asarray(sources(key, 20000, 1.0))
    np.testing.assert_allclose(x.var(axis=0), [0.5, 0.5, 0.5, 1.0], rtol=0.2)
    np.testing.assert_allclose(np.mean(x[1:, 3] * x[:-1, 3]) / x[:, 3].var(), 0.97, atol=0.01)
    y = jax.random.normal(key, (50, 3))
    np.testing.assert_allclose(correlations(y, 2 * y + 1), jnp.ones(3), rtol=1e-5)
