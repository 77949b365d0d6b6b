"""Boltzmann distributions by enumeration, and how far samples are from them (Gierlich et al., section 4.3)."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from sal._mesh import error_if
from sal._numbers import as_count, as_float

LARGEST = 20
"""So many units are enumerated at most: 2^20 states."""


class Moments(eqx.Module):
    """The correlations <z_i z_j>, with zeros on the diagonal, and the mean activities <z_i>."""

    weight: Float[Array, "*batch units units"]
    bias: Float[Array, "*batch units"]


class Boltzmann(eqx.Module):
    """p(z) = exp(z^T W z / 2 + b^T z) / Z over binary z (Eqs. 3, 29, 30).

    Raises `ValueError` if weights or biases are not finite, or the weights are not symmetric or have a diagonal (where
    values are known), or for more than 20 units.
    """

    weight: Float[Array, "_rows _columns"]
    bias: Float[Array, " units"]

    def __init__(self, weight: Float[ArrayLike, "_rows _columns"], bias: Float[ArrayLike, " units"]):
        _check(weight, bias)
        self.weight, self.bias = as_float("Boltzmann: weight", weight), as_float("Boltzmann: bias", bias)

    @property
    def states(self) -> Int[Array, "states units"]:
        """All z, in the order of `state_index`."""
        return all_states(len(self.bias))

    def log_probabilities(self) -> Float[Array, " states"]:
        """ln p(z) of every state."""
        z = self.states.astype(self.bias.dtype)
        return jax.nn.log_softmax(0.5 * jnp.sum((z @ self.weight) * z, axis=1) + z @ self.bias)

    def probabilities(self) -> Float[Array, " states"]:
        """p(z) of every state."""
        return jnp.exp(self.log_probabilities())

    def moments(self) -> Moments:
        """What the wake phase would measure: the correlations and activities under p."""
        return distribution_moments(self.probabilities())


def all_states(units: int) -> Int[Array, "states units"]:
    """All binary vectors, of at most 20 units; the first unit is the highest digit of a state's number."""
    units = as_count("all_states: units", units, 0)
    if units > LARGEST:
        raise ValueError(f"all_states: at most {LARGEST} units can be enumerated, got {units}")
    return jnp.asarray(np.arange(2**units)[:, None] >> np.arange(units)[::-1] & 1, jnp.int32)


def state_index(z: Bool[Array, "*batch units"]) -> Int[Array, "*batch"]:
    """The number of a state among all states."""
    z = jnp.asarray(z)
    digits = 2 ** jnp.arange(z.shape[-1] - 1, -1, -1, dtype=jnp.int32)
    return jnp.sum(z * digits.reshape((1,) * (z.ndim - 1) + (-1,)), axis=-1)


def distribution_moments(probabilities: Float[Array, " states"]) -> Moments:
    """Correlations and activities under any distribution over all states.

    Raises an error if probabilities are negative or do not sum to one (to 1e-4).
    """
    probabilities = as_float("distribution_moments: probabilities", probabilities)
    units = _units(probabilities)
    wrong = jnp.any(probabilities < 0) | ~(jnp.abs(jnp.sum(probabilities) - 1) < 1e-4)
    probabilities = error_if(
        probabilities, wrong, "distribution_moments: probabilities must not be negative and must sum to one; normalise"
    )
    z = all_states(units).astype(probabilities.dtype)
    correlations = (z * probabilities[:, None]).T @ z
    return Moments(correlations * (1 - jnp.eye(units)), probabilities @ z)


def marginal(probabilities: Float[Array, " states"], visible: int) -> Float[Array, " visible_states"]:
    """The distribution of the first `visible` units."""
    probabilities = as_float("marginal: probabilities", probabilities)
    units, visible = _units(probabilities), as_count("marginal: visible", visible, 0)
    if not 1 <= visible <= units:
        raise ValueError(f"marginal: visible must be between 1 and {units}, got {visible}")
    return jnp.sum(probabilities.reshape(2**visible, -1), axis=1)


def kl_divergence(p: Float[Array, " states"], q: Float[Array, " _states"]) -> Float[Array, ""]:
    """D_KL(p || q) = sum_z p ln(p / q) (Eq. 31), in nats.

    States with p = 0 contribute nothing. Where q = 0 and p is not, as in states that samples q never visited, the
    divergence is infinite by definition, and so is the result. It is NaN where p or q has a NaN or a negative number,
    which no distribution has.
    """
    p, q = as_float("kl_divergence: p", p), as_float("kl_divergence: q", q)
    if p.shape != q.shape:
        raise ValueError(f"kl_divergence: p and q must have the same shape, got {p.shape} and {q.shape}")
    inside = (p > 0) & (q > 0)
    ratio = jnp.log(jnp.where(inside, p, 1)) - jnp.log(jnp.where(inside, q, 1))
    divergence = jnp.where(jnp.any((p > 0) & (q == 0)), jnp.inf, jnp.sum(jnp.where(inside, p, 0) * ratio))
    return jnp.where(jnp.all(p >= 0) & jnp.all(q >= 0), divergence, jnp.nan)


def _check(weight: Any, bias: Any) -> None:
    units = np.shape(bias)
    if len(units) != 1 or np.shape(weight) != units * 2:
        raise ValueError(
            "Boltzmann: weight and bias must have the shapes [units, units] and [units], "
            f"got {np.shape(weight)} and {units}"
        )
    if units[0] > LARGEST:
        raise ValueError(f"Boltzmann: at most {LARGEST} units can be enumerated, got {units[0]}")
    for name, value in (("weight", weight), ("bias", bias)):
        if not isinstance(value, Tracer) and not np.all(np.isfinite(np.asarray(value, float))):
            raise ValueError(f"Boltzmann: {name} must be finite, got {value}")
    if isinstance(weight, Tracer):
        return
    known = np.asarray(weight, float)
    difference = np.max(np.abs(known - known.T), initial=0)
    if difference > 0:
        raise ValueError(
            f"Boltzmann: the weights must be symmetric, they differ by up to {difference:.3g}; use (W + W.T) / 2"
        )
    if np.any(np.diagonal(known)):
        raise ValueError("Boltzmann: the diagonal of the weights must be zero; put it into the bias as W_ii / 2")


def _units(probabilities: Array) -> int:
    units = int(np.size(probabilities)).bit_length() - 1
    if np.ndim(probabilities) != 1 or np.size(probabilities) != 2**units or units < 1:
        raise ValueError(f"probabilities must hold 2^units numbers, one per state, got shape {np.shape(probabilities)}")
    return units
