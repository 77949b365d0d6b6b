"""Costs of the output, as functions of the prospective potentials y = D+ u of the output neurons."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gle.activations import is_softmax


class AbstractCost(eqx.Module):
    """C(y, target), one value per sample."""

    @abc.abstractmethod
    def __call__(
        self,
        potentials: Float[Array, "*batch outputs"],
        target: Float[Array, "*batch outputs"],
        activation: Callable[[Array], Array],
    ) -> Float[Array, "*batch"]:
        """The cost; the output rates are activation(potentials)."""

    def check(self, activation: Callable[[Array], Array]) -> None:
        """Raise ValueError for outputs that this cost is not made for."""
        del activation

    def gradient(self, potentials: Array, target: Array, activation: Callable[[Array], Array]) -> Array:
        """dC / dy of every sample."""
        return jax.grad(lambda y: jnp.sum(self(y, target, activation)))(potentials)


class MeanSquaredError(AbstractCost):
    """C = 1/2 sum_i (target_i - r_i)^2 (Eq. 51)."""

    def __call__(self, potentials: Array, target: Array, activation: Callable[[Array], Array]) -> Array:
        return 0.5 * jnp.sum((target - activation(potentials)) ** 2, axis=-1)


class CrossEntropy(AbstractCost):
    """C = -sum_i target_i log r_i for softmax outputs r (Eqs. 53, 54)."""

    def check(self, activation: Callable[[Array], Array]) -> None:
        if not is_softmax(activation):
            raise ValueError("CrossEntropy needs outputs with activation jax.nn.softmax; set it in the last layer.")

    def __call__(self, potentials: Array, target: Array, activation: Callable[[Array], Array]) -> Array:
        self.check(activation)
        return -jnp.sum(target * jax.nn.log_softmax(potentials), axis=-1)

    def gradient(self, potentials: Array, target: Array, activation: Callable[[Array], Array]) -> Array:
        self.check(activation)
        return jax.nn.softmax(potentials) * jnp.sum(target, axis=-1, keepdims=True) - target
