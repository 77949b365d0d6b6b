"""What `jax.shard_map` asks of loops, and of errors that only a run can raise."""

from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Bool, PyTree

_Tree = TypeVar("_Tree")


def _axes() -> tuple[str, ...]:
    return tuple(jax.sharding.get_abstract_mesh().manual_axes)


def vary_alike(tree: _Tree, *like: PyTree) -> _Tree:
    """The same arrays, all varying over those axes of a device mesh over which any of them, or of `like`, does.

    What a loop carries must not begin to vary over the mesh within the loop: silence is the same on all devices until
    each of them draws its own random numbers. Elsewhere nothing is done.
    """
    if not _axes():
        return tree
    known = [_data(x) for x in jax.tree.leaves((tree, like)) if eqx.is_array(x)]

    def varying(x: Any) -> Any:
        if not eqx.is_array_like(x):
            return x
        # Zeros vary as what they are like, and sums over whatever a summand does.
        x = jnp.asarray(x)
        zero = sum(jnp.zeros_like(other, shape=(), dtype=x.dtype) for other in known)
        return x ^ (zero != 0) if x.dtype == bool else x + zero

    return jax.tree.map(varying, tree)


def agreed(tree: _Tree) -> _Tree:
    """The largest on any device: an error must not depend on where in a mesh it comes up."""
    return jax.tree.map(lambda x: lax.pmax(x, _axes()), tree) if _axes() else tree


def error_if(tree: _Tree, wrong: Bool[Array, "..."], message: str) -> _Tree:
    """`tree` of numbers, under the condition that nothing is `wrong`: a `ValueError` where that is known, else one at
    run time."""
    if not isinstance(wrong, Tracer):
        if np.any(wrong):
            raise ValueError(message)
        return tree
    return after(tree, eqx.error_if(jnp.zeros((), jnp.int32), agreed(jnp.any(wrong)), message))


def after(tree: _Tree, token: Array) -> _Tree:
    """`tree` once `token`, a zero that an error may prevent, is known."""
    return jax.tree.map(lambda x: x + token.astype(x.dtype), tree)


def _data(x: Array) -> Array:
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
