"""The weights in the order in which events read them."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


@jax.custom_jvp
def rows(weight: Float[Array, "neurons sources"]) -> Float[Array, "sources neurons"]:
    """The transposed weight, in which the charges of one source stand side by side.

    On CPU it is written to memory. Left to itself, XLA transposes inside of the gather that reads the charges, which
    then jumps from row to row for every number: with 1024 neurons a training step takes 1.6 times as long.
    """
    return _written(weight) if jax.default_backend() == "cpu" else weight.T


@rows.defjvp
def _rows_jvp(primals, tangents):
    (weight,), (tangent,) = primals, tangents
    return rows(weight), tangent.T


@jax.custom_batching.custom_vmap
def _written(weight: Float[Array, "*batch neurons sources"]) -> Float[Array, "*batch sources neurons"]:
    if weight.size == 0:
        return jnp.swapaxes(weight, -1, -2)
    # XLA fuses nothing into or out of the branches of a conditional. It must not see that they do the same, so each
    # has its own transposition, and that one is always taken, so the condition depends on a value.
    condition = jnp.isnan(weight[(0,) * weight.ndim])
    return lax.cond(condition, lambda x: jnp.swapaxes(x, -1, -2), lambda x: jnp.swapaxes(x, -1, -2), weight)


@_written.def_vmap
def _written_in_batch(axis_size: int, in_batched: list[bool], weight: Float[Array, "..."]):
    # One condition for the whole batch: under `jax.vmap` a conditional would become a selection, which is fused again.
    del axis_size
    return _written(weight), in_batched[0]
