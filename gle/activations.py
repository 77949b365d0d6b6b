"""Rate functions phi: plain functions, or modules whose arrays learn."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Function(eqx.Module):
    """A plain function as an activation: part of the program, not of the parameters."""

    function: Callable[[Array], Array] = eqx.field(static=True)

    def __call__(self, potential: Float[Array, "*batch neurons"]) -> Float[Array, "*batch neurons"]:
        return self.function(potential)


def as_activation(activation: Any, neurons: int) -> Callable[[Array], Array]:
    """A pytree (a module, `jax.tree_util.Partial`) stays as it is, a plain function becomes one.

    Raises ValueError for what does not give one rate for each neuron: rates of other shapes would be broadcast.
    """
    if isinstance(activation, Function):  # of another layer
        return activation
    _check(activation, neurons)
    leaves = jax.tree.leaves(activation)
    return Function(activation) if len(leaves) == 1 and leaves[0] is activation else activation


def _check(activation: Any, neurons: int) -> None:
    if not callable(activation):
        raise ValueError(f"activation must be a function such as jnp.tanh, but is {activation!r}.")
    rates = jax.eval_shape(activation, jax.ShapeDtypeStruct((neurons,), float))
    if rates.shape != (neurons,) or not jnp.issubdtype(rates.dtype, jnp.floating):
        raise ValueError(
            f"activation must give one float for each of {neurons} neurons, but gives {rates.dtype}{list(rates.shape)}."
        )


def is_softmax(activation: Callable[[Array], Array]) -> bool:
    """Whether this is `jax.nn.softmax`."""
    return (activation.function if isinstance(activation, Function) else activation) is jax.nn.softmax


def pull_back(activation: Callable[[Array], Array], potential: Array, errors: Array) -> Array:
    """phi'^T e: the errors of the potentials from those of the rates, also where phi mixes neurons, as softmax does."""
    return jax.vjp(activation, potential)[1](errors)[0]


def linear(potential: Float[Array, "*batch neurons"]) -> Float[Array, "*batch neurons"]:
    """The activation phi(x) = x."""
    return potential
