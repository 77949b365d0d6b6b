"""The exponential midpoint rule for neurons, each of which depends on itself only."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from eventprop.solvers.exponential_euler import AbstractExponential, doubled, phi

STEEP = 2.0
"""What grows by more than exp(2) in a step, the upstroke of a spike, is left to the exponential Euler method."""


class ExponentialMidpoint(AbstractExponential):
    """The exponential midpoint rule, of order 2:

        y_m = y0 + f(y0) phi(J h / 2) h / 2,    y1 = y0 + (f(y_m) - J (y_m - y0)) phi(J h) h.

    J and phi as for `ExponentialEuler`: each component of the state on its own, exact for one that is linear in itself
    while the others stand still, and stable at any step for one that decays. So receptors and leaks are exact, and
    what they do to each other is of second order, at the price of one more evaluation of f. With any J a step differs
    from one of the explicit midpoint rule by O(h^3); with that of a linear part that stays the same, this is an
    exponential Runge-Kutta method (surveyed by Hochbruck & Ostermann, Acta Numerica 19, 2010).

    Where J h > 2 for any component of a neuron, all of its step is one of the exponential Euler method: beyond the peak
    of a spike there is nothing to be right about, and what hears the membrane must not hear its middle there.

    Terms and noise as for `ExponentialEuler`, so that the Ornstein-Uhlenbeck process has its exact distribution.
    """

    def order(self, terms: Any) -> int:
        """2."""
        return 2

    def advance(self, drift: Any, t0: Any, h: Any, y0: Any, args: Any, f: Any, exponents: Any) -> tuple[Any, Any]:
        """See `AbstractExponential`."""
        halves = jax.tree.map(lambda x: phi(x / 2), exponents)
        factors = jax.tree.map(lambda x, half: doubled(x / 2, half), exponents, halves)
        moved = jax.tree.map(lambda f, half: f * (half * h / 2), f, halves)
        middle = drift.vf(t0 + h / 2, jax.tree.map(jnp.add, y0, moved), args)
        steep = _steep(exponents)

        def end(y, f, at_middle, moved, x, factor):
            correction = at_middle - f - x / h * moved
            whole = jnp.expand_dims(steep, tuple(range(steep.ndim, y.ndim)))
            return y + (f + jnp.where(whole, 0, correction)) * (factor * h)

        return jax.tree.map(end, y0, f, middle, moved, exponents, factors), factors


def _steep(exponents: Any) -> Any:
    """Whether any component of a neuron grows too much for the middle of the step to tell anything."""
    leaves = jax.tree.leaves(exponents)
    axes = min(x.ndim for x in leaves)
    each = [jnp.any(x > STEEP, axis=tuple(range(axes, x.ndim))) for x in leaves]
    return functools.reduce(jnp.logical_or, each)
