import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sal.feedback import affine_layers, with_feedback
from sal.kernels import Exponential
from sal.rdd import RDDNet, causal_effects
from sal.symmnet import AbstractTwin, SALNet, symmetrize
from sal.transports import Fixed, KolenPollack, Transpose


def perceptron(key, sizes=(20, 12, 4), scale=1.0):
    """Dense layers with ReLU between them, weights of a few times the usual scale, and random backward weights."""
    keys = jax.random.split(key, len(sizes))
    chain = [eqx.nn.Linear(n, m, key=k) for n, m, k in zip(sizes, sizes[1:], keys, strict=False)]
    chain = [eqx.tree_at(lambda l: l.weight, layer, scale * layer.weight) for layer in chain]
    return with_feedback(chain, Fixed, key=keys[-1])


def angles(model):
    return np.array([layer.angle for layer in affine_layers(model)])


class Recorder(AbstractTwin):
    """A twin that is told everything and learns nothing but the number 7."""

    def learn(self, forward, biases, backward, key):
        return [jnp.full_like(w, 7) + b[:, None] + 0 * old for w, b, old in zip(forward, biases, backward, strict=True)]


def test_symmetrize_changes_the_backward_weights_alone(key):
    chain = perceptron(key)
    chain[1] = eqx.tree_at(lambda l: l.layer.bias, chain[1], None)
    model = {"first": eqx.nn.Linear(3, 20, key=key), "chain": chain}
    after = symmetrize(model, Recorder(), key=key, where=lambda m: m["chain"])
    np.testing.assert_allclose(
        after["chain"][0].backward, 7 + jnp.tile(chain[0].layer.bias[:, None], (1, 20)), rtol=1e-6
    )
    np.testing.assert_array_equal(after["chain"][1].backward, 7)
    assert eqx.tree_equal(after["first"], model["first"])
    assert eqx.tree_equal([layer.layer for layer in after["chain"]], [layer.layer for layer in chain])


def test_sal_aligns_backward_weights(key, precision):
    """At weights large enough to be seen soon, the angles fall from 90 degrees below 20, and B goes to W itself."""
    model = perceptron(key, scale=3.0)
    model = jax.tree.map(lambda x: x.astype(precision) if eqx.is_inexact_array(x) else x, model)
    twin = SALNet(learning_rate=0.2, updates=30, duration=1000.0)
    after = eqx.filter_jit(symmetrize)(model, twin, key=key)
    assert np.all(angles(model) > 70)
    assert np.all(angles(after) < 20)
    for layer in affine_layers(after):
        assert layer.backward.dtype == precision
        assert np.linalg.norm(layer.backward - layer.weight) < 0.35 * np.linalg.norm(layer.weight)


def test_aligned_weights_stay_on_average(key):
    """B = W is a fixed point: over many networks side by side the mean drift is within its error."""
    chain = [w.layer.weight for w in perceptron(key, sizes=(5, 4, 3), scale=3.0)]
    biases = [jnp.full(4, -0.5), jnp.full(3, 0.5)]
    twin = SALNet(learning_rate=1.0, updates=1, duration=1000.0, replicas=4)

    @jax.jit
    @jax.vmap
    def learn(key, offset):
        start = [weights + offset for weights in chain]
        return [new - old for new, old in zip(twin.learn(chain, biases, start, key), start, strict=True)]

    keys = jax.random.split(key, 100)
    for drift, towards in zip(learn(keys, jnp.zeros(100)), learn(keys, jnp.ones(100)), strict=True):
        standard_error = np.std(drift, axis=0) / 10
        assert np.mean((np.mean(drift, axis=0) / standard_error) ** 2) < 3  # chi-square; weights share neurons
        whole = np.mean(towards, axis=(1, 2))
        assert np.mean(whole) < -10 * np.std(whole) / 10


def test_one_update_is_the_sum_over_all_pairs(key, monkeypatch):
    """The published normalisation, against a double loop over the spikes that the twin fired."""
    import sal.symmnet as module

    seen = []
    simulate = module.simulate

    def spy(*args, **kwargs):
        solution = simulate(*args, **kwargs)
        jax.debug.callback(lambda spikes: seen.append(np.asarray(spikes)), solution.spikes.spikes)
        return solution

    monkeypatch.setattr(module, "simulate", spy)
    (layer,) = affine_layers(perceptron(key, sizes=(3, 2), scale=3.0))
    twin = SALNet(learning_rate=0.1, updates=1, replicas=1, duration=200.0)
    (learned,) = eqx.filter_jit(twin.learn)([layer.weight], [layer.layer.bias], [layer.backward], key)
    jax.effects_barrier()
    spikes = np.concatenate(seen[1:])  # the first chunk leads to equilibrium
    assert spikes.shape == (200, 5)
    assert spikes.sum() > 30
    times = [np.flatnonzero(spikes[:, n]) + (0.5 if n >= 3 else 0.0) for n in range(5)]
    window = Exponential(10.0)
    for upper in range(2):
        for lower in range(3):
            gaps = (times[3 + upper][:, None] - times[lower][None, :]).ravel()
            total = np.sum(np.sign(gaps) * window(jnp.abs(jnp.asarray(gaps, float))))
            change = float(learned[upper, lower] - layer.backward[upper, lower])
            assert change == pytest.approx(float(0.1 / 20 * total), rel=1e-3, abs=1e-6)


