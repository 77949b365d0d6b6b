"""Numbers that users give: scalars, one value per neuron, times. Converted and checked in one place."""

import operator
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Real

Parameter = float | Float[Array, "..."]
"""One number for all neurons or one for each, as it is kept."""
Scalar = float | Float[Array, ""]
"""One number, as it is kept."""
AnyScalar = int | float | np.generic | Real[Array | np.ndarray, ""]
"""One number, as it may be given."""
AnyIndex = int | np.integer | Int[Array | np.ndarray, ""]
"""One whole number, as it may be given."""


def as_float(name: str, value: Any) -> Any:
    """A Python number as a float, lists and arrays as a floating-point JAX array; anything else as it is.

    Python numbers stay what they are, since to Equinox's filters they are constants that no gradient reaches. What is
    no number is not for this function to judge: None, a strategy, or what transformations of pytrees put in its place.
    Raises ValueError for precisions other than float32 and float64: spike times in bfloat16 are off by percents.
    """
    if isinstance(value, bool | int | float) and not isinstance(value, np.generic):
        return float(value)
    if isinstance(value, str | bytes | complex):
        raise ValueError(f"{name} must be a number or an array, but is {value!r}.")
    if isinstance(value, list | tuple):
        value = _from_list(name, value)
    if not isinstance(value, jax.Array | np.ndarray | np.generic):
        return value
    if jnp.issubdtype(value.dtype, jnp.integer):
        return jnp.asarray(value, dtype=float)
    check_dtype(name, value.dtype)
    return jnp.asarray(value)


def check_dtype(name: str, dtype: Any) -> None:
    """Raise ValueError for anything but float32 and float64."""
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"{name} is {np.dtype(dtype)}: give float32 or float64, e.g. by .astype(jnp.float32).")


def _from_list(name: str, value: Any) -> Any:
    traced = any(isinstance(x, jax.Array) for x in jax.tree.leaves(value))
    try:
        return jnp.asarray(value) if traced else np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers in rows of one length, but is {value}.") from error


def numeric(name: str) -> Callable[[Any], Any]:
    """The converter of a field that holds numbers: `as_float` with the field's name."""
    return lambda value: as_float(name, value)


def as_arrays(name: str, tree: Any, dtype: Any) -> Any:
    """All numbers of a pytree as arrays of one dtype, so that under jit none of them is part of the program."""

    def convert(path: Any, value: Any) -> Any:
        value = as_float(name + jax.tree_util.keystr(path), value)
        is_number = isinstance(value, float | jax.Array) and jnp.issubdtype(jnp.result_type(value), jnp.floating)
        return jnp.asarray(value, dtype) if is_number else value

    return jax.tree_util.tree_map_with_path(convert, tree)


def constant(tree: Any) -> Any:
    """The same numbers without derivatives."""
    return jax.tree.map(lambda x: jax.lax.stop_gradient(x) if eqx.is_inexact_array(x) else x, tree)


def whole(name: str, value: Any, least: int = 0) -> int:
    """The size of an array, of any integer type. Raises ValueError for anything else, and for less than `least`."""
    try:
        number = operator.index(value)
    except TypeError as error:  # a traced one, too
        raise ValueError(f"{name} must be a whole number, but is {value!r}.") from error
    if number < least:
        raise ValueError(f"{name} must be a whole number from {least}, but is {number}.")
    return number


def check_type(name: str, value: Any, kind: type, remedy: str = "") -> None:
    """Raise ValueError unless `value` is an instance of `kind`."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIO" else "a"
        raise ValueError(
            f"{name} must be {article} {kind.__name__}, but is {value!r}" + (f": {remedy}." if remedy else ".")
        )


def check_positive(name: str, value: Any, remedy: str = "", minus: Any = 0) -> None:
    """Raise ValueError unless value - minus > 0 everywhere. Traced values pass: nothing is known of them here."""
    if not (is_concrete(value) and is_concrete(minus)):
        return
    difference = np.asarray(value) - np.asarray(minus)
    if not np.all(difference > 0):
        raise ValueError(f"{name} must be positive, but is {difference}" + (f": {remedy}." if remedy else "."))


def check_not_negative(name: str, value: Any, remedy: str = "") -> None:
    """Raise ValueError unless value >= 0 everywhere. Traced values pass."""
    if is_concrete(value) and not np.all(np.asarray(value) >= 0):
        raise ValueError(f"{name} must not be negative, got {value}" + (f"; {remedy}" if remedy else ""))


def check_finite(name: str, value: Any, remedy: str = "") -> None:
    """Raise ValueError for NaN and infinity. Traced values pass."""
    if is_concrete(value) and not np.all(np.isfinite(np.asarray(value))):
        raise ValueError(f"{name} must be finite, but is {value}" + (f": {remedy}." if remedy else "."))


def check_finite_in(module: Any, *names: str) -> None:
    """`check_finite` of some fields of a module."""
    for name in names:
        check_finite(name, getattr(module, name))


def check_largest_step(largest_step: Any) -> None:
    """Raise ValueError unless it is positive and finite. Traced values pass."""
    check_positive("largest_step", largest_step)
    check_finite("largest_step", largest_step, "events are looked for step by step")


def check_scalars(**values: Any) -> None:
    """Raise ValueError unless these are single numbers (or nothing that has a shape)."""
    for name, value in values.items():
        if _has_shape(value) and np.shape(value) != ():
            raise ValueError(
                f"{name} must be one number, but has the shape {np.shape(value)}; use jax.vmap for several."
            )


def all_positive(*values: Any) -> Bool[Array, ""]:
    """Whether all these values are positive, traced ones included."""
    return jnp.all(jnp.stack([jnp.all(jnp.asarray(value) > 0) for value in values]))


def check_same_length(**parameters: Any) -> None:
    """Raise ValueError unless all parameters are scalars or vectors of one length."""
    shapes = {
        name: np.shape(value) for name, value in parameters.items() if _has_shape(value) and np.shape(value) != ()
    }
    for name, shape in shapes.items():
        if len(shape) != 1:
            raise ValueError(f"{name} has shape {shape}: give a scalar or one value per neuron.")
    if len(set(shapes.values())) > 1:
        raise ValueError(f"per-neuron parameters differ in length: {shapes}.")


def check_same_lengths_in(module: Any) -> None:
    """`check_same_length` of all numbers in a module, by their places in it."""
    leaves = jax.tree_util.tree_leaves_with_path(module)
    check_same_length(**{jax.tree_util.keystr(path)[1:]: value for path, value in leaves})


def is_concrete(value: Any) -> bool:
    """Whether this is a number, or an array of them, whose value is known."""
    # Transformations of pytrees put tracers, structs and sentinels where numbers were.
    return isinstance(value, float | int | np.ndarray | np.generic) or (
        isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer)
    )


def _has_shape(value: Any) -> bool:
    return isinstance(value, float | int) or hasattr(value, "shape")
