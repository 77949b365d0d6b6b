"""Noisy binary searches for codes, for all circuits at once."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

Observe = Callable[[Float[Array, " codes"], PRNGKeyArray], Float[Array, " codes"]]
"""What is measured with these codes, one number for each."""

BITS = 10
START = 5
"""Searches begin up to so many codes off, at random, so that circuits do not all move together."""


def search(
    observe: Observe,
    target: Float[Array, " codes"],
    key: PRNGKeyArray,
    rising: bool = True,
    largest: int = 1022,
    repeats: int = 2,
) -> tuple[Float[Array, " codes"], Float[Array, " codes"]]:
    """Codes at which what is observed comes closest to `target`, and what is observed there.

    A binary search over 10 bits from a random start within +-5, and then the best of the code and its two neighbours,
    the mean of `repeats` measurements each. rising: whether what is observed rises with the code.
    """
    begin, bits, around = jax.random.split(key, 3)
    start = jax.random.randint(begin, target.shape, -START, START + 1).astype(target.dtype)

    def bit(code, step):
        weight, k = step
        tried = code + weight
        value = observe(jnp.clip(tried, 0, largest), k)
        short = (value < target) if rising else (value > target)
        return jnp.where(short, tried, code), None

    weights = jnp.asarray(2.0 ** np.arange(BITS)[::-1], target.dtype)
    code, _ = lax.scan(bit, start, (weights, jax.random.split(bits, BITS)))
    tried = jnp.clip(code + jnp.asarray([-1.0, 0.0, 1.0], code.dtype)[:, None], 0, largest)
    values = lax.map(lambda each: averaged(observe, each[0], each[1], repeats), (tried, jax.random.split(around, 3)))
    best = jnp.argmin(jnp.where(jnp.isnan(values), jnp.inf, jnp.abs(values - target)), axis=0)[None]
    return jnp.take_along_axis(tried, best, axis=0)[0], jnp.take_along_axis(values, best, axis=0)[0]


def averaged(observe: Observe, codes: Array, key: PRNGKeyArray, repeats: int) -> Float[Array, " codes"]:
    """The mean of several measurements with the same codes, one after the other."""
    return jnp.mean(lax.map(lambda k: observe(codes, k), jax.random.split(key, repeats)), axis=0)
