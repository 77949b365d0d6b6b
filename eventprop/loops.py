"""Loops whose turns are shared by all members of a batch."""

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
