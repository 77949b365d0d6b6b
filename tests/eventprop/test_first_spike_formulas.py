"""First spikes where they have a formula: Lambert's W at equal time constants, roots of polynomials at 2:1 and 4:1.

A spike depends on the inputs before it alone: it is the first solution, over prefixes of the inputs, that lies before
the next input (Goeltz et al. 2021).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import eventprop as ep


def lambert(weights, times, tau):
    """tau_mem = tau_syn: t = tau (b / a - W0(-e^(b/a) / a)), sums from the last input on so that nothing overflows."""
    grown = np.exp((times - times[-1]) / tau)
    a, b = np.sum(weights * grown), np.sum(weights * (times - times[-1]) / tau * grown)
    argument = -np.exp(b / a) / a
    return (
        np.inf
        if a <= 0 or argument < -np.exp(-1)
        else times[-1] + tau * (b / a - scipy.special.lambertw(argument).real)
    )


def quadratic(weights, times, tau):
    """tau_mem = 2 tau_syn = 2 tau: a2 x - a1 x^2 = 1 with x = e^(-t / 2 tau)."""
    a1, a2 = (np.sum(weights * np.exp((times - times[-1]) / (k * tau))) for k in (1, 2))
    root = a2**2 - 4 * a1
    return np.inf if a1 <= 0 or root < 0 or a2 <= 0 else times[-1] + 2 * tau * np.log(2 * a1 / (a2 + np.sqrt(root)))


def quartic(weights, times, tau):
    """tau_mem = 4 tau_syn = 4 tau: a4 x - a1 x^4 = 3 with x = e^(-t / 4 tau): the largest root up to 1 comes first."""
    a1, a4 = (np.sum(weights * np.exp((times - times[-1]) / (k * tau))) for k in (1, 4))
    roots = np.roots([-a1, 0, 0, a4, -3.0])
    real = roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > 0) & (roots.real <= 1)]
    return times[-1] - 4 * tau * np.log(np.max(real)) if real.size else np.inf


def first_spike(formula, weights, times, tau):
    for k in range(1, len(times) + 1):
        t = formula(weights[:k], times[:k], tau)
        if times[k - 1] <= t < (times[k] if k < len(times) else np.inf):
            return t
    return np.inf


@jax.jit
@jax.vmap
def exact(weights, times, taus):
    network = ep.FeedForward([(ep.Dense(weights[None]), ep.LIF(taus[0], taus[1], refractory=ep.FiresOnce()))])
    spikes = ep.Spikes(times, jnp.arange(times.shape[0]))
    return ep.simulate(network, spikes, jnp.inf, solver=ep.Exact(max_spikes=1), throw=False).spikes[0].first()[0]


@jax.jit
@jax.vmap
def slopes(weights, times, taus):
    return jax.grad(lambda weights: exact(weights[None], times[None], taus[None])[0])(weights)


FORMULAS = {"equal": (lambert, 1.0), "two": (quadratic, 2.0), "four": (quartic, 4.0)}


@pytest.mark.parametrize("name", FORMULAS)
def test_exact_finds_the_first_spike_of_the_formula(x64, name):
    """Excitation and inhibition mixed: 60 neurons, some silent; derivatives by differences."""
    formula, ratio = FORMULAS[name]
    rng = np.random.default_rng(8)
    weights, times = rng.normal(1.2, 1.5, (60, 6)), np.sort(rng.uniform(0, 12, (60, 6)))
    taus = np.tile([5.0 * ratio, 5.0], (60, 1))
    expected = np.array([first_spike(formula, w, t, 5.0) for w, t in zip(weights, times, strict=True)])
    fired = np.isfinite(expected)
    assert 10 < np.sum(fired) < 60
    np.testing.assert_allclose(exact(weights, times, taus), expected, rtol=1e-11)
    found = np.asarray(slopes(weights, times, taus))
    np.testing.assert_array_equal(found[~fired], 0)
    for row in np.flatnonzero(fired)[:10]:
        for k in range(6):
            step = 1e-6 * np.eye(6)[k]
            later, sooner = (first_spike(formula, weights[row] + sign * step, times[row], 5.0) for sign in (1, -1))
            np.testing.assert_allclose(found[row, k], (later - sooner) / 2e-6, rtol=1e-5, atol=1e-7)


def test_published_first_spike(x64):
    """Inputs (0, .4, .9) with weights (2, 1.5, 1.2), both time constants 1: the first two cause the spike."""
    weights, times = np.array([[2.0, 1.5, 1.2]]), np.array([[0.0, 0.4, 0.9]])
    taus = np.ones((1, 2))
    np.testing.assert_allclose(exact(weights, times, taus), 0.6744087320, atol=5e-11)
    np.testing.assert_allclose(slopes(weights, times, taus)[0], [-0.29646099, -0.17995341, 0.0], atol=5e-9)
