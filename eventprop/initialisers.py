"""Distributions of initial weights."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


class Normal(eqx.Module):
    """Independent normal weights, e.g. `Dense.init(5, 200, Normal(1.5, 0.78), key=key)`.

    Wunderlich and Pehle (2021), appendix A: `Normal(2, 1)` for the hidden layer, `Normal(0.4, 0.4)` for the output.
    Raises `ValueError` for a negative standard deviation.
    """

    mean: float | Float[Array, ""]
    std: float | Float[Array, ""]

    def __check_init__(self):
        if isinstance(self.std, float | int) and not self.std >= 0:
            raise ValueError(f"std must not be negative, got {self.std}")

    def __call__(self, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any = float) -> Float[Array, "..."]:
        """Weights of the given shape."""
        draws = jax.random.normal(key, shape, dtype)
        return jnp.asarray(self.mean, draws.dtype) + jnp.asarray(self.std, draws.dtype) * draws
