"""The time of an event as a function of everything that it depends on."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from eventprop.adjoint import Implicit


@eqx.filter_custom_jvp
def event_time(
    time: Float[Array, "..."],
    args: Any,
    unit: Float[Array, "..."],
    *,
    guard: Callable[[Array, Any], Array],
    finite: Bool[Array, "..."],
    adjoint: Implicit,
) -> Float[Array, "..."]:
    """The time t at which guard(t, args) = 0, which was found to be `time`, differentiable in `args`.

    `guard` is taken along the flow before the event. By the implicit function theorem

        dt = - (dg at fixed t) / (dg/dt),

    where g is the guard at the returned time, which follows `args` too: so second derivatives are right as well.
    Nothing follows the number `time` itself, except in a `lax.scan`, which drops this rule (jax 0.10.2 still does) from
    what it saves for reverse mode: for second derivatives there, `time` has to follow `args`. Slopes are judged per
    `unit` of time (`AbstractTangential`); `finite`: whether there is an event at all.
    """
    del args, unit, guard, finite, adjoint
    return time


@event_time.def_jvp
def _event_time_jvp(primals, tangents, *, guard, finite, adjoint):
    time, args, unit = primals
    _, d_args, _ = tangents
    t = event_time(time, args, unit, guard=guard, finite=finite, adjoint=adjoint)
    perturbed = eqx.filter(args, jax.tree.map(lambda d: d is not None, d_args, is_leaf=lambda d: d is None))
    if not jax.tree.leaves(perturbed):
        return t, jnp.zeros_like(t)
    _, d_guard = jax.jvp(lambda perturbed: guard(t, eqx.combine(perturbed, args)), (perturbed,), (d_args,))
    _, slope = jax.jvp(lambda t: guard(t, args), (t,), (jnp.ones_like(t),))
    return t, -d_guard * adjoint.tangential.reciprocal(slope * unit, finite) * unit


def event_delay(
    args: Any,
    unit: Float[Array, "..."],
    *,
    guard: Callable[[Array, Any], Array],
    finite: Bool[Array, "..."],
    adjoint: Implicit,
) -> Float[Array, "..."]:
    """How much later than a fixed time guard(delay, args) is zero: 0, with the first and second derivatives in `args`.

    The same as `event_time`, written out, for the body of a `lax.scan`, which drops rules such as that of `event_time`
    when it is differentiated again after reverse mode: a Newton step from 0, and what is left of the guard after it,

        delay = d - r / g',    d = -g / g',    r = g(d) - g - g' d.
    """
    zero = jnp.zeros_like(unit)
    value, slope = jax.jvp(lambda delay: guard(delay, args), (zero,), (jnp.ones_like(zero),))
    per_slope = adjoint.tangential.reciprocal(slope * unit, finite) * unit
    step = -(value - jax.lax.stop_gradient(value)) * per_slope
    return step - (guard(step, args) - value - slope * step) * per_slope
