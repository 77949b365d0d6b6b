"""Natural gradients: right values, Woodbury against the dense matrix, invariance, convergence."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gle
from gle.natural import fisher_moments

N = 100
RATES = np.repeat([10.0, 50.0], N // 2)
VARIANCE = 38.46 * RATES
W = np.full((1, N), 0.15 / N)
X = RATES + np.sqrt(VARIANCE) * np.sin(np.arange(N))


def phi(v):
    return 100 * jax.nn.sigmoid(0.3 * (v - 10))


def step(gradient, weight, mean=RATES, variance=VARIANCE):
    rule = gle.natural_gradient(phi, mean, variance)
    return np.asarray(rule.update(jnp.asarray(gradient), rule.init(weight), jnp.asarray(weight))[0])


def dense(w):
    e0, e1, e2 = fisher_moments(phi, jnp.asarray(w @ RATES), jnp.asarray(w**2 @ VARIANCE))
    s, spread = np.diag(VARIANCE), VARIANCE * w
    cross = np.outer(RATES, spread)
    return e0 * (s + np.outer(RATES, RATES)) + e1 * (cross + cross.T) + e2 * np.outer(spread, spread)


def test_right_values(x64):
    mean, variance = W[0] @ RATES, W[0] ** 2 @ VARIANCE
    np.testing.assert_allclose([mean, variance], [4.5, 0.259605], rtol=1e-6)
    moments = fisher_moments(phi, jnp.asarray(mean), jnp.asarray(variance))
    np.testing.assert_allclose(moments, [1.01870615, 0.15545144, -0.01347169], atol=1e-8)
    natural = step(X[None], W)[0]
    np.testing.assert_allclose(natural[[0, 50, 99]], [0.00021110, -0.00566222, -0.02215637], atol=1e-8)


def test_woodbury_is_the_inverse(x64, rng):
    """For random weights of several neurons, and a condition of 349 in float32 too."""
    weight, gradient = rng.uniform(-1, 1, (3, N)) / N, rng.normal(size=(3, N))
    wanted = np.stack([np.linalg.solve(dense(w), g) for w, g in zip(weight, gradient, strict=True)])
    np.testing.assert_allclose(step(gradient, weight), wanted, rtol=1e-10, atol=1e-14)
    with jax.enable_x64(False):
        single = step(gradient.astype(np.float32), weight.astype(np.float32))
    np.testing.assert_allclose(single, wanted, rtol=1e-3, atol=1e-5 * np.abs(wanted).max())


def test_steps_do_not_depend_on_where_synapses_sit(x64):
    """Dendrites that attenuate by alpha: the same step of what acts on the soma; Euclidean steps turn."""
    alpha = 1 + np.arange(N) / N
    at_soma = step(X[None], W)
    on_dendrite = step(alpha * X[None], W / alpha, alpha * RATES, alpha**2 * VARIANCE)
    np.testing.assert_allclose(alpha * on_dendrite, at_soma, rtol=1e-12)
    euclidean = alpha**2 * X
    cosine = euclidean @ X / np.linalg.norm(euclidean) / np.linalg.norm(X)
    np.testing.assert_allclose(cosine, 0.977, atol=1e-3)


def test_it_converges_where_euclidean_steps_do_not(x64, rng):
    """Expected gradients of a teacher's spikes: 30 steps, each rule with its largest stable rate of a few."""
    x = jnp.asarray(RATES + np.sqrt(VARIANCE) * rng.normal(size=(4000, N)))
    teacher, start = (jnp.asarray(rng.uniform(-1, 1, (1, N)) / N) for _ in range(2))

    def cost(w):
        mine, theirs = phi(x @ w[0]), phi(x @ teacher[0])
        return jnp.mean(mine - theirs * jnp.log(mine)) / 1.0

    best = cost(teacher)

    def after(rule):
        def one(carry, _):
            w, state = carry
            updates, state = rule.update(jax.grad(cost)(w), state, w)
            return (w + updates, state), None

        (w, _), _ = jax.lax.scan(one, (start, rule.init(start)), length=30)
        return float(cost(w) - best)

    natural = after(optax.chain(gle.natural_gradient(phi, RATES, VARIANCE), optax.scale(-0.7)))
    euclidean = [after(optax.sgd(rate)) for rate in (1e-6, 3e-6, 1e-5, 3e-5, 1e-4)]
    initial = float(cost(start) - best)
    assert natural < 1e-3 * initial
    assert natural < 0.1 * np.nanmin(euclidean)


def test_what_does_not_fit_is_refused(x64):
    with pytest.raises(ValueError, match="variance must be positive"):
        gle.natural_gradient(phi, RATES, 0 * RATES)
    with pytest.raises(ValueError, match="weights must be"):
        step(np.ones((1, 3)), np.ones((1, 3)))
