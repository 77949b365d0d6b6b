"""Where SAL moves the weights of two neurons, where they rest, and whether they stay there (sections 4.2.2, 4.7)."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, Float

from sal._numbers import as_arrays, as_count, as_float
from sal.connectivity import Recurrent
from sal.kernels import AbstractKernel
from sal.network import Network
from sal.theory import count_lags, count_states, expected_update, steady_state


def phase_plane(
    network: Network,
    w12: Float[Array, " rows"],
    w21: Float[Array, " columns"],
    window: AbstractKernel,
    *,
    dt: float,
    states: int | None = None,
    lags: int | None = None,
) -> Float[Array, "rows columns 2"]:
    """SAL's expected update of (W_12, W_21), per pair of spikes, for all combinations of weights (Figs. 2e, 10c).

    Biases, PSP and the rest are those of `network`. Rows are calculated one after the other, so memory grows with
    the columns only. See `steady_state` for `dt`, `states` and the errors, and `expected_update` for `window`, `lags`.
    """
    states, lags = count_states(network, dt, states), count_lags(window, dt, lags)
    network, window = as_arrays((network, window))
    return _phase_plane(network, window, as_float("w12", w12), as_float("w21", w21), dt, states, lags)


@eqx.filter_jit
def _phase_plane(network, window, w12, w21, dt, states, lags):
    def point(first: Float[Array, ""], second: Float[Array, ""]) -> Float[Array, "2"]:
        return update(network, jnp.stack([first, second]), window, dt=dt, states=states, lags=lags)

    return jax.lax.map(lambda first: jax.vmap(lambda second: point(first, second))(w21), w12)


def update(
    network: Network,
    weights: Float[Array, "2"],
    window: AbstractKernel,
    *,
    dt: float,
    states: int | None = None,
    lags: int | None = None,
) -> Float[Array, "2"]:
    """SAL's expected update of (W_12, W_21), per pair of spikes, where these are `weights`."""
    differences = steady_state(_weighted(network, weights), dt=dt, states=states).differences
    return expected_update(differences, window, lags=lags)


def attractor(
    network: Network,
    w21: Float[Array, " columns"],
    window: AbstractKernel,
    *,
    dt: float,
    states: int | None = None,
    lags: int | None = None,
    bound: float = 16.0,
    tolerance: float = 1e-6,
) -> Float[Array, " columns"]:
    """g(W_21): for each W_21 the W_12 at which SAL rests (section 4.7), to within `tolerance`.

    Found by bisection between -`bound` and `bound`, which always ends where the update falls through zero, a stable
    point; Newton's method would be thrown off by strong weights, where the update saturates, and interpolation would
    depend on a grid. Where SAL drives W_12 beyond the bound, g is infinite: with PSPs about as long as tau_ref there
    need not be a stable point. Derivatives, also with respect to `network`, are those of the implicit function theorem.
    """
    states, lags = count_states(network, dt, states), count_lags(window, dt, lags)
    network, window = as_arrays((network, window))
    return _attractor(network, window, as_float("w21", w21), dt, states, lags, bound, tolerance)


@eqx.filter_jit
def _attractor(network, window, w21, dt, states, lags, bound, tolerance):
    solver = optx.Bisection(rtol=0.0, atol=tolerance, flip=True)
    bracket = {"lower": -bound, "upper": bound}

    def residual(first: Float[Array, ""], arguments: tuple[Network, AbstractKernel, Array]) -> Float[Array, ""]:
        network, window, second = arguments
        return update(network, jnp.stack([first, second]), window, dt=dt, states=states, lags=lags)[0]

    def rest(second: Float[Array, ""]) -> Float[Array, ""]:
        found = optx.root_find(
            residual,
            solver,
            jnp.zeros_like(second),
            (network, window, second),
            options=bracket,
            max_steps=64,
            throw=False,
        ).value
        # Near the bound neighbouring numbers may lie further apart than the tolerance.
        margin = jnp.maximum(2 * tolerance, 8 * jnp.finfo(w21.dtype).eps * bound)
        return jnp.where(jnp.abs(found) > bound - margin, jnp.sign(found) * jnp.inf, found)

    return jax.vmap(rest)(w21)


