"""Errors that tell what only a run can know."""

from collections.abc import Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int

from eventprop.results import RESULTS

_MOST = 2**20
"""More lost spikes than that are not told apart: layer, bound and count share 31 bits."""

_Tree = TypeVar("_Tree")


def raise_unless_successful(tree: _Tree, result: RESULTS, lost: Int[Array, "layers 3"]) -> _Tree:
    """`tree`, computed under the condition that `result` is successful; `lost` counts spikes (see `Trajectory`).

    Under `jax.vmap` the message is about the last of the layers that lose spikes, in the trial where it loses most.
    """
    failed, is_lost = result != RESULTS.successful, result == RESULTS.spikes_lost
    layer, bound = jnp.divmod(jnp.argmax(lost.reshape(-1) > 0).astype(jnp.int32), 3)
    code = (3 * layer + bound) * _MOST + jnp.minimum(lost[layer, bound], _MOST - 1)
    code = jnp.where(is_lost, code, 0)
    result, failed, code = jax.tree.map(_of_all, (result, failed & ~is_lost, code))
    token = eqx.branched_error_if(jnp.zeros((), jnp.int32), code > 0, code, _LostSpikes())
    return _after(result.error_if(token, failed), tree)


def error_if(tree: _Tree, failed: Bool[Array, "..."], message: str) -> _Tree:
    """`tree`, computed under the condition that nothing `failed`, in whichever trial and on whichever device.

    `equinox.error_if` alone refuses a condition that differs between the devices of `jax.shard_map`.
    """
    return _after(eqx.error_if(jnp.zeros((), jnp.int32), _of_all(jnp.any(failed)), message), tree)


def _after(token: Int[Array, ""], tree: _Tree) -> _Tree:
    """`tree`, made to wait for a zero."""
    return jax.tree.map(lambda x: x + token.astype(x.dtype), tree)


def _of_all(x: Array) -> Array:
    """The largest value in a batch, 0 in one without members, and in a mesh of devices.

    An error must not depend on where it comes up, and Equinox takes the maximum over a batch, even over an empty one.
    """
    largest = _of_batch(lax.stop_gradient(x.astype(jnp.int32)))
    axes = tuple(jax.sharding.get_abstract_mesh().manual_axes)
    return (lax.pmax(largest, axes) if axes else largest).astype(x.dtype)


@jax.custom_batching.custom_vmap
def _of_batch(x: Int[Array, "..."]) -> Int[Array, ""]:
    return jnp.max(x, initial=0)


@_of_batch.def_vmap
def _of_larger_batch(axis_size: int, in_batched: list[bool], x: Int[Array, "..."]):
    del axis_size, in_batched  # the maximum is over all axes
    return _of_batch(x), False


class _LostSpikes(Sequence):
    """The messages to the numbers that stand for a layer, one of its bounds, and a count."""

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, code: Any) -> Any:
        place, count = divmod(int(code), _MOST)
        layer, bound = divmod(place, 3)
        cause, name = (
            ("one of its neurons fires more often", "max_spikes"),
            ("it fires more often", "max_events"),
            ("more of them are on their way to it", "max_in_flight"),
        )[bound]
        return (
            f"layer {layer} (counted from 0) lost {count} spike(s) of a trial: {cause} than the solver's `{name}` "
            "allows; raise that bound."
        )
