"""Integrals and maxima of membrane potentials: NumPy quadrature and grids, central differences, closed forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import eventprop as ep
from tests.eventprop import reference
from tests.eventprop.differences import central_differences
from tests.eventprop.trials import random_trial

NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)


def of_reference(trajectory: reference.Trajectory, t1: float) -> tuple[float, float, float]:
    """int V, int V^2 sin t and max V by quadrature and a grid between the events of a reference."""
    edges = [piece[0] for piece in trajectory.pieces] + [t1]
    total = square = 0.0
    highest = -np.inf
    for (start, v, i, held), end in zip(trajectory.pieces, edges[1:], strict=True):
        t = (end - start) * (NODES + 1) / 2
        grid = np.linspace(0, end - start, 2001)
        values, fine = (np.full(x.shape, v) if held else reference.flow(trajectory.neuron, x, v, i)[0] for x in (t, grid))
        weights = WEIGHTS * (end - start) / 2
        total += np.sum(weights * values)
        square += np.sum(weights * values**2 * np.sin(t + start))
        highest = max(highest, np.max(fine))
    return total, square, highest


@pytest.mark.parametrize("kind", ["integrators", "spiking", "refractory"])
def test_integral_and_maximum_are_those_of_a_reference(x64, kind):
    """All ratios of time constants, biases above and below threshold, states to start from; LI as LIF without end."""
    recover = kind == "refractory"
    trial = random_trial(np.random.default_rng(5), 24, refractory=recover, reset=recover)
    trial = eqx.tree_at(lambda t: t.threshold, trial, np.full(20, 1e6)) if kind == "integrators" else trial
    given, trial = trial, jax.tree.map(jnp.asarray, trial)
    spikes, state = ep.Spikes(trial.times, trial.index), trial.state()
    neuron = trial.lif()
    if kind == "integrators":
        neuron = ep.LI(trial.tau_mem, trial.tau_syn, trial.bias)
        state = ep.NetworkState((ep.LIState(trial.v, trial.i),))
    network = ep.FeedForward([(ep.Dense(trial.weights.T), neuron)])
    solution = ep.simulate(network, spikes, trial.t1, solver=ep.Exact(max_spikes=36), state=state)
    path = ep.voltage_path(network, spikes, solution, trial.t1, state=state)
    found = path.integral(), path.integral_of(lambda v, t: v**2 * jnp.sin(t)), path.maximum()
    expected = np.array([of_reference(trajectory, 60.0) for trajectory in given.reference()]).T
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-7, atol=1e-7)
    assert np.all(np.asarray(found[2]) >= expected[2] - 1e-12)


def parameters(rng):
    """Refractory hidden neurons reset to a value, with synaptic delays; integrators at equal time constants and others."""
    return {
        "times": np.sort(rng.uniform(0, 30, 8)),
        "in": rng.normal(2.0, 0.8, (4, 3)),
        "in_delay": rng.uniform(0.2, 3, (4, 3)),
        "tau": rng.uniform(6, 20, (2, 4)),
        "refractory": rng.uniform(1, 4, 4),
        "reset": rng.uniform(-0.3, 0.2, 4),
        "threshold": rng.uniform(0.8, 1.2, 4),
        "bias": rng.uniform(-0.2, 0.4, 4),
        "out": rng.normal(0.5, 1.0, (2, 4)),
        "out_delay": rng.uniform(0.2, 3, 4),
        "out_tau": np.array([[10.0, 12.0], [10.0, 4.0]]),
        "out_bias": rng.uniform(-0.1, 0.1, 2),
        "v": rng.uniform(-0.3, 0.5, 4),
        "i": rng.uniform(-0.5, 1.0, 4),
        "out_v": rng.uniform(-0.3, 0.5, 2),
        "out_i": rng.uniform(-0.5, 1.0, 2),
        "t1": np.array(45.3),
    }


def losses(x):
    """Each kind of loss, of both populations: [integrals, maxima, l_V], summed over neurons with some factors."""
    hidden = ep.LIF(*x["tau"], x["threshold"], ep.ResetToValue(x["reset"]), x["refractory"], x["bias"])
    out = ep.LI(*x["out_tau"], x["out_bias"])
    network = ep.FeedForward(
        [(ep.Dense(x["in"], x["in_delay"]), hidden), (ep.Dense(x["out"], x["out_delay"]), out)]
    )
    state = ep.NetworkState((ep.LIFState.free(x["v"], x["i"]), ep.LIState(x["out_v"], x["out_i"])))
    spikes, t1 = ep.Spikes(x["times"], jnp.arange(8) % 3), x["t1"]
    solution = ep.simulate(network, spikes, t1, solver=ep.Exact(max_spikes=8), state=state, throw=False)
    total = []
    for population, c in ((0, jnp.array([1.0, -0.5, 0.7, 1.3])), (1, jnp.array([1.0, -2.0]))):
        path = ep.voltage_path(network, spikes, solution, t1, population=population, state=state)
        rates = path.integral_of(lambda v, t: jnp.sin(v) * jnp.exp(-t / 20))
        total.append(jnp.stack([jnp.sum(c * y) for y in (path.integral(), path.maximum(), rates)]))
    return jnp.where(solution.result == ep.RESULTS.successful, jnp.stack(total).ravel(), jnp.nan)


def test_derivatives_are_central_differences(x64):
    """Of first order in reverse and forward mode, of second order by differences of the gradient; four networks."""
    rng = np.random.default_rng(11)
    trials = [parameters(rng) for _ in range(4)]
    _, unravel = ravel_pytree(trials[0])
    flat = np.stack([ravel_pytree(trial)[0] for trial in trials])
    function = lambda x: losses(unravel(x))  # noqa: E731
    values = jax.jit(jax.vmap(function))
    reverse = np.asarray(jax.jit(jax.vmap(jax.jacrev(function)))(flat))
    directions = np.eye(flat.shape[1])
    differences = np.stack([central_differences(values, x, directions, (1e-3, 1e-4, 1e-5)) for x in flat])
    differences = np.moveaxis(differences, 2, -1)  # [cases, steps, losses, parameters]
    assert np.all(np.isfinite(reverse)) and reverse.shape == (4, 6, flat.shape[1])
    scale = np.max(np.abs(reverse), axis=-1, keepdims=True)
    error = np.min(np.abs(differences - reverse[:, None]), axis=1)
    assert np.mean(error > 1e-6 * np.abs(reverse) + 1e-8 * scale) == 0
    # Times, weights, delays, time constants, ... all act on all kinds of losses.
    assert np.mean(np.abs(reverse) > 1e-9) > 0.6

    tangents = rng.normal(size=flat.shape)
    forward = jax.jit(jax.vmap(lambda x, d: jax.jvp(function, (x,), (d,))[1]))(flat, tangents)
    np.testing.assert_allclose(forward, np.einsum("clp,cp->cl", reverse, tangents), rtol=1e-9, atol=1e-9)

    costs = jnp.array([1.0, -1.0, 0.5, 0.3, 2.0, -0.7])
    gradient = jax.grad(lambda x: costs @ function(x))
    second = jax.jit(jax.vmap(lambda x, d: jax.jvp(gradient, (x,), (d,))[1]))(flat, 0.1 * tangents)
    shifted = jax.jit(jax.vmap(gradient))
    slopes = [central_differences(shifted, x, d[None], (1e-4, 1e-5))[:, 0] for x, d in zip(flat, 0.1 * tangents, strict=True)]
    error = np.min(np.abs(np.stack(slopes) - np.asarray(second)[:, None]), axis=1)
    assert np.all(error < 1e-5 * (np.abs(second) + 1e-2 * np.max(np.abs(second), axis=1, keepdims=True)))
