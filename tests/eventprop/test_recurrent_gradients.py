"""Gradients of a random recurrent network of 20 neurons: the implicit rule against central differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import eventprop as ep
from tests.eventprop.differences import central_differences

NEURONS, INPUTS, EVENTS, SLOTS, T1 = 20, 5, 30, 20, 50.0
STEPS = (2e-7, 3e-6)


def draw(kind: str, seed: int):
    """Parameters of one network, those that have a derivative, and the sources of its input."""
    rng = np.random.default_rng(seed)
    shape = {"axonal": (NEURONS,), "synaptic": (NEURONS, NEURONS)}
    p = {
        "weight": rng.normal(-0.05, 0.2, (NEURONS, NEURONS)),
        "input": rng.normal(1.6, 0.7, (NEURONS, INPUTS)),
        "tau_mem": rng.uniform(12, 25, NEURONS),
        "tau_syn": rng.uniform(4, 8, NEURONS),
        "threshold": rng.uniform(0.8, 1.2, NEURONS),
        "refractory": rng.uniform(0.5, 3.0, NEURONS),
        "times": np.sort(rng.uniform(0, 35, EVENTS)),
    }
    if kind != "none":
        p["delay"] = rng.uniform(0.5, 4.0, shape[kind])
    return jax.tree.map(jnp.asarray, p), jnp.asarray(rng.integers(0, INPUTS, EVENTS)), rng


def spikes_and_end(p, index):
    """Spike times [neurons, slots] (T1: none), and the potentials and currents at the end."""
    neuron = ep.LIF(p["tau_mem"], p["tau_syn"], p["threshold"], refractory=p["refractory"])
    network = ep.Recurrent([(ep.Dense(p["input"]), neuron, ep.Dense(p["weight"], delay=p.get("delay")))])
    solver = ep.Exact(max_spikes=SLOTS, max_events=170, chunk=16)
    solution = ep.simulate(network, ep.Spikes(p["times"], index), T1, solver=solver, throw=False)
    times, end = solution.spikes[0].times, solution.state.neurons[0]
    return jnp.where(times < jnp.inf, times, T1), end.v, end.i, solution.stats["spikes_lost"]


@pytest.mark.parametrize(
    "kind, seeds, each",
    [
        ("axonal", 1, 2),
        pytest.param("axonal", 4, 12, marks=pytest.mark.slow),
        pytest.param("synaptic", 4, 12, marks=pytest.mark.slow),
        pytest.param("none", 4, 12, marks=pytest.mark.slow),
    ],
)
def test_central_differences(x64, kind, seeds, each):
    """Along random directions of every kind of parameter. Where a spike appears or vanishes no derivative is meant."""
    template, index, _ = draw(kind, 0)
    unravel = ravel_pytree(template)[1]
    cases, excluded = 0, 0

    def outputs(x, index):
        return spikes_and_end(unravel(x), index)

    batch = jax.jit(jax.vmap(outputs, in_axes=(0, None)))

    @jax.jit
    def gradient(x, index, weights):
        return jax.grad(lambda x: sum(jnp.sum(w * y) for w, y in zip(weights, outputs(x, index)[:3], strict=True)))(x)

    for seed in range(seeds):
        p, index, rng = draw(kind, seed)
        x = np.asarray(ravel_pytree(p)[0])
        weights = [rng.normal(size=(NEURONS, SLOTS)), rng.normal(size=NEURONS), rng.normal(size=NEURONS)]
        directions = []
        for name in p:
            for _ in range(each):
                zero = {k: np.zeros(v.shape) for k, v in p.items()}
                directions.append(ravel_pytree(zero | {name: rng.normal(size=p[name].shape)})[0])
        directions = np.stack(directions)
        counts = []

        def loss(points):
            times, v, i, lost = batch(jnp.asarray(points), index)
            assert not np.any(lost)
            counts.append(np.sum(np.asarray(times) < T1, axis=2))
            return sum(
                np.sum(w * np.asarray(y), axis=tuple(range(1, y.ndim)))
                for w, y in zip(weights, (times, v, i), strict=True)
            )

        expected = central_differences(loss, x, directions, STEPS)
        counts = np.concatenate(counts).reshape(len(STEPS) * 4, len(directions), NEURONS)
        same = np.all(counts == counts[:1], axis=(0, 2))
        found = directions @ np.asarray(gradient(jnp.asarray(x), index, weights))
        error = np.min(np.abs(expected - found[None]), axis=0) / (1 + np.abs(found))
        assert np.all(error[same] < 1e-6), error
        cases, excluded = cases + same.size, excluded + np.sum(~same)
    assert excluded <= 0.01 * cases, f"{excluded} of {cases}"
