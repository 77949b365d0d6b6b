"""Experiments that workers import: one that is well, one whose process aborts at a setting."""

import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import RESULTS


@dataclasses.dataclass(frozen=True)
class Config:
    """A parabola."""

    x: float = 0.0


def parabola(config: Config, key):
    value = config.x**2 + jax.random.uniform(key)
    return {"train_loss": value}, jnp.full((3,), value), RESULTS.successful


def aborts_at_two(config: Config, key):
    def check(x):
        if x == 2.0:
            os.abort()
        return np.array(x)

    x = jax.pure_callback(check, jax.ShapeDtypeStruct((), jnp.result_type(float)), config.x, vmap_method="sequential")
    return parabola(dataclasses.replace(config, x=x), key)
