"""The first threshold crossing of a membrane that moves freely for a while.

All potentials here are relative to the bias: v = V - bias, and `threshold` is what v has to reach.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

from eventprop.closed_form import Membrane


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
    membrane: Membrane, threshold: Array, v: Array, i: Array, end: Array, needed: Bool[Array, "..."]
) -> Array:
    """First t in [0, end] at which v(t) = threshold, for trajectories that do cross (`needed`; others return 0).

    Each step solves the parabola through value, slope and curvature. Below a threshold above the bias the rising piece
    is concave, and from the parabola through the maximum three steps reach float32 and four float64 precision, near
    tangency too. The loop after them is for what is left, such as a bias near or above the threshold; steps that leave
    the bracket are replaced by bisection.
    """
    eps = jnp.finfo(v.dtype).eps

    def step(t, low, high):
        leak, decay, response = membrane.propagator(t)
        left, driven, i_t = v * leak, i * response, i * decay
        v_t = left + driven
        error = v_t - threshold
        slope = (i_t - v_t) / membrane.tau_mem
        curvature = (-i_t / membrane.tau_syn - slope) / membrane.tau_mem
        low, high = jnp.where(error < 0, t, low), jnp.where(error < 0, high, t)
        root = jnp.sqrt(jnp.maximum(slope * slope - 2 * error * curvature, 0))
        proposal = t - 2 * error / _nonzero(slope + root)
        rounding = 4 * eps * (jnp.abs(left) + jnp.abs(driven) + jnp.abs(threshold))
        close = jnp.abs(error) <= rounding
        # XLA may compute `error` twice with different rounding, so at the root the bracket's sign is not to be trusted.
        outside = jnp.where(close, t, (low + high) / 2)
        proposal = jnp.where((proposal >= low) & (proposal <= high), proposal, outside)
        converged = close | (jnp.abs(proposal - t) <= 2 * eps * t)
        return (proposal, low, high), converged

    start, high = _start(membrane, threshold, v, i, end)
    bracket, converged = (start, jnp.zeros_like(high), high), jnp.zeros_like(needed)
    for _ in range(3 if v.dtype == jnp.float32 else 4):
        bracket, converged = step(*bracket)

    def polish(carry):
        bracket, _, count = carry
        bracket, converged = step(*bracket)
        return bracket, converged | ~needed, count + 1

    def unfinished(carry):
        return ~jnp.all(carry[1]) & (carry[2] < 60)

    return lax.while_loop(unfinished, polish, (bracket, converged | ~needed, 0))[0][0]


def _start(membrane: Membrane, threshold: Array, v: Array, i: Array, end: Array) -> tuple[Array, Array]:
    """Where the search begins, and a time by which the crossing has happened."""
    peak = _peak_time(membrane, v, i)
    has_peak = (threshold > 0) & jnp.isfinite(peak)
    peak = jnp.where(has_peak, peak, 0)
    height = i * membrane.decay(peak)  # at the maximum V = I
    above = jnp.maximum(height - threshold, 0)
    parabola = peak - jnp.sqrt(2 * above * membrane.tau_mem * membrane.tau_syn / _nonzero(height))
    high = jnp.where(has_peak, jnp.minimum(end, peak), end)
    return jnp.where(has_peak, jnp.clip(parabola, 0, high), 0), high


def _peak_time(membrane: Membrane, v: Array, i: Array) -> Array:
    """When the free trajectory is highest (inf: it has no maximum ahead); for positive currents."""
    x = 1 - v / _nonzero(i)
    y = (1 / membrane.tau_syn - 1 / membrane.tau_mem) * membrane.tau_syn * x
    exists = (i > 0) & (x > 0) & (y < 1)
    y = jnp.where(exists, y, 0)
    small = jnp.abs(y) < 1e-3
    stretch = jnp.where(small, 1 + y / 2 + y * y / 3, -jnp.log1p(-y) / jnp.where(small, 1, y))
    return jnp.where(exists, membrane.tau_syn * x * stretch, jnp.inf)


def _nonzero(x: Array) -> Array:
    return jnp.where(x == 0, jnp.finfo(x.dtype).tiny, x)
