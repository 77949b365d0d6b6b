"""Numbers and arrays as users give them."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree


def as_float(name: str, value: Any) -> Any:
    """A JAX array of floats from numbers, lists and arrays; integers are converted.

    Raises ValueError for 16-bit floats, whose sums over time lose small steps, and for complex numbers. What is neither
    number nor array (the placeholders of transformed pytrees) passes.
    """
    if not isinstance(value, bool | int | float | complex | list | tuple | np.generic | np.ndarray | jax.Array):
        return value
    array = jnp.asarray(value)
    if array.dtype in (jnp.bfloat16, jnp.float16) or jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise ValueError(f"{name} has the dtype {array.dtype}: use float32 or float64, e.g. {name}.astype('float32').")
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


def split_numbers(tree: PyTree) -> tuple[PyTree, PyTree]:
    """(its Python numbers as arrays, the rest): numbers that enter `jit` as arrays do not compile anew for others."""
    numbers, rest = eqx.partition(tree, lambda x: isinstance(x, int | float) and not isinstance(x, bool))
    return jax.tree.map(lambda x: jnp.asarray(x, float), numbers), rest


def jit_over_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """`eqx.filter_jit` for which `dt` may be any number, and arrays NumPy's, without compiling anew."""
    compiled = eqx.filter_jit(function)

    @functools.wraps(function)
    def call(*arguments: Any, dt: Any, **options: Any) -> Any:
        arguments, options = jax.tree.map(
            lambda x: jnp.asarray(x) if isinstance(x, np.ndarray) else x, (arguments, options)
        )
        return compiled(*arguments, dt=jnp.asarray(dt, float), **options)

    return call
