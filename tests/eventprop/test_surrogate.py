"""Surrogate gradients on the grid against backpropagation through time written out by hand."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep

INPUTS, NEURONS, STEPS, H, TAU_MEM, TAU_SYN = 3, 4, 40, 0.5, 20.0, 5.0
ALPHA = 3.0


def problem():
    rng = np.random.default_rng(0)
    raster = (rng.random((STEPS, INPUTS)) < 0.15).astype(float)
    return (
        raster,
        rng.normal(1.5, 1.0, (NEURONS, INPUTS)),
        rng.normal(0, 1.5, (NEURONS, NEURONS)),
        rng.normal(size=(STEPS, NEURONS)),
    )


def by_hand(raster, w, r, cost, detach):
    """Spikes, and derivatives of sum cost * z in w and r: Euler's method, reset by subtraction, and its transpose.

    v1 = v + h (i - v) / tau_mem, i1 = i (1 - h / tau_syn). At a spike in the part m of the step the potential on the
    chord, (1 - m) v + m v1, is reset and takes another (1 - m) of a step, with the current of its beginning.
    """
    v, i, z = (np.zeros(NEURONS) for _ in range(3))
    tape, spikes = [], []
    for k in range(STEPS):
        i = i + w @ raster[k] + r @ z
        v1, i1 = v + H * (i - v) / TAU_MEM, i * (1 - H / TAU_SYN)
        fired = v1 > 1
        m = np.where(fired, (1 - v) / np.where(fired, v1 - v, 1), 1.0)
        rest = (1 - m) * H
        at_v, at_i = v + m * (v1 - v) - 1, i
        new_v = at_v + rest * (at_i - at_v) / TAU_MEM
        tape.append((z, v1, fired, m, new_v))
        v, i, z = np.where(fired, new_v, v1), i1, fired.astype(float)
        spikes.append(z)
    dv, di, dz, dw, dr = np.zeros(NEURONS), np.zeros(NEURONS), np.zeros(NEURONS), np.zeros_like(w), np.zeros_like(r)
    for k in reversed(range(STEPS)):
        z_before, v1, fired, m, new_v = tape[k]
        pseudo = 1 / (1 + ALPHA * np.abs(v1 - 1)) ** 2
        d_spike = (cost[k] + dz) * pseudo
        if not detach:
            d_spike = d_spike + pseudo * dv * (new_v - v1)
        rest = (1 - m) * H
        at_v, at_i = dv * (1 - rest / TAU_MEM), dv * rest / TAU_MEM
        d_v1, d_i1 = np.where(fired, m * at_v, dv) + d_spike, di
        d_v0, d_i0 = np.where(fired, (1 - m) * at_v, 0), np.where(fired, at_i, 0)
        dv = d_v0 + d_v1 * (1 - H / TAU_MEM)
        di = d_i0 + d_i1 * (1 - H / TAU_SYN) + d_v1 * H / TAU_MEM
        dw, dr, dz = dw + np.outer(di, raster[k]), dr + np.outer(di, z_before), r.T @ di
    return np.stack(spikes), dw, dr


def with_grid(w, r, raster, adjoint):
    step, source = np.nonzero(raster)
    spikes = ep.Spikes(jnp.asarray(step * H), jnp.asarray(source))
    network = ep.Recurrent([(ep.Dense(w), ep.LIF(TAU_MEM, TAU_SYN), ep.Dense(r))])
    return ep.simulate(network, spikes, STEPS * H, solver=ep.Grid(H, 20, diffrax.Euler()), adjoint=adjoint)


@pytest.mark.parametrize("detach", [True, False])
def test_backpropagation_through_time(x64, detach):
    raster, w, r, cost = problem()
    expected, dw, dr = by_hand(raster, w, r, cost, detach)
    assert 5 < np.sum(expected) < 0.7 * expected.size
    adjoint = ep.Surrogate(ep.SuperSpike(ALPHA), detach_reset=detach)

    def loss(w, r):
        found = with_grid(w, r, raster, adjoint).raster[0]
        return jnp.sum(cost * found), found

    (gw, gr), found = jax.grad(loss, (0, 1), has_aux=True)(jnp.asarray(w), jnp.asarray(r))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(gw, dw, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(gr, dr, rtol=1e-10, atol=1e-12)


def test_values_do_not_depend_on_the_adjoint(x64):
    raster, w, r, _ = problem()
    w, r = jnp.asarray(w), jnp.asarray(r)
    expected = with_grid(w, r, raster, ep.Implicit())
    for detach in (True, False):
        found = with_grid(w, r, raster, ep.Surrogate(ep.Arctan(), detach_reset=detach))
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(a, b)


def test_input_below_threshold_has_a_gradient(x64):
    """The exact gradient of a silent neuron is zero, its surrogate one is not; through two layers with delays."""

    def count(scale, adjoint):
        first = ep.Dense(scale * jnp.ones((2, 1)), delay=jnp.asarray([0.7]))
        second = ep.Dense(jnp.ones((1, 2)), delay=jnp.asarray([[0.4, 1.3]]))
        network = ep.FeedForward([(first, ep.LIF(20.0, 5.0)), (second, ep.LIF(20.0, 5.0))])
        spikes = ep.Spikes(jnp.asarray([1.0]), jnp.asarray([0]))
        found = ep.simulate(network, spikes, 20.0, solver=ep.Grid(0.5, 3), adjoint=adjoint)
        return jnp.sum(found.raster[1])

    assert jax.grad(count)(1.0, ep.Implicit()) == 0
    assert jax.grad(count)(1.0, ep.Surrogate()) > 1e-3


@pytest.mark.parametrize(
    "derivative, step",
    [
        (ep.SuperSpike(10.0), lambda g: g / (1 + 10 * np.abs(g))),
        (ep.Arctan(2.0), lambda g: np.arctan(np.pi * g) / np.pi),
        (ep.Sigmoid(4.0), lambda g: 1 / (1 + np.exp(-4 * g))),
        (ep.Triangular(0.3, 0.5), lambda g: 0.3 * (g - np.sign(g) * g**2)),
    ],
    ids=lambda x: type(x).__name__,
)
def test_pseudo_derivatives(x64, derivative, step):
    """Each is the derivative of a soft step."""
    g = np.array([-0.4, -0.05, 0.1, 0.45])
    differences = (step(g + 1e-6) - step(g - 1e-6)) / 2e-6
    np.testing.assert_allclose(derivative(jnp.asarray(g)), differences, rtol=1e-8)
    assert np.all(np.isfinite(derivative(jnp.asarray([-1e30, 1e30, 0.0], jnp.float32))))


def test_bad_input_is_told():
    for derivative in (ep.SuperSpike, ep.Arctan, ep.Sigmoid):
        with pytest.raises(ValueError, match="alpha must be positive"):
            derivative(0.0)
    with pytest.raises(ValueError, match="width must be positive"):
        ep.Triangular(0.3, -1.0)
