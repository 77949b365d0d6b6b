"""The first event within one step of an integrator."""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from eventprop.loops import anywhere
from eventprop.solvers.dynamics import Dynamics


def tolerance_of(dtype: Any, largest_step: Any) -> Float[Array, ""]:
    """The time within which events are simultaneous: errors of their times are of its square."""
    return jnp.asarray(largest_step, dtype) * jnp.finfo(dtype).eps ** (2 / 3)


def first_event(
    dynamics: Dynamics,
    watched: Bool[Array, " guards"],
    interpolate: Any,
    t: Float[Array, ""],
    h: Float[Array, ""],
    ends: tuple[tuple[Array, Array], tuple[Array, Array]],
    tolerance: Float[Array, ""],
    active: Bool[Array, ""],
) -> Float[Array, ""]:
    """A time in [0, h] at which a guard has just become positive; `inf` if none does within the step.

    interpolate(s) -> the state a time s into the step that begins at t; ends: guards and slopes at its two ends.

    A guard that is positive at the end has crossed. One that rises at the beginning and falls at the end had a
    maximum, which is looked for where the tangents at both ends meet above zero: they enclose whatever bends one way.
    So a crossing is missed only if a guard bends both ways and rises and falls again within one step.
    """
    if watched.size == 0:  # readouts alone
        return jnp.full_like(h, jnp.inf)
    (g0, slope0), (g1, slope1) = ends
    turns = slope0 - slope1
    meet = (g1 - g0 - slope1 * h) / jnp.where(turns > 0, turns, 1)
    highest = g0 + slope0 * meet
    hidden = watched & active & (g1 < 0) & (slope0 > 0) & (slope1 < 0) & (highest >= 0)
    end_hit = active & jnp.any(watched & (g1 >= 0))
    peak, peak_hit = _hidden_maximum(dynamics, watched, interpolate, t, h, hidden & ~end_hit, highest)
    hit = end_hit | peak_hit
    found = _bisect(dynamics, watched, interpolate, t, jnp.where(peak_hit, peak, h), hit, tolerance)
    return jnp.where(hit, found, jnp.inf)


def _hidden_maximum(dynamics, watched, interpolate, t, h, hidden, highest):
    """The maximum of some guard within the step, if it lies above zero."""

    def one_guard(carry):
        hidden, _, _ = carry
        guard = jnp.argmax(jnp.where(hidden, highest, -jnp.inf))

        def halve(_, bracket):
            low, high = bracket
            middle = (low + high) / 2
            rises = dynamics.guards_and_slopes(t + middle, interpolate(middle))[1][guard] > 0
            return jnp.where(rises, middle, low), jnp.where(rises, high, middle)

        # A maximum is flat: half of the digits of its place are enough for all of its height.
        low, high = lax.fori_loop(0, jnp.finfo(h.dtype).nmant // 2 + 2, halve, (jnp.zeros_like(h), h))
        peak = (low + high) / 2
        above = jnp.any(watched & (dynamics.guards(t + peak, interpolate(peak)) >= 0)) & jnp.any(hidden)
        return hidden & ~above & (jnp.arange(hidden.shape[0]) != guard), peak, above

    def proceed(carry):
        # Members of a batch that have found one keep it: they are hidden from the others' turns.
        hidden, peak, above = carry
        left, new_peak, new_above = one_guard(carry)
        busy = jnp.any(hidden)
        return left, jnp.where(busy, new_peak, peak), jnp.where(busy, new_above, above)

    start = (hidden, h, jnp.zeros((), bool))
    _, peak, above = lax.while_loop(lambda carry: anywhere(jnp.any(carry[0])), proceed, start)
    return peak, above


def _bisect(dynamics, watched, interpolate, t, high, hit, tolerance):
    """Where the largest guard crosses zero, between 0 and `high`; the positive side of the last bracket."""

    def proceed(bracket):
        low, high = bracket
        middle = (low + high) / 2
        positive = jnp.any(watched & (dynamics.guards(t + middle, interpolate(middle)) >= 0))
        return jnp.where(positive, low, middle), jnp.where(positive, middle, high)

    def wide(bracket):
        low, high = bracket
        middle = (low + high) / 2
        return anywhere(hit & (high - low > tolerance / 4) & (low < middle) & (middle < high))

    return lax.while_loop(wide, proceed, (jnp.zeros_like(high), high))[1]


def imminent(guards: Array, slopes: Array, tolerance: Float[Array, ""]) -> Bool[Array, " guards"]:
    """Who is at its event: above zero, or as near to it as it rises within the tolerance."""
    return (guards >= 0) | (guards + jnp.maximum(slopes, 0) * tolerance >= 0)


def until(guards: Array, slopes: Array) -> Array:
    """How long until each guard is zero, by its tangent (0 where it does not rise)."""
    return jnp.where(slopes > 0, -guards / jnp.where(slopes > 0, slopes, 1), 0)
