"""How errors act back on the membranes whose rates they judge: not at all, or at every moment (Eq. 6)."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from gle.arrays import as_number
from gle.results import raise_if

Errors = tuple[Float[Array, "... _"], ...]
RootFinder = (
    optimistix.AbstractRootFinder
    | optimistix.AbstractFixedPointSolver
    | optimistix.AbstractLeastSquaresSolver
    | optimistix.AbstractMinimiser
)


class AbstractCoupling(eqx.Module):
    """gamma, and how the errors of a moment are found."""

    gamma: eqx.AbstractVar[float | Float[Array, ""]]
    """By how much errors enter the membranes, gamma e in Eq. 6."""

    @abc.abstractmethod
    def settle(self, sweep: Callable[[Errors], Errors], guess: Errors, throw: bool) -> Errors | None:
        """The errors e that act on the membranes, of which `sweep` gives e anew; None: none act."""


class Decoupled(AbstractCoupling):
    """gamma = 0: errors do not act on the membranes, so one sweep up and one sweep down give all signals."""

    gamma: ClassVar[float] = 0.0

    def settle(self, sweep: Callable[[Errors], Errors], guess: Errors, throw: bool) -> None:
        return None


class Coupled(AbstractCoupling):
    """Errors and rates depend on each other at every moment: e = sweep(e) is solved for e.

    - `gamma`: the coupling.
    - `root_finder`: any root finder or fixed-point iteration of optimistix; by default `DampedNewton` with 100 times
        the machine's precision as tolerances. (`optimistix.FixedPointIteration` has the gain
        -beta gamma phi'^2 at the output: it cannot settle beyond 1.)

    Derivatives are those of the solution (implicit function theorem), whatever finds it. Where a sample has no
    solution, `settle` raises, or with throw=False gives NaN for that sample.
    """

    gamma: float | Float[Array, ""] = eqx.field(converter=lambda value: as_number("gamma", value))
    root_finder: RootFinder | None = None

    def settle(self, sweep: Callable[[Errors], Errors], guess: Errors, throw: bool) -> Errors:
        return common_solution(sweep, guess, self.root_finder, throw)


def common_solution(
    sweep: Callable[[Errors], Errors], guess: Errors, root_finder: RootFinder | None, throw: bool
) -> Errors:
    """x = sweep(x), solved from `guess` for each sample; arguments and errors as in `Coupled`."""
    join, split = _side_by_side(guess)
    finder = root_finder
    if finder is None:
        # Errors are differences of potentials times tau_m / tau_r, so their last digits never come to rest.
        tolerance = 100 * float(jnp.finfo(guess[0].dtype).eps)
        finder = DampedNewton(tolerance, tolerance)

    def residual(errors: Array) -> Array:
        return join(sweep(split(errors))) - errors

    def solve(residual, guess):
        found = optimistix.fixed_point(
            lambda errors, _: errors + residual(errors), finder, guess, max_steps=1000, throw=False
        )
        return found.value

    def solve_tangent(linear, right):
        matrix = _matrix_of_each_sample(linear, right)
        return jnp.linalg.solve(matrix, right[..., None])[..., 0]

    errors = lax.custom_root(residual, join(guess), solve, solve_tangent)
    allowed = 10 * (finder.atol + finder.rtol * _largest(errors))  # pyright: ignore[reportOptionalMemberAccess]
    settled = lax.stop_gradient(_largest(residual(errors)) <= allowed)
    if throw:
        errors = raise_if(errors, ~settled, _UNSETTLED)
    return split(jnp.where(settled[..., None], errors, jnp.nan))


_UNSETTLED = (
    "Rates and errors found no common solution: with errors that act on the membranes (gle.Coupled), or with loops of "
    "synapses (gle.Graph), there is none, or it is too far away. Lower gamma or beta, use gle.Decoupled(), or make the "
    "recurrent weights smaller."
)


class _Progress(NamedTuple):
    """Of each sample: the residual where the search stands, the least so far, the turns since then, and the state."""

    residual: Float[Array, "*batch unknowns"]
    least: Float[Array, "*batch"]
    turns: Int[Array, "*batch"]
    arrived: Bool[Array, "*batch"]


class DampedNewton(optimistix.AbstractRootFinder):
    """Newton's method with a line search, for many small systems side by side: [*batch, unknowns].

    Where repeating the function halves all residuals, a turn is that repetition, which costs no Jacobian. Otherwise
    each sample goes the fraction 1, 1/2, ..., 2^-13 of Newton's step after which its residual is smallest, even if it
    grows. A sample whose residual has had no new minimum for `PATIENCE` turns, or is NaN, is given up. Samples do not
    depend on each other, so the Jacobian takes as many products as one sample has unknowns.

    rtol, atol: a sample has arrived when its residual is at most atol + rtol max |y|.
    """

    rtol: float
    atol: float
    norm: Callable[[PyTree], Array] = eqx.field(default=optimistix.max_norm, static=True)

    def init(self, fn: Any, y: Array, args: Any, options: Any, f_struct: Any, aux_struct: Any, tags: Any) -> _Progress:
        residual = fn(y, args)[0]
        return _Progress(
            residual, _length(residual), jnp.zeros(y.shape[:-1], jnp.int32), self._has_arrived(residual, y)
        )

    def step(self, fn: Any, y: Array, args: Any, options: Any, state: _Progress, tags: Any):
        idle = state.arrived | _given_up(state)

        def newton():
            _, linear = jax.linearize(lambda y: fn(y, args)[0], y)
            step = -jnp.linalg.solve(_matrix_of_each_sample(linear, y), state.residual[..., None])[..., 0]
            tried = jnp.stack([y + fraction * step for fraction in (2.0**-power for power in range(14))])
            sizes = jax.vmap(lambda y: _length(fn(y, args)[0]))(tried)
            best = jnp.argmin(jnp.where(jnp.isfinite(sizes), sizes, jnp.inf), axis=0)
            return jnp.take_along_axis(tried, best[None, ..., None], axis=0)[0]

        repeated = y + state.residual
        halves = jnp.all(idle | (_length(fn(repeated, args)[0]) <= _length(state.residual) / 2))
        moved = lax.cond(halves, lambda: repeated, newton)
        # A step from a singular point leads nowhere.
        stay = idle | ~jnp.all(jnp.isfinite(moved), axis=-1)
        new = jnp.where(stay[..., None], y, moved)
        residual, aux = fn(new, args)
        size = _length(residual)
        turns = jnp.where(size < state.least, 0, state.turns + 1)
        return new, _Progress(residual, jnp.fmin(size, state.least), turns, self._has_arrived(residual, new)), aux

    def terminate(self, fn: Any, y: Array, args: Any, options: Any, state: _Progress, tags: Any):
        return jnp.all(state.arrived | _given_up(state)), optimistix.RESULTS.successful

    def postprocess(self, fn, y, aux, args, options, state, tags, result):
        return y, aux, {}

    def _has_arrived(self, residual: Array, y: Array) -> Array:
        return _largest(residual) <= self.atol + self.rtol * _largest(y)


PATIENCE = 30
"""Turns without a new least residual after which a search is given up."""


def _given_up(state: _Progress) -> Bool[Array, "*batch"]:
    return (state.turns >= PATIENCE) | jnp.isnan(_length(state.residual))


def _side_by_side(errors: Errors) -> tuple[Callable[[Errors], Array], Callable[[Array], Errors]]:
    """From one array per layer to one for all, and back."""
    bounds = np.cumsum([error.shape[-1] for error in errors])[:-1]
    return lambda errors: jnp.concatenate(errors, axis=-1), lambda x: tuple(jnp.split(x, bounds, axis=-1))


def _matrix_of_each_sample(
    linear: Callable[[Array], Array], like: Float[Array, "*batch n"]
) -> Float[Array, "*batch n n"]:
    """The matrices of a linear map that does not mix samples."""
    basis = jnp.eye(like.shape[-1], dtype=like.dtype)
    columns = jax.vmap(lambda direction: linear(jnp.broadcast_to(direction, like.shape)))(basis)
    return jnp.moveaxis(columns, 0, -1)


def _largest(x: Float[Array, "*batch n"]) -> Float[Array, "*batch"]:
    return jnp.max(jnp.abs(x), axis=-1)


def _length(x: Float[Array, "*batch n"]) -> Float[Array, "*batch"]:
    return jnp.sqrt(jnp.sum(x * x, axis=-1))
