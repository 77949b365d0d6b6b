"""What must hold for any input: property tests of the closed-form solver."""

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import eventprop as ep

INPUTS, NEURONS, SLOTS = 6, 4, 96
"""The strongest input, six charges of 6 at 0 and a bias of 1.25, drives (36 tau_syn + 80 * 1.25) / tau_mem = 82."""
SAMPLES = np.linspace(0.0, 80.0, 257)[1:-1]
TAU_MEM, TAU_SYN = np.array([20.0, 20.0, 10.0, 16.0]), np.array([5.0, 20.0, 20.0, 8.0])

finite = {"allow_nan": False, "allow_infinity": False, "width": 32}
spike_times = arrays(float, INPUTS, elements=st.floats(0, 60, **finite)).map(np.sort)
charges = arrays(float, (INPUTS, NEURONS), elements=st.floats(-4, 6, **finite))
biases = arrays(float, NEURONS, elements=st.floats(-1, 1.25, **finite))


@eqx.filter_jit
def simulate(times, index, weights, bias, scale=1.0):
    lif = ep.LIF(jnp.asarray(scale * TAU_MEM), jnp.asarray(scale * TAU_SYN), bias=jnp.asarray(bias))
    network = ep.FeedForward([(ep.Dense(jnp.asarray(weights).T), lif)])
    spikes = ep.Spikes(jnp.asarray(times), jnp.asarray(index))
    saveat = diffrax.SaveAt(ts=jnp.asarray(scale * SAMPLES))
    solution = ep.simulate(network, spikes, scale * 80.0, solver=ep.Exact(max_spikes=(SLOTS,)), saveat=saveat)
    return solution.spikes[0].times, solution.ys[0]


@given(spike_times, charges, biases)
def test_spikes_are_sorted_and_the_potential_never_exceeds_the_threshold(x64, times, weights, bias):
    spikes, ys = (np.asarray(x) for x in simulate(times, np.arange(INPUTS), weights, bias))
    assert not np.any(np.isnan(spikes)) and np.all(np.isfinite(ys))
    assert np.all(np.diff(np.where(np.isinf(spikes), 1e9, spikes), axis=1) >= 0)
    for row in spikes:
        row = row[np.isfinite(row)]
        assert np.all(np.diff(row) > 0) and np.all((row >= 0) & (row <= 80.0))
    assert np.all(ys <= 1 + 1e-9)


@given(spike_times, charges, biases, st.permutations(range(INPUTS)))
def test_permuting_the_sources_changes_nothing(x64, times, weights, bias, permutation):
    permutation = np.array(permutation)
    spikes, ys = simulate(times, np.arange(INPUTS), weights, bias)
    permuted = np.empty_like(weights)
    permuted[permutation] = weights
    again, ys_again = simulate(times, permutation, permuted, bias)
    np.testing.assert_array_equal(spikes, again)
    np.testing.assert_array_equal(ys, ys_again)


@given(spike_times, charges, biases)
def test_a_later_input_never_moves_an_earlier_spike(x64, times, weights, bias):
    with_last, _ = simulate(times, np.arange(INPUTS), weights, bias)
    without, _ = simulate(np.append(times[:-1], np.inf), np.arange(INPUTS), weights, bias)
    with_last, without = (np.where(x < times[-1], x, np.inf) for x in (with_last, without))
    np.testing.assert_allclose(with_last, without, rtol=0, atol=1e-10)


@given(spike_times, charges, biases, st.sampled_from([2.0**-10, 0.5, 2.0, 1024.0]))
def test_rescaled_time_rescales_the_spikes(x64, times, weights, bias, scale):
    """Powers of two rescale without rounding, so that no spike can appear or vanish by it."""
    spikes, ys = simulate(times, np.arange(INPUTS), weights, bias)
    scaled, ys_scaled = simulate(scale * times, np.arange(INPUTS), weights, bias, jnp.asarray(scale))
    np.testing.assert_allclose(scaled, scale * np.asarray(spikes), rtol=1e-11)
    np.testing.assert_allclose(ys_scaled, ys, rtol=0, atol=1e-8)
