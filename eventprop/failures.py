"""Errors that tell what only a run can know."""

from collections.abc import Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

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
    # An error must not depend on where in a mesh of devices it comes up.
    axes = tuple(jax.sharding.get_abstract_mesh().manual_axes)
    if axes:
        result, failed, is_lost, code = jax.tree.map(lambda x: lax.pmax(x, axes), (result, failed, is_lost, code))
    token = eqx.branched_error_if(jnp.zeros((), jnp.int32), is_lost, code, _LostSpikes())
    token = result.error_if(token, failed & ~is_lost)
    return jax.tree.map(lambda x: x + token.astype(x.dtype), tree)


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
