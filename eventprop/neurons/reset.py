"""What a spike does to the membrane potential."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from eventprop.parameters import Parameter, numeric


class AbstractReset(eqx.Module):
    """What a spike does to the membrane potential."""

    @abc.abstractmethod
    def __call__(self, v: Array, threshold: Array) -> Array:
        """The potential after a spike at potential `v`."""


class ResetBySubtraction(AbstractReset):
    """V+ = V- - threshold (Wunderlich & Pehle 2021, Table 1)."""

    def __call__(self, v: Array, threshold: Array) -> Array:
        return v - threshold


class ResetToValue(AbstractReset):
    """V+ = value, which must lie below the threshold."""

    value: Parameter = eqx.field(converter=numeric("value"))

    def __call__(self, v: Array, threshold: Array) -> Array:
        return jnp.asarray(self.value, v.dtype) + jnp.zeros_like(v)
