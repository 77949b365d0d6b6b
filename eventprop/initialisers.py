"""Distributions of initial weights."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from eventprop.parameters import Scalar, check_dtype, check_not_negative, check_scalars, numeric


class Normal(eqx.Module):
    """Independent normal weights, e.g. `Dense.init(5, 200, Normal(1.5, 0.78), key=key)`.

    Wunderlich and Pehle (2021), appendix A: `Normal(2, 1)` for the hidden layer, `Normal(0.4, 0.4)` for the output.
    Raises `ValueError` for a negative standard deviation, and for a dtype other than float32 and float64.
    """

    mean: Scalar = eqx.field(converter=numeric("mean"))
    std: Scalar = eqx.field(converter=numeric("std"))

    def __check_init__(self):
        check_scalars(mean=self.mean, std=self.std)
        check_not_negative("std", self.std)

    def __call__(self, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any = float) -> Float[Array, "..."]:
        """Weights of the given shape."""
        check_dtype("dtype", dtype)
        draws = jax.random.normal(key, shape, dtype)
        return jnp.asarray(self.mean, draws.dtype) + jnp.asarray(self.std, draws.dtype) * draws
