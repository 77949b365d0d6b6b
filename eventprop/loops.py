"""What a batch does together: turns of a loop, and long vectors."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool


@jax.custom_batching.custom_vmap
def anywhere(condition: Bool[Array, "..."]) -> Bool[Array, ""]:
    """Whether `condition` holds anywhere, under `jax.vmap` in any member of the batch.

    For the condition of a `lax.while_loop` whose body leaves finished members as they are: all members then share the
    turns. A condition of its own for each member would copy the whole state at every turn, to keep what is finished.
    """
    return jnp.any(condition)


@anywhere.def_vmap
def _anywhere_in_batch(axis_size: int, in_batched: list[bool], condition: Bool[Array, "..."]):
    del axis_size, in_batched  # the reduction is over all axes
    return anywhere(condition), False


def elementwise(function: Callable[..., Array]) -> Callable[..., Array]:
    """`function` of (pytrees of) arrays that broadcast against each other; under `jax.vmap` it sees one long vector.

    On CPU, XLA goes through a batch row by row, and through the rest of a row behind the last full vector register
    number by number: four of a hundred neurons take half as long as the others, in code that is compiled apart.
    """
    call = jax.custom_batching.custom_vmap(function)

    @call.def_vmap
    def _in_batch(axis_size: int, in_batched: list[Any], *arguments: Any):
        batched, (leaves, tree) = jax.tree.leaves(in_batched), jax.tree.flatten(arguments)
        shapes = [x.shape[1:] if b else x.shape for b, x in zip(batched, leaves, strict=True)]
        whole = (axis_size, *jnp.broadcast_shapes(*shapes))

        def flat(b, x, shape):
            if not b and x.ndim == 0:
                return x
            aligned = x.reshape((axis_size if b else 1, *(1,) * (len(whole) - 1 - len(shape)), *shape))
            return jnp.broadcast_to(aligned, whole).reshape(-1)

        return call(*jax.tree.unflatten(tree, map(flat, batched, leaves, shapes))).reshape(whole), True

    return call
