"""SAL learns the weights of an eventprop network from what `simulate` gave, with no code in between."""

import io

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import eventprop as ep
import sal

TAU = 10.0
NETWORK = ep.FeedForward(
    [
        (ep.Dense([[9.0, 1.0, 0.0], [2.0, 8.0, 1.0]]), ep.LIF(jnp.full(2, 20.0), 5.0)),
        (ep.Dense([[6.0, 7.0]] * 4), ep.LIF(20.0, jnp.array(5.0), refractory=ep.FiresOnce())),
    ]
)
SPIKES = ep.Spikes([[1.0, 2.0, 6.0], [0.5, 3.0, np.inf]], [[0, 1, 2], [1, 0, 0]])
RATES = jnp.array([0.1, 0.2])


def rule(rate):
    return sal.align(rate, sal.STDP(sal.Exponential(TAU), sal.Exponential(TAU), 1.0))


@jax.jit
@jax.vmap
def step(rate, network, state):
    """A batch of two trials; the increments are SAL's alone."""
    solution = jax.vmap(lambda spikes: ep.simulate(network, spikes, 50.0, solver=ep.Exact((3, 1)), throw=False))(SPIKES)
    nothing = jax.tree.map(jnp.zeros_like, eqx.filter(network, eqx.is_inexact_array))
    updates, state = rule(rate).update(nothing, state, **ep.signals(network, SPIKES, solution))
    return optax.apply_updates(network, updates), state, [trains.times for trains in solution.spikes]


def by_hand(before: list[np.ndarray], after: np.ndarray) -> np.ndarray:
    """Mean over trials of sum over pairs of -+exp(-|interval| / tau): causal pairs weaken, the others strengthen."""
    total = np.zeros((after.shape[1], len(before[0])))
    for trial, trains in zip(after, before, strict=True):
        for (j, post), (i, pre) in ((a, b) for a in enumerate(trial) for b in enumerate(trains)):
            gaps = np.subtract.outer(post[np.isfinite(post)], pre[np.isfinite(pre)])
            total[j, i] -= np.sum(np.sign(gaps) * np.exp(-np.abs(gaps) / TAU))
    return total / len(after)


def test_sal_learns_from_spikes_of_eventprop(x64):
    """Vmapped over learning rates, from per-event inputs and per-neuron trains, and resumed from a file bit for bit."""
    networks = jax.tree.map(lambda x: jnp.stack([jnp.asarray(x, float)] * 2), NETWORK)
    states = jax.vmap(lambda network: rule(0.1).init(eqx.filter(network, eqx.is_inexact_array)))(networks)
    first, kept, (hidden, output) = step(RATES, networks, states)

    inputs = [
        [np.array(t)[(np.array(k) == i) & np.isfinite(t)] for i in range(3)]
        for t, k in zip(SPIKES.times, SPIKES.index, strict=True)
    ]
    hidden, output = np.asarray(hidden[0]), np.asarray(output[0])
    assert np.isfinite(hidden).sum() >= 4 and np.isfinite(output).sum() >= 4
    for layer, (before, after) in enumerate(((inputs, hidden), (list(hidden), output))):
        change = first.layers[layer][0].weight - networks.layers[layer][0].weight
        expected = by_hand(before, after)
        np.testing.assert_allclose(change, np.stack([rate * expected for rate in RATES]), rtol=1e-10, atol=1e-13)
    np.testing.assert_array_equal(first.layers[0][1].tau_mem, networks.layers[0][1].tau_mem)

    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, (first, kept))
    file.seek(0)
    resumed = eqx.tree_deserialise_leaves(file, (networks, states))
    for straight, again in zip(
        jax.tree.leaves(step(RATES, first, kept)), jax.tree.leaves(step(RATES, *resumed)), strict=True
    ):
        np.testing.assert_array_equal(straight, again)
