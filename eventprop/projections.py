"""Updates that keep parameters in their range."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

_is_missing = lambda x: x is None or isinstance(x, optax.MaskedNode)  # noqa: E731


def keep_not_negative() -> optax.GradientTransformation:
    """Keeps delays from falling below zero: an update that would go there ends at 0. Stands last in `optax.chain`.

        optimiser = optax.chain(optax.adam(1e-3), keep_not_negative())
        updates, state = optimiser.update(gradients, state, network)         # it needs the parameters

    It acts on every leaf called `delay`, of whichever network or pytree, and on nothing else: delay + update becomes
    max(delay + update, 0), the nearest delay that a spike can have. Frozen delays (None, `optax.MaskedNode()`) are
    passed over. A delay at zero is not stuck: it leaves as soon as its gradient points upwards.

    Raises ValueError where `update` is called without parameters.
    """

    def update(updates: Any, state: Any, params: Any = None):
        if params is None:
            raise ValueError("keep_not_negative needs the parameters: optimiser.update(gradients, state, params).")

        def project(path: Any, change: Any, value: Any) -> Any:
            if _is_missing(change) or not _is_delay(path):
                return change
            return jnp.where(value + change < 0, -jnp.asarray(value, change.dtype), change)

        leaves, structure = jax.tree_util.tree_flatten_with_path(updates, is_leaf=_is_missing)
        values = structure.flatten_up_to(params)
        projected = [project(path, change, value) for (path, change), value in zip(leaves, values, strict=True)]
        return jax.tree.unflatten(structure, projected), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)  # pyright: ignore[reportArgumentType]


def _is_delay(path: tuple[Any, ...]) -> bool:
    """Whether the last step of a path is a field or a key of this name."""
    return bool(path) and "delay" in (getattr(path[-1], "name", None), getattr(path[-1], "key", None))
