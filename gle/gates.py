"""How the potential of a neuron gates the errors that arrive at it (section 2.4, Fig. 4): phi' in Eq. 7."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from gle.activations import pull_back
from gle.arrays import as_numbers


class AbstractGate(eqx.Module):
    """From the errors of the rates to those of the potentials."""

    @abc.abstractmethod
    def __call__(
        self,
        activation: Callable[[Array], Array],
        potential: Float[Array, "*batch neurons"],
        errors: Float[Array, "*batch neurons"],
    ) -> Float[Array, "*batch neurons"]:
        """The errors that pass."""


class Derivative(AbstractGate):
    """phi'^T e, exactly, by the transposed derivative of the activation, which may mix neurons, as softmax does."""

    def __call__(self, activation: Callable[[Array], Array], potential: Array, errors: Array) -> Array:
        return pull_back(activation, potential, errors)


class Threshold(AbstractGate):
    """e where the potential is above `theta`, else 0: all that inhibition of error neurons has to tell.

    It is the derivative of a rectifier with its kink at `theta`, one number or [neurons].
    """

    theta: float | Float[Array, "..."] = eqx.field(default=0.0, converter=lambda value: as_numbers("theta", value))

    def __call__(self, activation: Callable[[Array], Array], potential: Array, errors: Array) -> Array:
        theta = jnp.broadcast_to(jnp.asarray(self.theta, potential.dtype), potential.shape)
        return jnp.where(potential > theta, errors, 0)
