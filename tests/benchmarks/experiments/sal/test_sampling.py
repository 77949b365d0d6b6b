import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sal
from benchmarks.experiments.sal.sampling import model as sal_sampling
from benchmarks.experiments.sal.sampling.figures import draw_decays, draw_noise

TINY = {"units": 3, "report_every": 20, "sleep": 100.0, "validation": 2000.0, "steps": 4}


def run(config, seeds=4):
    """The metrics of every report, [reports, seeds], and the result."""
    training = sal_sampling.SamplingTraining(config)

    @eqx.filter_jit
    @eqx.filter_vmap
    def train(key):
        def epoch(state, number):
            return training.epoch(state, number)

        state, history = jax.lax.scan(epoch, training.init(key), jnp.arange(training.epochs))
        return history, training.finish(state)[2]

    history, result = train(jax.random.split(jax.random.key(0), seeds))
    return {name: np.asarray(values).T for name, values in history.items()}, result


def test_sal_lets_asymmetry_decay_and_kolen_pollack_does_as_theory_says():
    config = sal_sampling.SynapticNoise(levels=(0.8,), cycles=40, decay=1e-2, sal_rate=0.1, **TINY)
    history, result = run(config)
    assert np.all(result == sal_sampling.RESULTS.successful)
    assert np.all(history["asymmetry_none_0"] < 1e-10)
    # Wake-sleep gives reciprocal synapses the same updates.
    np.testing.assert_allclose(history["asymmetry_none_0.8"][0], history["asymmetry_none_0.8"][1], rtol=1e-3)
    # Differences decay by 1 - lambda per cycle, their variance by the square.
    decayed = history["asymmetry_kp_0.8"][1] / history["asymmetry_none_0.8"][1]
    np.testing.assert_allclose(decayed, 0.99**80, rtol=1e-3)
    assert np.all(history["asymmetry_sal_0.8"][1] < 0.7 * history["asymmetry_none_0.8"][1])


@pytest.mark.parametrize("noisy_wake", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_noisy_plasticity_drives_reciprocal_weights_apart(noisy_wake):
    config = sal_sampling.PlasticityNoise(levels=(0.2,), cycles=100, learning_rate=0.1, noisy_wake=noisy_wake, **TINY)
    history, _ = run(config, seeds=8)
    course = np.median(history["asymmetry_none_0.2"], axis=1)
    # Noise in the sleep phase alone makes reciprocal weights drift apart for ever: their difference grows linearly.
    # On both phases it scales updates that vanish in the end.
    growth = np.sqrt(course[4]) - np.sqrt(course[2])
    assert growth > 0.1 if not noisy_wake else abs(growth) < 0.05


def test_figures_show_all_networks():
    config = sal_sampling.SynapticNoise(levels=(0.4, 0.8), cycles=40, **TINY)
    names, _ = sal_sampling.members(config)
    assert len(names) == 7
    history = {f"{quantity}_{name}": np.ones((2, 5)) for name in names for quantity in ("kl", "asymmetry")}
    assert len(draw_noise(config, history, 0.8).axes) == 4
    config = sal_sampling.WeightDecay(decays=(1e-4, 1e-3))
    names, members = sal_sampling.members(config)
    assert len(names) == 12
    assert members.decay.shape == (12,)
    metrics = {f"{quantity}_{name}": np.ones(5) for name in names for quantity in ("kl", "asymmetry")}
    assert len(draw_decays(config, metrics).axes) == 4


def test_bad_input():
    with pytest.raises(ValueError, match="cycles must be a multiple of report_every = 150, got 200"):
        sal_sampling.SamplingTraining(sal_sampling.SynapticNoise(cycles=200))


def test_a_saturated_rate_is_reported_as_that(monkeypatch):
    """Of one network among several, in the first of two reports, by its name and not as a NaN."""

    def build(parameters):
        weights = sal.Recurrent(parameters["weights"])
        return sal.Network(weights, parameters["bias"], 1.0, escape=sal.ExponentialEscape())

    monkeypatch.setattr(sal_sampling, "build", build)
    config = sal_sampling.SynapticNoise(levels=(0.8,), cycles=2, **{**TINY, "report_every": 1, "validation": 100.0})
    training = sal_sampling.SamplingTraining(config)
    state = training.init(jax.random.key(0))
    bias = state.parameters["bias"].at[1].set(50.0)  # exp(50) spikes per refractory period
    state = eqx.tree_at(lambda s: s.parameters["bias"], state, bias)
    epoch = eqx.filter_jit(training.epoch)
    state, _ = epoch(state, jnp.asarray(0))
    state = eqx.tree_at(lambda s: s.parameters["bias"], state, jnp.zeros_like(bias))
    state, _ = epoch(state, jnp.asarray(1))
    assert bool(training.finish(state)[2] == sal.RESULTS.rate_saturated)
