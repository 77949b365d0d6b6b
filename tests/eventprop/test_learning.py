"""Signals of learning: spikes in the place of each weight, nothing elsewhere."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import eventprop as ep

NETWORK = ep.FeedForward(
    [
        (ep.Dense([[9.0, 1.0, 0.0], [2.0, 8.0, 1.0]]), ep.LIF(jnp.full(2, 20.0), 5.0)),
        (ep.Dense([[6.0, 7.0]] * 4), ep.LIF(20.0, jnp.array(5.0), refractory=ep.FiresOnce())),
        (ep.Dense([[1.0] * 4]), ep.LI(20.0, 5.0)),
    ]
)
SOLVER = ep.Exact(max_spikes=(3, 1))


def run(spikes):
    return ep.simulate(NETWORK, spikes, 50.0, solver=SOLVER)


def is_spikes(x):
    return isinstance(x, ep.Spikes | ep.SpikeTrains)


def test_signals_have_the_networks_structure():
    spikes = ep.Spikes.from_events([1.0, 2.0, 6.0], [0, 1, 2])
    solution = run(spikes)
    signals = ep.signals(NETWORK, spikes, solution)
    weights = [f".layers[{number}][0].weight" for number in range(3)]
    for name, expected in (("pre", weights), ("post", weights[:2])):
        paths = jax.tree_util.tree_leaves_with_path(signals[name], is_leaf=is_spikes)
        assert [jax.tree_util.keystr(path) for path, _ in paths] == expected
    np.testing.assert_array_equal(signals["pre"].layers[0][0].weight.index, spikes.index)
    first, second, _ = solution.spikes
    assert np.all(np.isfinite(first.first())) and np.all(np.isfinite(second.first()))
    for got, train in (
        (signals["post"].layers[0][0], first),
        (signals["pre"].layers[1][0], first),
        (signals["post"].layers[1][0], second),
        (signals["pre"].layers[2][0], second),
    ):
        np.testing.assert_array_equal(got.weight.times, train.times)
    assert signals["post"].layers[2][0].weight is None


def test_a_rule_learns_from_them_under_jit_and_vmap():
    """dw_ji = rate (spikes of j) (spikes of i), the plainest of rules, over a batch of trials and of rates."""

    def count(spikes, size):
        if isinstance(spikes, ep.SpikeTrains):
            return spikes.count()
        return jax.vmap(lambda trial: jnp.zeros(size).at[trial.index].add(trial.times < jnp.inf))(spikes)

    def hebb(rate):
        def update(updates, state, params, *, pre, post):
            def one(weight, before, after):
                if after is None:
                    return jnp.zeros_like(weight)
                return rate * jnp.mean(
                    count(after, weight.shape[0])[..., :, None] * count(before, weight.shape[1])[..., None, :], axis=0
                )

            return jax.tree.map(one, params, pre, post), state

        return optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), update)

    weights = eqx.filter(NETWORK, eqx.is_inexact_array)
    spikes = ep.Spikes(jnp.array([[1.0, 2.0, 6.0], [0.5, 3.0, jnp.inf]]), jnp.array([[0, 1, 2], [1, 0, 0]]))

    @jax.jit
    def learn(rates):
        solution = jax.vmap(run)(spikes)
        signals = ep.signals(NETWORK, spikes, solution)

        def one(rate):
            rule = hebb(rate)
            return rule.update(weights, rule.init(weights), weights, **signals)[0]

        return jax.vmap(one)(rates), solution.spikes[0].count()

    new, fired = learn(jnp.array([0.1, 0.2]))
    came = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    expected = np.mean(np.asarray(fired)[:, :, None] * came[:, None], axis=0)
    assert fired.sum() >= 4
    np.testing.assert_allclose(new.layers[0][0].weight, np.stack([0.1 * expected, 0.2 * expected]), rtol=1e-6)


def test_a_frozen_weight_has_no_signal():
    spikes = ep.Spikes.from_events([1.0], [0])
    frozen = eqx.tree_at(lambda n: n.layers[0][0].weight, NETWORK, None)
    signals = ep.signals(frozen, spikes, run(spikes))
    assert signals["pre"].layers[0][0].weight is None and signals["post"].layers[0][0].weight is None
    assert is_spikes(signals["pre"].layers[1][0].weight)


def test_signals_that_do_not_fit():
    spikes = ep.Spikes.from_events([1.0], [0])
    solution = run(spikes)
    with pytest.raises(ValueError, match="solution has 3 layers, but the network has 2"):
        ep.signals(ep.FeedForward(NETWORK.layers[:2]), spikes, solution)
    with pytest.raises(ValueError, match=r"spikes have the leading axes \(2,\), but solution has \(\) in layer 0"):
        ep.signals(NETWORK, ep.Spikes.stack([spikes, spikes]), solution)
    other = ep.FeedForward(
        [
            (ep.Dense(jnp.ones((5, 3))), ep.LIF(20.0, 5.0)),
            (ep.Dense(jnp.ones((4, 5))), NETWORK.layers[1][1]),
            NETWORK.layers[2],
        ]
    )
    with pytest.raises(ValueError, match=r"layer 0 has 5 neurons, but its spike trains have the shape \(2, 3\)"):
        ep.signals(other, spikes, solution)
