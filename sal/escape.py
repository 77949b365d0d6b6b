"""Escape rates: how the membrane potential sets the chance of a spike."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sal.kernels import Time


class AbstractEscape(eqx.Module):
    """The probability of a neuron that is not refractory to spike within one step."""

    @abc.abstractmethod
    def probability(self, u: Float[Array, "*shape"], tau_ref: Time, dt: Time) -> Float[Array, "*shape"]:
        """Spike probability per step at the membrane potential u (without unit); above 1, the rate saturates."""


class ExponentialEscape(AbstractEscape):
    """p = r dt with r = exp(u) / tau_ref (Eqs. 10, 11). Where r exceeds 1 / dt the neuron cannot follow: saturation."""

    def probability(self, u: Array, tau_ref: Time, dt: Time) -> Array:
        return jnp.exp(u) * (dt / tau_ref)


class LogisticEscape(AbstractEscape):
    """p = sigma(u - ln(tau_ref / dt)): the rate with which a network samples exactly (Buesing et al. 2011).

    The potential u is what the paper's Eq. 15 has misprinted as zeta. In the limit dt -> 0 it is `ExponentialEscape`.
    """

    def probability(self, u: Array, tau_ref: Time, dt: Time) -> Array:
        return jax.nn.sigmoid(u - jnp.log(jnp.asarray(tau_ref / dt, u.dtype)))
