"""What a batch does together: turns of a loop, and what only some of its members need; loops under `jax.shard_map`."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Shaped

BLOCK = 512
"""How many elements `where_needed` computes together: fewer cost more turns, more are more often in vain."""
MOST_LISTED = 2**24
"""More elements than float32 counts are not listed, but computed all at once."""


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


_Tree = TypeVar("_Tree")


def vary_alike(tree: _Tree, *like: Any) -> _Tree:
    """The same arrays, all varying over those axes of a device mesh over which any of them, or of `like`, does.

    Under `jax.shard_map` what a loop carries must not begin to vary over the mesh within the loop: a resting state is
    the same on all devices until the first input of one device arrives. Elsewhere nothing is done.
    """
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return tree
    leaves = [x for x in jax.tree.leaves((tree, like)) if eqx.is_array(x)]
    leaves = [jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x for x in leaves]

    def varying(x):
        if not eqx.is_array(x):
            return x
        # Zeros vary as what they are like, and sums over whatever a summand does.
        zero = sum(jnp.zeros_like(like, shape=(), dtype=x.dtype) for like in leaves)
        return x ^ (zero != 0) if x.dtype == bool else x + zero

    return jax.tree.map(varying, tree)


class Lookup(NamedTuple):
    """table[place]: one number for each element, read only where `where_needed` needs it."""

    table: Shaped[Array, " size"]
    place: Int[Array, " elements"]


_Arrays = TypeVar("_Arrays", bound=tuple[Array, ...])


def where_needed(function: Callable[..., _Arrays]) -> Callable[..., _Arrays]:
    """where(needed, function(needed, *arguments), otherwise), at a cost that grows with the elements needed.

    The result is called as `(needed, otherwise, *arguments)`: arrays of one length, and in `arguments` also scalars and
    `Lookup`s. `function` goes element by element. Under `jax.vmap`, elements are those of all members of the batch.

    On CPU, the elements needed are gathered, `BLOCK` at a time; `function` gets a last block that is not full with
    `needed` telling which count. Accelerators, whose time goes by turns rather than elements, compute all at once.
    """

    @jax.custom_batching.custom_vmap
    def call(needed, otherwise, *arguments):
        if needed.size == 0:  # a batch without members
            return otherwise
        if jax.default_backend() == "cpu" and BLOCK < needed.size <= MOST_LISTED:
            return _in_blocks(function, needed, otherwise, arguments)
        # Filled up to a block, so that XLA compiles the loops of narrow and wide layers once.
        element = jnp.minimum(jnp.arange(max(BLOCK, needed.size), dtype=jnp.int32), needed.size - 1)
        values = function(_at(needed, element), *_read(arguments, element))
        return tuple(jnp.where(needed, x[: needed.size], y) for x, y in zip(values, otherwise, strict=True))

    @call.def_vmap
    def _in_batch(axis_size: int, in_batched: list[Any], needed: Array, *arguments: Any):
        shape = (axis_size, needed.shape[-1])

        def one_axis(batched, x):
            if isinstance(x, Lookup):
                _check_size(axis_size * x.table.shape[-1])
                table = jnp.broadcast_to(x.table, (axis_size, x.table.shape[-1]))
                first = table.shape[1] * jnp.arange(axis_size, dtype=x.place.dtype)[:, None]
                return Lookup(table.reshape(-1), (jnp.broadcast_to(x.place, shape) + first).reshape(-1))
            if x.ndim == 0 and not batched:
                return x
            return jnp.broadcast_to(x[:, None] if batched and x.ndim == 1 else x, shape).reshape(-1)

        leaves, tree = jax.tree.flatten((needed, *arguments), is_leaf=_is_lookup)
        batched = jax.tree.leaves(in_batched, is_leaf=_is_lookup)
        values = call(*jax.tree.unflatten(tree, map(one_axis, batched, leaves)))
        return tuple(x.reshape(shape) for x in values), (True,) * len(values)

    return call


def _in_blocks(function: Callable[..., Any], needed: Array, otherwise: tuple[Array, ...], arguments: tuple[Any, ...]):
    """List the elements needed, then compute them block by block."""
    elements = needed.size
    number = jnp.sum(needed, dtype=jnp.int32)
    rank = jnp.where(needed, _sum_before(needed.astype(jnp.float32)).astype(jnp.int32), elements)
    listed = jnp.zeros(elements + BLOCK, jnp.int32).at[rank].set(jnp.arange(elements, dtype=jnp.int32), mode="drop")

    def block(carry):
        start, results = carry
        element = lax.dynamic_slice_in_dim(listed, start, BLOCK)
        counts = start + jnp.arange(BLOCK, dtype=jnp.int32) < number
        values = function(counts, *_read(arguments, element))
        place = jnp.where(counts, element, elements)
        return start + BLOCK, tuple(x.at[place].set(y, mode="drop") for x, y in zip(results, values, strict=True))

    return lax.while_loop(lambda carry: carry[0] < number, block, (jnp.zeros((), jnp.int32), otherwise))[1]


def _read(arguments: tuple[Any, ...], element: Int[Array, " some"]) -> tuple[Any, ...]:
    """The arguments of these elements."""

    def read(x):
        if isinstance(x, Lookup):
            return _at(x.table, _at(x.place, element))
        return _at(x, element) if x.ndim else x

    return jax.tree.map(read, arguments, is_leaf=_is_lookup)


def _at(x: Array, place: Int[Array, " some"]) -> Array:
    return x.at[place].get(mode="promise_in_bounds")


def _check_size(size: int) -> None:
    if size > jnp.iinfo(jnp.int32).max:
        raise ValueError(
            f"trials x events in a chunk x neurons must be below 2^31 to be searched together, but is {size}; "
            "lower `chunk`, or take fewer trials at a time (jax.lax.map with a batch_size)."
        )


def _is_lookup(x: Any) -> bool:
    return isinstance(x, Lookup)


def _sum_before(x: Float[Array, " elements"]) -> Float[Array, " elements"]:
    """The sum of all elements before each one, exact for whole numbers up to `MOST_LISTED`.

    By products of rows of 64 with a triangle of ones: on CPU `jnp.cumsum` takes four times longer.
    """
    if x.size == 1:
        return jnp.zeros_like(x)
    width = min(64, x.size)
    rows = jnp.pad(x, (0, -x.size % width)).reshape(-1, width)
    within = rows @ jnp.triu(jnp.ones((width, width), x.dtype), 1)
    return (within + _sum_before(jnp.sum(rows, axis=1))[:, None]).reshape(-1)[: x.size]
