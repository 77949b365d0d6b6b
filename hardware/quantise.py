"""Whole numbers of the chip, held in floats so that gradients pass: round, then saturate."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from eventprop.failures import error_if


def round_to(values: Float[Array, "..."], least: float | int, most: float | int) -> Float[Array, "..."]:
    """The nearest whole number (the even one of two), then the end of [least, most] that lies closer.

        x -> clip(round(x), least, most),    derivative 1 where nothing saturates, else 0

    (the straight-through rule, forward and reverse mode). The result is a float that holds a whole number: never -0,
    never wrapped. NaN is an error.
    """
    values = error_if(values, jnp.any(jnp.isnan(values)), "NaN cannot be quantised: a number sent to the chip is none.")
    return _straight_through(values, least, most, jnp.round)


def floor_to(values: Float[Array, "..."], least: float | int, most: float | int) -> Float[Array, "..."]:
    """The largest whole number below, then the closer end of [least, most]: what an analog-to-digital converter does.

    Derivatives as for `round_to`; NaN stays NaN.
    """
    return _straight_through(values, least, most, jnp.floor)


def saturated(values: Float[Array, "..."], least: float | int, most: float | int) -> Int[Array, ""]:
    """How many of the values `round_to` would move to an end of the range."""
    whole = jnp.round(values)
    return jnp.sum((whole < least) | (whole > most), dtype=jnp.int32)


@partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def _straight_through(values: Array, least: float | int, most: float | int, whole: Any) -> Array:
    return jnp.clip(whole(values), least, most) + 0.0  # -0 + 0 = 0


@_straight_through.defjvp
def _(least: Any, most: Any, whole: Any, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (values,), (change,) = primals, tangents
    inside = (whole(values) >= least) & (whole(values) <= most)
    return _straight_through(values, least, most, whole), jnp.where(inside, change, 0)
