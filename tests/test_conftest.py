import warnings

import jax
import jax.numpy as jnp
import pytest


def test_precision_sets_the_default_dtype(precision):
    assert jnp.zeros(3).dtype == precision
    assert jax.jit(lambda x: x + 1.0)(jnp.zeros(3)).dtype == precision


def test_x64_gives_float64(x64):
    assert jnp.zeros(3).dtype == jnp.float64


def test_rank_promotion_raises():
    with pytest.raises(ValueError, match="rank_promotion"):
        jnp.zeros((2, 3)) + jnp.zeros(3)


def test_warnings_are_errors():
    with pytest.raises(UserWarning, match="careful"):
        warnings.warn("careful", stacklevel=1)
