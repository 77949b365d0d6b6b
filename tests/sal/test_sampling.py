import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sal
from tests.sal.test_boltzmann import machine


def networks(seed, units, tau_ref=4.0, **options):
    weights, bias = (jnp.array(x, jnp.float32) for x in machine(seed, units))
    return sal.Network(sal.Recurrent(weights), bias, tau_ref, **options), sal.Boltzmann(weights, bias)


def distributions(network, key, replicas, duration, **options):
    """One sampled distribution per replica."""

    @eqx.filter_jit
    @eqx.filter_vmap
    def run(key):
        return sal.sample(network, duration, dt=1.0, key=key, **options)[0]

    return run(jax.random.split(key, replicas))


def test_samples_are_exact(key):
    network, target = networks(3, 3)
    # The bias of 40 refractory periods from the silent start is negligible beside the noise.
    p = jnp.mean(distributions(network, key, 400, 800.0, chunks=5), axis=0)
    assert sal.kl_divergence(p, target.probabilities()) < 1e-4


def test_the_divergence_falls_as_one_over_time(key):
    network, target = networks(4, 3)

    def mean_divergence(chunks):
        found = distributions(network, key, 200, 400.0, chunks=chunks)
        return np.mean([sal.kl_divergence(p, target.probabilities()) for p in found])

    # Four times the samples; the standard error of either mean is 1 / sqrt(200) sqrt(2 / 7), the ratio's 5 %.
    assert mean_divergence(2) / mean_divergence(8) == pytest.approx(4.0, rel=0.2)


def test_parallel_updates_are_biased(key):
    network, target = networks(3, 3, order=sal.Parallel())
    p = jnp.mean(distributions(network, key, 400, 800.0, chunks=5), axis=0)
    assert sal.kl_divergence(p, target.probabilities()) > 1e-3


def test_a_clamped_network_samples_the_conditional_distribution(key):
    network, target = networks(5, 4)
    clamp = sal.Clamp(jnp.array([True, False, True, False]), jnp.array([True, False, False, False]))
    state = eqx.filter_jit(lambda: sal.sample(network, 40.0, dt=1.0, key=key, clamp=clamp)[1])()
    p = jnp.mean(distributions(network, key, 200, 800.0, chunks=5, clamp=clamp, state=state), axis=0)
    z = np.asarray(sal.all_states(4))
    allowed = (z[:, 0] == 1) & (z[:, 2] == 0)
    conditional = jnp.where(allowed, target.probabilities(), 0)
    conditional /= jnp.sum(conditional)
    assert np.sum(p[~allowed]) == 0
    assert sal.kl_divergence(p, conditional) < 3e-4


def test_spikes_measure_the_moments_of_the_states(x64, key):
    network, target = networks(6, 5)
    solution = eqx.filter_jit(lambda: sal.simulate(network, 6000.0, dt=1.0, key=key, observe=lambda m: m.z))()
    stdp = sal.overlap_stdp(4.0)
    by_spikes, _ = eqx.filter_jit(sal.spike_moments)(stdp, stdp.init((5,), (5,)), solution.spikes)
    by_states = sal.state_moments(solution.observed)
    # All that can differ is the last refractory period, cut by the end.
    np.testing.assert_allclose(by_spikes.weight, by_states.weight, atol=4 / 6000)
    np.testing.assert_allclose(by_spikes.bias, by_states.bias, atol=4 / 6000)
    np.testing.assert_allclose(by_states.bias, target.moments().bias, atol=0.05)


def test_measuring_in_chunks_is_measuring_at_once(key):
    network, _ = networks(7, 4)
    once, _, _ = eqx.filter_jit(lambda: sal.measure_moments(network, 400.0, dt=1.0, key=key))()
    chunks, _, _ = eqx.filter_jit(lambda: sal.measure_moments(network, 50.0, chunks=8, dt=1.0, key=key))()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), once, chunks)


def test_hidden_units_learn_in_a_clamped_wake_phase(key):
    # Two visible units that are always equal, and no synapse between them: only the hidden unit can tell them so.
    patterns = jnp.array([[True, True, False], [False, False, False]])
    clamp = sal.Clamp(jnp.tile(jnp.array([True, True, False]), (2, 1)), patterns)
    mask = jnp.array([[False, False, True], [False, False, True], [True, True, False]])
    rule = sal.wake_sleep(0.3)
    parameters = {"weights": jnp.where(mask, 0.5, 0.0), "bias": jnp.zeros(3)}

    def phase(parameters, key, clamp, state):
        network = sal.Network(sal.Recurrent(parameters["weights"], mask), parameters["bias"], 4.0)
        moments, state, _ = sal.measure_moments(network, 400.0, dt=1.0, key=key, clamp=clamp, state=state, throw=False)
        return {"weights": moments.weight * mask, "bias": moments.bias}, state

    @eqx.filter_jit
    def learn(parameters, key):
        start = sal.Network(sal.Recurrent(parameters["weights"]), parameters["bias"], 4.0).init()

        def cycle(carry, key):
            parameters, state, wake_states = carry
            awake, asleep = jax.random.split(key)
            wakes, wake_states = jax.vmap(phase, in_axes=(None, None, 0, 0))(parameters, awake, clamp, wake_states)
            wake = jax.tree.map(lambda x: jnp.mean(x, axis=0), wakes)
            sleep, state = phase(parameters, asleep, None, state)
            zeros = jax.tree.map(jnp.zeros_like, parameters)
            updates, _ = rule.update(zeros, rule.init(parameters), parameters, wake=wake, sleep=sleep)
            return (jax.tree.map(jnp.add, parameters, updates), state, wake_states), None

        repeated = jax.tree.map(lambda x: jnp.stack([x, x]), start)
        (parameters, _, _), _ = jax.lax.scan(cycle, (parameters, start, repeated), jax.random.split(key, 1000))
        return parameters

    learned = learn(parameters, key)
    p = sal.Boltzmann((learned["weights"] + learned["weights"].T) / 2, learned["bias"]).probabilities()
    visible = np.asarray(sal.marginal(p, 2))
    assert visible[0] + visible[3] > 0.85  # 0.52 before
    assert np.all(learned["weights"][~np.asarray(mask)] == 0)


def test_bad_input(key):
    network = sal.Network(sal.Recurrent(jnp.zeros((21, 21))), jnp.zeros(21), 4.0)
    with pytest.raises(ValueError, match="at most 20 neurons' states can be counted, got 21"):
        sal.sample(network, 8.0, dt=1.0, key=key)
    broken = dataclasses.replace(networks(0, 2)[0], bias=jnp.array([jnp.inf, 0.0]))
    assert sal.sample(broken, 8.0, dt=1.0, key=key, throw=False)[2] == sal.RESULTS.non_finite
