"""The exponential Euler method for neurons, each of which depends on itself only."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

MOST_GROWTH = 30.0
"""Exponents beyond are cut: what grows by more in a step, at the peak of a spike, stays finite in float32."""


def phi(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """(exp(x) - 1) / x, without cancellation near 0, nor in its derivatives."""
    # A series up to 1/2 and exp beyond: on CPU expm1 is a hyperbolic tangent and an exponential.
    small = jnp.abs(x) < 0.5
    near, far = jnp.where(small, x, 0), jnp.where(small, 1, x)
    series = jnp.ones_like(x)
    for n in range(15 if x.dtype == jnp.float64 else 8, 1, -1):
        series = 1 + near * (1 / n) * series
    # The division comes last, since XLA keeps its result; anything cheaper it would compute again for every use.
    return jnp.where(small, series, jnp.exp(far) - 1) / far


def doubled(x: Float[Array, "..."], once: Float[Array, "..."]) -> Float[Array, "..."]:
    """phi(2 x), where phi(x) is known."""
    return once * (1 + x * once / 2)


class AbstractExponential(diffrax.AbstractItoSolver):
    """What exponential methods have in common: one step from the exponents J h, and the noise at its end."""

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Callable[..., diffrax.LocalLinearInterpolation]] = diffrax.LocalLinearInterpolation

    @abc.abstractmethod
    def advance(self, drift: Any, t0: Any, h: Any, y0: Any, args: Any, f: Any, exponents: Any) -> tuple[Any, Any]:
        """The state after a step of length h without noise, and phi of the exponents J h. f: the field at y0."""

    def strong_order(self, terms: Any) -> float:
        """1, since the noise is additive."""
        return 1.0

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> None:
        """Nothing is carried from step to step."""

    def step(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: Any, made_jump: Any) -> Any:
        """One step."""
        del solver_state, made_jump
        drift, *noise = terms.terms if isinstance(terms, diffrax.MultiTerm) else (terms,)
        h = drift.contr(t0, t1)
        f = drift.vf(t0, y0, args)
        exponents = exponents_of(lambda y: drift.vf(t0, y, args), y0, h)
        y1, factors = self.advance(drift, t0, h, y0, args, f, exponents)
        y1 = with_noise(noise, t0, t1, y0, args, y1, exponents, factors)
        return y1, None, {"y0": y0, "y1": y1}, None, diffrax.RESULTS.successful

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        """f."""
        return terms.vf(t0, y0, args)


class ExponentialEuler(AbstractExponential):
    """y1 = y0 + f(y0) phi(J h) h with phi(x) = (exp(x) - 1) / x: the exponential Euler (Rosenbrock) method, of order 1.

    J is the diagonal of the Jacobian of f, component by component of the state: exact for a component that is linear in
    itself while the others stand still, and stable at any step for one that decays. It takes terms of neurons
    (`AbstractNeuron`), whose f has values [neurons] in each leaf, one neuron independent of the other.

    Noise (`MultiTerm(drift, noise)`, with an amplitude and an increment dW for each value of the state) is that of the
    linearised equation at the end of the step,

        sigma sqrt(phi(2 J h)) dW,

    so the Ornstein-Uhlenbeck process has its exact distribution at any step. Exponents J h are cut at 30.
    """

    def order(self, terms: Any) -> int:
        """1."""
        return 1

    def advance(self, drift: Any, t0: Any, h: Any, y0: Any, args: Any, f: Any, exponents: Any) -> tuple[Any, Any]:
        """See `AbstractExponential`."""
        factors = jax.tree.map(phi, exponents)
        return jax.tree.map(lambda y, f, factor: y + f * (h * factor), y0, f, factors), factors


def with_noise(noise: Any, t0: Any, t1: Any, y0: Any, args: Any, y1: Any, exponents: Any, factors: Any) -> Any:
    """y1 with the noise of the terms `noise`; factors: phi of the exponents."""
    for term in noise:
        y1 = jax.tree.map(
            lambda y, amplitude, dw, x, once: (
                y if amplitude is None else y + amplitude * dw * jnp.sqrt(doubled(x, once))
            ),
            y1,
            term.vf(t0, y0, args),
            term.contr(t0, t1),
            exponents,
            factors,
        )
    return y1


def exponents_of(field: Callable[[Any], Any], y: Any, h: Any) -> Any:
    """J h, cut: h times the derivative of every component of the field in itself, a product with the Jacobian each."""
    leaves, structure = jax.tree.flatten(y)

    def own(number: int) -> Array:
        def component(leaf):
            moved = [*leaves[:number], leaf, *leaves[number + 1 :]]
            return jax.tree.leaves(field(jax.tree.unflatten(structure, moved)))[number]

        slope = jax.jvp(component, (leaves[number],), (jnp.ones_like(leaves[number]),))[1]
        return jnp.minimum(slope * h, MOST_GROWTH)

    return jax.tree.unflatten(structure, [own(number) for number in range(len(leaves))])
