"""Numbers: plain, NumPy, JAX or traced; which of them decide a shape; and the time step of a state."""

import math
import operator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from sal._mesh import error_if


def as_float(name: str, x: Any) -> Array:
    """`x` as a JAX array of float32 or float64; integers and bools are converted, shorter floats refused."""
    array = jnp.asarray(x)
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        return array.astype(jnp.result_type(float))
    if array.dtype not in (jnp.float32, jnp.float64):
        raise ValueError(f"{name} must be float32 or float64, got {array.dtype}; convert it with .astype")
    return array


def as_parameter(name: str, x: Any) -> float | Array:
    """A number that decides no shape: a plain one stays plain, so that it has no precision of its own."""
    return float(x) if isinstance(x, bool | int | float) else as_float(name, x)


def as_static(name: str, x: Any) -> float:
    """A number that decides a shape, such as a number of steps, and so has to be known when a program is compiled."""
    if isinstance(x, Tracer):
        raise TypeError(
            f"{name} decides the shape of an array (a number of steps, or of spikes to remember), so it must be a "
            f"plain number, got the traced {x}; take it out of what jit, vmap or grad act on"
        )
    if np.ndim(x) != 0:
        raise ValueError(f"{name} must be one number, got the shape {np.shape(x)}")
    if not math.isfinite(float(x)):
        raise ValueError(f"{name} must be finite, got {x}")
    return float(x)


def as_count(name: str, x: Any, least: int = 1) -> int:
    """A static number of things."""
    try:
        count = operator.index(x)
    except TypeError as error:
        raise TypeError(f"{name} must be a whole number that is not traced, got {x!r}") from error
    if count < least:
        raise ValueError(f"{name} must be at least {least}, got {x}")
    return count


def as_bools(name: str, x: Any) -> bool | Array:
    """Bools, a plain one as it is: `~` of other numbers is no negation."""
    if isinstance(x, bool | np.bool_):
        return bool(x)
    array = jnp.asarray(x)
    if array.dtype != bool:
        raise ValueError(f"{name} must be bools, got {array.dtype}; convert them with .astype(bool)")
    return array


def form(tree: PyTree) -> list[tuple[tuple[int, ...], str]]:
    """The shapes of a state's arrays, and whether they hold whole numbers ("i") or others ("f")."""
    return [(np.shape(x), jnp.result_type(x).kind) for x in jax.tree.leaves(tree)]


def check_positive(where: str, **values: Any) -> None:
    """Raises `ValueError` for numbers that are known not to be positive."""
    for name, value in values.items():
        if not isinstance(value, Tracer) and not np.all(np.asarray(value) > 0):
            raise ValueError(f"{where}: {name} must be positive, got {value}")


def as_arrays(tree: PyTree) -> Any:
    """Plain numbers become arrays, so that a program that is compiled for some serves for others.

    Bools, which choose the program, do not.
    """
    return jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, int | float) and not isinstance(x, bool) else x, tree)


class Clock(eqx.Module):
    """The time step in which a state counts.

    Known from the beginning (`fixed`), or from the first part of a run on (`seen`, 0 before). Only the former can be
    compared while a program is traced.
    """

    fixed: float | None = eqx.field(static=True)
    seen: Float[Array, "..."] | None

    @staticmethod
    def new(dt: float | None) -> "Clock":
        """Of a state that has not been used yet."""
        return Clock(None, jnp.zeros((), jnp.float32)) if dt is None else Clock(as_static("dt", dt), None)

    def checked(self, state: Array, dt: float) -> tuple[Array, "Clock"]:
        """`state`, which counts in steps of this clock, for a run in steps of `dt`; raises an error if these differ."""
        remedy = "go on with the dt it has, or start from a new state"
        if self.seen is None:
            assert self.fixed is not None
            if not np.isclose(self.fixed, dt, rtol=1e-6, atol=0):
                raise ValueError(f"The state counts in steps of dt = {self.fixed}, got dt = {dt}; {remedy}")
            return state, self
        other = (self.seen > 0) & (jnp.abs(self.seen - dt) > 1e-6 * dt)
        counted = "other steps than" if isinstance(other, Tracer) else f"steps of dt = {np.max(self.seen):g}, got"
        state = error_if(state, other, f"The state counts in {counted} dt = {dt}; {remedy}")
        return state, Clock(None, jnp.full_like(self.seen, dt))
