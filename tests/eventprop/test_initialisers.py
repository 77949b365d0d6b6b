"""Initial weights have the distribution they are named after."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from eventprop.initialisers import Normal


def test_normal(precision, key):
    weights = Normal(1.5, 0.78)(key, (50, 40))
    assert weights.shape == (50, 40) and weights.dtype == precision
    # A frozen distribution: SciPy 1.18 takes no `args` beside the name of one.
    assert scipy.stats.kstest(np.asarray(weights).ravel(), scipy.stats.norm(1.5, 0.78).cdf).pvalue > 0.01


def test_normal_of_traced_moments_and_chosen_dtype(key, x64):
    draw = jax.jit(jax.vmap(lambda std: Normal(2.0, std)(key, (3, 2), jnp.float32)))
    weights = draw(jnp.array([0.0, 1.0]))
    assert weights.dtype == jnp.float32
    np.testing.assert_array_equal(weights[0], 2.0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32"])
def test_normal_in_too_low_a_precision(key, dtype):
    with pytest.raises(ValueError, match=rf"dtype is {dtype}: give float32 or float64"):
        Normal(2.0, 1.0)(key, (3, 2), jnp.dtype(dtype))


def test_normal_refuses_a_negative_deviation():
    with pytest.raises(ValueError, match=r"std must not be negative, got -1\.0"):
        Normal(0.0, -1.0)