def test_rdd_estimates_the_forward_weights(key, precision):
    """Correlation of B with W above 0.98 and its scale within a tenth, in spite of biases and strong weights."""
    model = perceptron(key, scale=2.0)
    model = jax.tree.map(lambda x: x.astype(precision) if eqx.is_inexact_array(x) else x, model)
    after = eqx.filter_jit(symmetrize)(model, RDDNet(duration=600_000.0, replicas=200, memory=0.0), key=key)
    for layer in affine_layers(after):
        weight, estimate = (np.asarray(x, float).ravel() for x in (layer.weight, layer.backward))
        assert np.corrcoef(weight, estimate)[0, 1] > 0.98
        assert np.sum(weight * estimate) / np.sum(weight**2) == pytest.approx(1, abs=0.1)
        large = np.abs(weight) > 0.2 * np.abs(weight).max()
        assert np.mean(np.sign(weight[large]) == np.sign(estimate[large])) == 1


@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_the_error_of_rdd_depends_on_the_norm_of_the_weights_only(mean, key):
    """1.65 |W_k| / sqrt(windows), also for strong weights of one sign, whose neurons would never be near threshold."""
    model = perceptron(key, (60, 40, 20), scale=6.0)
    model = [
        eqx.tree_at(lambda l: l.layer.weight, layer, layer.weight + mean * jnp.std(layer.weight)) for layer in model
    ]
    after = eqx.filter_jit(symmetrize)(model, RDDNet(duration=200_000.0, replicas=200, memory=0.0), key=key)
    for layer in affine_layers(after):
        norms = np.linalg.norm(layer.weight, axis=1, keepdims=True)
        error = np.std((layer.backward - layer.weight) / norms) * np.sqrt(200_000 / 20)
        assert error == pytest.approx(1.65, rel=0.1)


def test_rdd_averages_over_phases(key):
    model = perceptron(key, (12, 8, 4))
    fresh, mixed = (
        eqx.filter_jit(symmetrize)(model, RDDNet(duration=2000.0, replicas=10, memory=memory), key=key)
        for memory in (0.0, 0.7)
    )
    for old, new, mean in zip(affine_layers(model), affine_layers(fresh), affine_layers(mixed), strict=True):
        np.testing.assert_allclose(mean.backward, 0.7 * old.backward + 0.3 * new.backward, rtol=1e-4, atol=1e-6)


def test_causal_effects_are_the_jump_between_two_lines(rng, x64):
    """Against a fit with numpy.polyfit; a neuron with data on one side only has no effect."""
    drive = rng.uniform(0, 2, size=(400, 3))
    drive[:, 2] = rng.uniform(0, 1, size=400)
    response = rng.normal(size=(400, 2)) + 2 * drive[:, :2] + 3 * (drive[:, :2] >= 1)
    effects = causal_effects(jnp.asarray(drive), jnp.asarray(response), 0.7)
    for source in range(2):
        z = drive[:, source] - 1
        for neuron in range(2):
            above, below = (
                np.polyfit(z[side], response[side, neuron], 1)[1]
                for side in ((z >= 0) & (z < 0.7), (z < 0) & (z > -0.7))
            )
            assert float(effects[neuron, source]) == pytest.approx(above - below, rel=1e-9)
    np.testing.assert_array_equal(effects[:, 2], 0)


def test_bad_layers_are_refused(key):
    chain = perceptron(key)
    for kind in (Transpose, KolenPollack):
        with pytest.raises(ValueError, match="transport Fixed"):
            symmetrize(with_feedback(chain, kind, key=key), Recorder(), key=key)
    with pytest.raises(ValueError, match=r"shape \(12, 20\) after weights of shape \(4, 12\)"):
        symmetrize(chain, Recorder(), key=key, where=lambda m: m[::-1])
    with pytest.raises(ValueError, match="duration must be a positive multiple of dt"):
        symmetrize(chain, SALNet(dt=0.3), key=key)
    with pytest.raises(ValueError, match="replicas must be at least 1, got 0"):
        SALNet(replicas=0)
    with pytest.raises(ValueError, match=r"window must lie between dt = 1.0 and duration = 90000.0, got 0.5"):
        RDDNet(window=0.5)
    with pytest.raises(ValueError, match="memory must be at least 0 and below 1, got 1"):
        RDDNet(memory=1.0)