def relative_deviation(
    w21: Float[Array, " columns"], attractor: Float[Array, " _columns"]
) -> tuple[Float[Array, " columns"], Float[Array, ""]]:
    """delta(W_21) = (W_21 - g) / (W_21 + g) and D, the mean of |delta| over the range of W_21 (Eqs. 39, 40).

    `w21` ascends, `attractor` is g there. The attractor passes through W_21 = g = 0, where delta is 0 / 0 but has a
    limit: there, where |W_21 + g| is below 1e-3 of the largest |W_21|, it is interpolated between its neighbours.
    Where g is infinite, delta is -1, its limit. The integral is by the trapezoidal rule.
    """
    w21, attractor = as_float("w21", w21), as_float("attractor", attractor)
    if w21.shape != attractor.shape or w21.ndim != 1 or w21.size < 2:
        raise ValueError(
            "w21 and attractor must be vectors of one length, of two numbers at least, got the shapes "
            f"{w21.shape} and {attractor.shape}"
        )
    infinite = jnp.isinf(attractor)
    attractor = jnp.where(infinite, 0, attractor)
    total = w21 + attractor
    vanishes = jnp.abs(total) < 1e-3 * jnp.max(jnp.abs(w21))
    delta = jnp.where(infinite, -1, (w21 - attractor) / jnp.where(vanishes, 1, total))
    padded = jnp.pad(delta, 1, mode="edge")
    delta = jnp.where(vanishes & ~infinite, (padded[:-2] + padded[2:]) / 2, delta)
    return delta, jnp.trapezoid(jnp.abs(delta), w21) / (w21[-1] - w21[0])


def relaxation(
    network: Network,
    weights: Float[Array, "2"],
    window: AbstractKernel,
    *,
    dt: float,
    states: int | None = None,
    lags: int | None = None,
) -> Float[Array, ""]:
    """The derivative of SAL's update of W_21 - W_12, per pair of spikes, with respect to W_21 - W_12 at constant sum.

    Where the update vanishes, `weights`, (W_12, W_21), are a stable fixed point if it is negative (section 4.2.2).
    """
    weights = as_float("weights", weights)

    def drift(difference: Float[Array, ""]) -> Float[Array, ""]:
        change = update(network, weights + difference * jnp.array([-0.5, 0.5]), window, dt=dt, states=states, lags=lags)
        return change[1] - change[0]

    return jax.jacfwd(drift)(jnp.zeros((), weights.dtype))


class Deviation(NamedTuple):
    """How the spike-timing differences answer to a change of W_21, per unit of it (Eqs. 21, 28; Fig. 11)."""

    density: Float[Array, " lags"]
    """delta: by how much causal pairs (for W_21) become more probable than anti-causal ones, at each difference."""
    integral: Float[Array, " lags"]
    """Delta: its sum up to there."""


def deviation(
    network: Network, weights: Float[Array, "2"], lags: int, *, dt: float, states: int | None = None
) -> Deviation:
    """delta and Delta at the first `lags` time differences and `weights` (W_12, W_21), as derivatives by W_21."""
    weights, lags = as_float("weights", weights), as_count("lags", lags)

    def asymmetry(second: Float[Array, ""]) -> Float[Array, " lags"]:
        moved = _weighted(network, weights.at[1].set(second))
        anticausal, causal = steady_state(moved, dt=dt, states=states).differences.probabilities(lags)
        return causal - anticausal

    density = jax.jacfwd(asymmetry)(weights[1])
    return Deviation(density, jnp.cumsum(density))


def _weighted(network: Network, weights: Float[Array, "2"]) -> Network:
    zero = jnp.zeros_like(weights[0])
    matrix = jnp.stack([jnp.stack([zero, weights[0]]), jnp.stack([weights[1], zero])])
    return eqx.tree_at(lambda network: network.connectivity, network, Recurrent(matrix))
