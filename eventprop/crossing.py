"""The first threshold crossing of a membrane that moves freely for a while.

All potentials here are relative to the bias: v = V - bias, and `threshold` is what v has to reach.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

from eventprop.closed_form import Membrane
from eventprop.loops import anywhere


def best_moment(membrane: Membrane, threshold: Array, i: Array, duration: Array) -> Array:
    """The moment in [0, duration] that decides whether a membrane crosses its threshold in that time.

    Of all trajectories that start below threshold with current `i`, one just touches the threshold. It does so at a
    time that depends on `i` alone, because V' = 0 means I = V: at tau_syn ln(i / threshold), or at the end of the
    interval where that comes first. Trajectories are ordered by their initial potential, so any other one crosses if
    and only if it is at or above threshold at that same moment. For threshold <= 0 (bias at or above the threshold) a
    trajectory that has crossed stays above, and the end decides.
    """
    drive = jnp.where((i > threshold) & (threshold > 0), i / jnp.where(threshold > 0, threshold, 1), 1)
    touching = jnp.minimum(membrane.tau_syn * jnp.log(drive), duration)
    return jnp.where(threshold > 0, touching, duration)


def crossing_time(
    membrane: Membrane, threshold: Array, v: Array, i: Array, decisive: Array, needed: Bool[Array, "..."]
) -> Array:
    """First t in [0, decisive] at which v(t) = threshold, for trajectories that do cross (`needed`; others: anything).

    `decisive` is the moment of `best_moment`, where they are above the threshold. From there, each step solves the
    parabola through value, slope and curvature. Below a threshold above the bias the rising piece is concave, and three
    or four steps reach rounding, near tangency too. Steps that leave the bracket, as with a bias near or above the
    threshold, are replaced by bisection. A step is the last one if the cubic term that it neglects is below rounding.
    """
    eps = jnp.finfo(v.dtype).eps

    def turn(carry):
        t, low, high, converged, count = carry
        leak, decay, response = membrane.propagator(t)
        left, driven, i_t = v * leak, i * response, i * decay
        v_t = left + driven
        error = v_t - threshold
        slope = (i_t - v_t) / membrane.tau_mem
        curvature = (-i_t / membrane.tau_syn - slope) / membrane.tau_mem
        third = (i_t / (membrane.tau_syn * membrane.tau_syn) - curvature) / membrane.tau_mem
        low, high = jnp.where(error < 0, t, low), jnp.where(error < 0, high, t)
        root = jnp.sqrt(jnp.maximum(slope * slope - 2 * error * curvature, 0))
        # The earlier root of a concave parabola, in the form in which nothing cancels.
        step = jnp.where(slope > 0, -2 * error, root - slope) / _nonzero(jnp.where(slope > 0, slope + root, curvature))
        rounding = 4 * eps * (jnp.abs(left) + jnp.abs(driven) + jnp.abs(threshold))
        close = jnp.abs(error) <= rounding
        # XLA may compute `error` twice with different rounding, so at the root the bracket's sign is not to be trusted.
        inside = (t + step >= low) & (t + step <= high)
        proposal = jnp.where(inside, t + step, jnp.where(close, t, (low + high) / 2))
        last = close | (inside & (jnp.abs(third * step * step * step) <= rounding)) | (high - low <= eps * high)
        return jnp.where(converged, t, proposal), low, high, converged | last, count + 1

    def unfinished(carry):
        return anywhere(~carry[3]) & (carry[4] < 60)

    end = jnp.maximum(decisive, 0)
    return lax.while_loop(unfinished, turn, (end, jnp.zeros_like(end), end, ~needed, 0))[0]


def _nonzero(x: Array) -> Array:
    return jnp.where(x == 0, jnp.finfo(x.dtype).tiny, x)
