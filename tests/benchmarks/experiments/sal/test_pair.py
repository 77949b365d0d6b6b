import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.experiments.sal.pair.figures import draw_courses, draw_principles
from benchmarks.experiments.sal.pair.model import Pair, courses


@pytest.mark.slow
def test_weights_align_as_the_theory_says(key):
    config = Pair(duration=3000, replicas=8, learning_rate=1e-2)
    found, theory = eqx.filter_jit(courses)(config, key)
    for runs, course in zip(found, theory, strict=True):
        error = jnp.std(runs, axis=0) / np.sqrt(config.replicas)
        assert jnp.max(jnp.abs(jnp.mean(runs, axis=0) - course)) < 5 * jnp.max(error)
    assert jnp.all(found.one[..., 0] == config.w12)
    np.testing.assert_allclose(jnp.sum(found.both, axis=-1), config.w12 + config.w21, atol=1e-4)
    assert len(draw_courses(config, found, theory).axes) == 3


@pytest.mark.slow
def test_the_figure_of_the_principles():
    assert len(draw_principles(Pair()).axes) == 4
