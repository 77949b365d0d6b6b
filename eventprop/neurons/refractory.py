"""Refractory periods: the phase of a neuron after its spike, and the clock that ends it."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from eventprop.parameters import Parameter, all_positive, check_positive


class FiresOnce(eqx.Module):
    """A refractory period without end: after its first spike a neuron is silent for good, as first-spike codes want it.

    A neuron that is known to fire once costs less than one whose refractory period happens to be infinite.
    """


Refractory = Parameter | FiresOnce | None
"""A duration; for good; or no refractory period at all."""


def check_refractory(refractory: Any) -> None:
    """Raise ValueError for what is no refractory period."""
    if isinstance(refractory, type):
        raise ValueError(f"refractory must be a number, None or FiresOnce(), but is {refractory!r}.")
    if has_end(refractory):
        check_positive("refractory", refractory, "use None for no refractory period")


def has_end(refractory: Refractory) -> bool:
    """Whether there is a refractory period, with an end that is an event."""
    return not (refractory is None or isinstance(refractory, FiresOnce))


def positive_period(refractory: Refractory) -> Bool[Array, ""]:
    """Whether the duration is positive (what only values can tell)."""
    return all_positive(refractory) if has_end(refractory) else jnp.asarray(True)


def in_phase(
    refractory: Refractory,
    left: Float[Array, " neurons"],
    held: Float[Array, " neurons"],
    idle: Bool[Array, " neurons"],
) -> Bool[Array, " neurons"]:
    """Whether each neuron is free, or held for the time that is left and `idle` then."""
    # An integrator that stops where a period ends may have gone beyond that by rounding.
    period = 0.0 if refractory is None or isinstance(refractory, FiresOnce) else refractory
    beyond = -jnp.sqrt(jnp.finfo(left.dtype).eps) * jnp.asarray(period, left.dtype)
    waits = (held == 1) & (left >= beyond) & idle
    return waits | ((held == 0) & (left == 0))


def hold(
    refractory: Refractory, left: Float[Array, " neurons"], held: Float[Array, " neurons"]
) -> tuple[Float[Array, " neurons"], Float[Array, " neurons"]]:
    """(time left, phase) right after a spike; neurons that fire once have no clock."""
    if refractory is None:
        return left, held
    duration = 0.0 if isinstance(refractory, FiresOnce) else refractory
    return jnp.broadcast_to(jnp.asarray(duration, left.dtype), left.shape), jnp.ones_like(held)


def tick(refractory: Refractory, held: Float[Array, " neurons"]) -> Float[Array, " neurons"]:
    """d(time left)/dt: the clock of a held neuron runs down."""
    return jnp.zeros_like(held) if isinstance(refractory, FiresOnce) else -held


def release_guard(left: Float[Array, " neurons"], held: Float[Array, " neurons"]) -> Float[Array, " neurons"]:
    """The guard of the period's end: below zero where nobody is held, since a clock at 0 is not about to ring."""
    return held - 1 - left
