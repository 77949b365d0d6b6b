"""Packages compose: SAL learns from what `eventprop.simulate` and `gle.online` hand over, with no code in between."""

import io

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import eventprop as ep
import gle
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


def feedback_network(key):
    hidden_key, output_key, feedback_key = jax.random.split(key, 3)
    hidden, output = gle.Dense.init(2, 4, key=hidden_key), gle.Dense.init(4, 3, key=output_key)
    feedback = gle.FeedbackAlignment(gle.random_like(output, feedback_key))
    layers = [gle.Layer(hidden, 1.0, 1.0, jax.nn.sigmoid), gle.Layer(output, 1.0, 1.0, gle.linear, feedback=feedback)]
    return gle.Network(layers, gle.MeanSquaredError())


def of_feedback(tree):
    return tree.layers[1].feedback.connection.weight


def learning(rate, params, dt):
    """SGD for weights, SAL for the feedback weights: what a synapse does that runs from the upper layer down."""
    feedback = eqx.tree_at(of_feedback, jax.tree.map(lambda _: False, params), True)
    window = sal.Exponential(TAU)
    aligned = sal.align(rate, sal.STDP(window, window, dt), dt=dt, replicas=(2,), transposed=True)
    return optax.chain(gle.weights_only(optax.sgd(0.1)), optax.masked(aligned, feedback))


def test_sal_learns_feedback_weights_of_gle_online(key, x64):
    """Rates are binned activity. Against the sums over all pairs of steps; vmapped over rates, resumed bit for bit."""
    network, dt, steps = feedback_network(key), 0.05, 12
    params = eqx.filter(network, eqx.is_inexact_array)
    inputs = jax.random.normal(key, (steps, 2, 2))
    targets = jax.random.normal(key, (steps, 2, 3))

    @jax.jit
    @jax.vmap
    def begin(rate):
        return eqx.filter(gle.start(network, learning(rate, params, dt), batch=(2,)), eqx.is_array)

    static = eqx.filter(gle.start(network, learning(0.1, params, dt), batch=(2,)), eqx.is_array, inverse=True)

    def run(rates, learners, part):
        def one(rate, learner):
            after, observed, _ = gle.online(
                eqx.combine(learner, static),
                inputs[part],
                targets[part],
                dt=dt,
                optimiser=learning(rate, params, dt),
                observe=lambda network, signals: signals.rate,
                throw=False,
            )
            return eqx.filter(after, eqx.is_array), observed

        return jax.jit(jax.vmap(one))(rates, learners)

    start = begin(RATES)
    whole, rates = run(RATES, start, slice(None))
    half, _ = run(RATES, start, slice(0, 5))
    resumed, _ = run(RATES, half, slice(5, None))
    for straight, again in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(straight, again)

    weighting = np.exp(-dt * np.abs(np.subtract.outer(np.arange(steps), np.arange(steps))) / TAU)
    for member, rate in enumerate(RATES):
        lower, upper = (np.asarray(values[member]) for values in rates)
        # A backward synapse runs from `upper` to `lower`: an upper step before a lower one is a causal pair.
        causal = np.einsum("st,sbi,tbj->ij", np.tril(weighting, -1).T, upper, lower) / 2
        anticausal = np.einsum("st,sbi,tbj->ij", np.tril(weighting, -1), upper, lower) / 2
        change = of_feedback(whole.network)[member] - of_feedback(network)
        np.testing.assert_allclose(change, rate * (anticausal - causal), rtol=1e-9, atol=1e-12)
