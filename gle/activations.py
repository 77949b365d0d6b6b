"""Rate functions phi: plain functions, or modules whose arrays learn."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float


class Function(eqx.Module):
    """A plain function as an activation: part of the program, not of the parameters."""

    function: Callable[[Array], Array] = eqx.field(static=True)

    def __call__(self, potential: Float[Array, "*batch neurons"]) -> Float[Array, "*batch neurons"]:
        return self.function(potential)


def as_activation(activation: Any) -> Callable[[Array], Array]:
    """A pytree (a module, `jax.tree_util.Partial`) stays as it is, a plain function becomes one."""
    leaves = jax.tree.leaves(activation)
    return Function(activation) if len(leaves) == 1 and leaves[0] is activation else activation


def is_softmax(activation: Callable[[Array], Array]) -> bool:
    """Whether this is `jax.nn.softmax`."""
    return (activation.function if isinstance(activation, Function) else activation) is jax.nn.softmax


def pull_back(activation: Callable[[Array], Array], potential: Array, errors: Array) -> Array:
    """phi'^T e: the errors of the potentials from those of the rates, also where phi mixes neurons, as softmax does."""
    return jax.vjp(activation, potential)[1](errors)[0]


def linear(potential: Float[Array, "*batch neurons"]) -> Float[Array, "*batch neurons"]:
    """The activation phi(x) = x."""
    return potential
