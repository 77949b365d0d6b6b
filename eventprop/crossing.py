"""The first threshold crossing of a membrane that moves freely for a while.

All potentials here are relative to the bias: v = V - bias, and `threshold` is what v has to reach.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

from eventprop.closed_form import Membrane
from eventprop.loops import anywhere


def decisive_moment(
    membrane: Membrane, threshold: Array, v: Array, i: Array, duration: Array, leak: Array, decay: Array
) -> tuple[Array, Array]:
    """The moment in [0, duration] that decides whether a membrane crosses its threshold then, and v - threshold there.

    Of all trajectories that start below threshold with current `i`, one just touches the threshold. It does so at a
    time that depends on `i` alone, because V' = 0 means I = V: at tau_syn ln(i / threshold), or at the end of the
    interval where that comes first. Trajectories are ordered by their initial potential, so any other one crosses if
    and only if it is at or above threshold at that same moment. For threshold <= 0 (bias at or above the threshold) a
    trajectory that has crossed stays above, and the end decides. `leak` and `decay` are those of `duration`.
    """
    reachable = threshold > 0
    drive = jnp.where((i > threshold) & reachable, i / jnp.where(reachable, threshold, 1), 1)
    touching = membrane.tau_syn * jnp.log(drive)
    inside = (touching < duration) & reachable
    moment = jnp.where(inside, touching, duration)
    # Where the threshold is touched, I has decayed to it.
    leak, decay = jnp.where(inside, membrane.leak(touching), leak), jnp.where(inside, 1 / drive, decay)
    return moment, v * leak + i * membrane.response(moment, leak, decay) - threshold


def crossing_time(
    membrane: Membrane, threshold: Array, v: Array, i: Array, decisive: Array, needed: Bool[Array, "..."]
) -> Array:
    """First t in [0, decisive] at which v(t) = threshold, for trajectories that do cross (`needed`; others: anything).

    `decisive` is the `decisive_moment`, when they are above the threshold. Each turn solves the parabola through
    value, slope and curvature. Below a threshold above the bias the rising piece is concave, and two or three turns
    reach rounding, near tangency too. The first two are taken on trust; then steps that leave the bracket, as with a
    bias near or above the threshold, are replaced by bisection. A step is the last one if the cubic term that it
    neglects is below rounding.
    """
    eps = jnp.finfo(v.dtype).eps
    ratio = membrane.tau_mem / membrane.tau_syn
    end = jnp.maximum(decisive, 0)

    def parabola(t):
        """How far v is above the threshold at t, the step to it, and the errors of v by rounding and after the step."""
        leak, decay, response = membrane.propagator(t)
        left, driven, i_t = v * leak, i * response, i * decay
        error, (slope, curvature, third) = left + driven - threshold, _derivatives(ratio, left + driven, i_t)
        step = _first_root(error, slope, curvature)
        rounding = 4 * eps * (jnp.abs(left) + jnp.abs(driven) + jnp.abs(threshold))
        return error, membrane.tau_mem * step, rounding, jnp.abs(third * step * step * step) / 6

    def turn(carry):
        t, low, high, converged, count = carry
        bracketing = count >= 2
        error, step, rounding, neglected = parabola(t)
        low, high = jnp.where(bracketing & (error < 0), t, low), jnp.where(bracketing & ~(error < 0), t, high)
        close = bracketing & (jnp.abs(error) <= rounding)
        # XLA may compute `error` twice with different rounding, so at the root the bracket's sign is not to be trusted.
        inside = (t + step >= low) & (t + step <= high)
        other = jnp.where(bracketing, jnp.where(close, t, (low + high) / 2), high)
        last = close | (inside & (neglected <= rounding)) | (high - low <= eps * high)
        return jnp.where(converged, t, jnp.where(inside, t + step, other)), low, high, converged | last, count + 1

    def unfinished(carry):
        return anywhere(~carry[3]) & (carry[4] < 62)

    # At the start the derivatives are free. In y = 1 - exp(-t/tau_mem) the parabola is a better guess than in t.
    slope, curvature, _ = _derivatives(ratio, v, i)
    y = _first_root(v - threshold, slope, slope + curvature)
    guess = -membrane.tau_mem * jnp.log(jnp.maximum(1 - y, 0))
    guess = jnp.where((guess >= 0) & (guess <= end), guess, end)
    return lax.while_loop(unfinished, turn, (guess, jnp.zeros_like(end), end, ~needed, 0))[0]


def _derivatives(ratio: Array, v: Array, i: Array) -> tuple[Array, Array, Array]:
    """The first three of v with respect to t / tau_mem; `ratio` is tau_mem / tau_syn."""
    slope = i - v
    curvature = -ratio * i - slope
    return slope, curvature, ratio * ratio * i - curvature


def _first_root(error: Array, slope: Array, curvature: Array) -> Array:
    """The step to the earlier root of a concave parabola, or to its top, in the form in which nothing cancels."""
    root = jnp.sqrt(jnp.maximum(slope * slope - 2 * error * curvature, 0))
    denominator = jnp.where(slope > 0, slope + root, curvature)
    denominator = jnp.where(denominator == 0, jnp.finfo(error.dtype).tiny, denominator)
    return jnp.where(slope > 0, -2 * error, root - slope) / denominator
