"""Neuron parameters: scalars or one value per neuron, checked where their values are known."""

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

Parameter = float | Float[Array, "..."]


def check_positive(name: str, value: Any, remedy: str = "", minus: Any = 0) -> None:
    """Raise ValueError unless value - minus > 0 everywhere. Traced values pass: nothing is known of them here."""
    if not (_is_concrete(value) and _is_concrete(minus)):
        return
    difference = np.asarray(value) - np.asarray(minus)
    if not np.all(difference > 0):
        raise ValueError(f"{name} must be positive, but is {difference}" + (f": {remedy}." if remedy else "."))


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


def _has_shape(value: Any) -> bool:
    return isinstance(value, float | int) or hasattr(value, "shape")


def _is_concrete(value: Any) -> bool:
    # Transformations of pytrees put tracers, structs and sentinels where numbers were.
    return isinstance(value, float | int | np.ndarray) or (
        isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer)
    )
