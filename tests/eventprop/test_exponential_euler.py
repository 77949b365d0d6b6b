"""The exponential Euler method and midpoint rule: phi, exactness for linear equations, order, and growth."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
from eventprop.solvers.exponential_euler import phi


def test_phi(precision):
    """Values and derivatives on both sides of every switch: the series in 200 terms, in extended precision."""
    x = np.concatenate([-np.geomspace(1e-12, 20, 60), [0.0, -0.03, 0.03], np.geomspace(1e-12, 20, 60)]).astype(
        precision
    )
    value, slope = np.ones(x.size, np.longdouble), np.zeros(x.size, np.longdouble)
    term = np.ones(x.size, np.longdouble)
    for n in range(1, 200):  # x^n / (n + 1)! and n x^(n-1) / (n + 1)!
        slope += term * n / (n + 1)
        term = term * x.astype(np.longdouble) / (n + 1)
        value += term
    eps = np.finfo(precision).eps
    negative = x < -3  # there the series itself cancels
    found, derivative = jax.vmap(jax.value_and_grad(phi))(jnp.asarray(x))
    np.testing.assert_allclose(found, np.where(negative, np.expm1(x) / np.where(x == 0, 1, x), value), rtol=8 * eps)
    np.testing.assert_allclose(derivative[~negative], slope[~negative], rtol=200 * eps)


BOTH = pytest.mark.parametrize("solver", [ep.ExponentialEuler(), ep.ExponentialMidpoint()], ids=["Euler", "midpoint"])


def integrate(solver, field, y0, h, steps):
    """y' = field(t, y) by whole steps."""
    term = diffrax.ODETerm(lambda t, y, args: field(t, y))
    controller = diffrax.ConstantStepSize()
    found = diffrax.diffeqsolve(term, solver, 0.0, h * steps, h, y0, stepsize_controller=controller)
    return jax.tree.map(lambda ys: ys[0], found.ys)


def relax(solver, y0, h, steps, target):
    """y' = -(y - target) / 10 by whole steps."""
    return integrate(solver, lambda t, y: -(y - target(t)) / 10, y0, h, steps)


@BOTH
def test_exact_for_a_linear_equation_at_any_step(x64, solver):
    """Steps of six time constants."""
    y0 = jnp.asarray([1.0, -2.0])
    expected = 0.3 + (np.array([1.0, -2.0]) - 0.3) * np.exp(-12)
    np.testing.assert_allclose(relax(solver, y0, 60.0, 2, lambda t: 0.3), expected, rtol=1e-14)


@BOTH
def test_order(x64, solver):
    """A drive that changes in between costs an error of the method's order."""
    y0, errors = jnp.zeros(1), []
    end, omega = 15.0, 0.3
    s, c = np.sin(omega * end), np.cos(omega * end)
    expected = (s - 10 * omega * c + 10 * omega * np.exp(-end / 10)) / (1 + (10 * omega) ** 2)
    for steps in (200, 400):
        errors.append(float(relax(solver, y0, end / steps, steps, lambda t: jnp.sin(omega * t))[0]) - expected)
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), solver.order(None), atol=0.03)


def test_order_of_the_midpoint_rule_where_components_are_not_linear(x64):
    """x' = -x y, y' = x y with x + y = 1, logistic: J is the diagonal alone, and depends on the state."""
    y0, errors = {"x": jnp.asarray([0.9]), "y": jnp.asarray([0.1])}, []
    for steps in (160, 320):
        found = integrate(
            ep.ExponentialMidpoint(),
            lambda t, s: {"x": -s["x"] * s["y"], "y": s["x"] * s["y"]},
            *(y0, 4.0 / steps, steps),
        )
        errors.append(float(found["y"][0]) - 1 / (1 + 9 * np.exp(-4)))
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), 2, atol=0.03)


@BOTH
def test_growth_is_cut(precision, solver):
    """An upstroke by more than e^30 in one step is finite."""
    term = diffrax.ODETerm(lambda t, y, args: jnp.exp(jnp.minimum(y, 40.0)))
    y, *_ = solver.step(term, 0.0, 1.0, jnp.asarray([39.0]), None, None, False)
    assert np.isfinite(y[0]) and y[0] > 1e20
