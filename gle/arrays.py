"""Numbers and arrays as users give them."""

from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, PyTree

_Tree = TypeVar("_Tree")


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


def as_numbers(name: str, value: Any) -> Any:
    """A setting, one number or an array of them: Python's number as a float, NumPy's and JAX's as `as_float`."""
    number = as_float(name, value)
    single = isinstance(value, bool | int | float | np.generic) and np.ndim(value) == 0
    return float(value) if single else number


def as_number(name: str, value: Any) -> Any:
    """A setting that is one number. Raises ValueError for several, which would be broadcast over neurons or samples."""
    if np.shape(value):
        raise ValueError(f"{name} must be one number, but has shape {np.shape(value)}; use jax.vmap for several.")
    return as_numbers(name, value)


def concrete(value: Any) -> bool:
    """Whether the value of a number or array is known while a program is traced, so that it can be checked."""
    return isinstance(value, int | float | list | tuple | np.generic | np.ndarray | jax.Array) and not isinstance(
        value, Tracer
    )


def as_time_step(dt: Any, dtype: Any) -> Array:
    """dt as an array, in the precision of the network. Raises ValueError unless it is one number."""
    return jnp.asarray(as_number("dt", dt), dtype)


def split_numbers(tree: PyTree) -> tuple[PyTree, PyTree]:
    """(its Python floats as arrays, the rest): numbers that enter `jit` as arrays do not compile anew for others.

    Integers stay: where a module holds some, they are sizes.
    """
    numbers, rest = eqx.partition(tree, lambda x: isinstance(x, float))
    return jax.tree.map(lambda x: jnp.asarray(x, float), numbers), rest


def strongly_typed(tree: PyTree) -> PyTree:
    """Its arrays without JAX's weak types, which every result loses: with one of them, the next call compiles anew."""
    return jax.tree.map(lambda x: jnp.asarray(x, x.dtype) if getattr(x, "weak_type", False) else x, tree)


def vary_alike(tree: _Tree) -> _Tree:
    """The same arrays, all varying over those axes of a device mesh over which any of them does.

    Under `jax.shard_map` what a loop carries must not begin to vary over the mesh within the loop, as a network at rest
    would at the first input of one device. Elsewhere nothing is done. Keys stay as they are: nothing can be added.
    """
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return tree
    changes = lambda x: eqx.is_array(x) and not jnp.issubdtype(x.dtype, jax.dtypes.prng_key)  # noqa: E731
    leaves = [x for x in jax.tree.leaves(tree) if changes(x)]

    def varying(x):
        # Zeros vary as what they are like, and sums over whatever a summand does.
        zero = sum(jnp.zeros_like(like, shape=(), dtype=x.dtype) for like in leaves)
        return x ^ (zero != 0) if x.dtype == bool else x + zero

    return jax.tree.map(lambda x: varying(x) if changes(x) else x, tree)


def without(numbers: PyTree, tree: PyTree) -> PyTree:
    """None wherever `split_numbers` found a number: those are no parameters, and have no gradient."""
    return jax.tree.map(lambda number, x: x if number is None else None, numbers, tree, is_leaf=lambda x: x is None)
