import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import sal
from benchmarks.errors import InvalidInput
from benchmarks.experiments.sal.dale.figures import draw_found
from benchmarks.experiments.sal.dale.model import Circuit, Dale, drift, effective, resting, sal_dale

SMALL = Dale(points=5, duration=2000, learning=3000, steps=10)


def test_effective_weights_are_those_of_the_way_from_the_other_neuron():
    circuit = Circuit(*(jnp.array(pair) for pair in ((-1.0, -0.5), (4.0, 3.0), (0.1, -0.2), (-2.0, -1.8))))
    found = effective(circuit, jnp.array([0.3, 0.6]))
    # To neuron 1 by way of E_2, I_2 and W_12^EI.
    np.testing.assert_allclose(found[0], sal.effective_weight(0.3, -1.0, 3.0, -0.2, -1.8), rtol=1e-6)
    np.testing.assert_allclose(found[1], sal.effective_weight(0.6, -0.5, 4.0, 0.1, -2.0), rtol=1e-6)


def test_where_a_drift_falls_through_zero():
    grid = jnp.linspace(0.0, 2.0, 5)
    np.testing.assert_allclose(resting(grid, 1.3 - grid), 1.3, rtol=1e-6)
    assert np.isnan(resting(grid, grid - 1.3)) and np.isnan(resting(grid, 3 - grid))


def test_without_inhibition_the_drift_is_that_of_the_theory(key):
    """Both directions, against the Markov chain of two neurons."""
    silent = Circuit(jnp.zeros(2), jnp.full(2, 4.0), jnp.zeros(2), jnp.full(2, -2.0))
    config = dataclasses.replace(SMALL, duration=20_000)
    found = eqx.filter_jit(drift)(config, silent, jnp.array([1.8, 0.2]), key)
    pair = sal.two_neurons((1.8, 0.2), (0.0, 0.0), sal.Rectangular(1.0), 1.0)
    theory = sal.steady_state(pair, dt=0.1).differences
    expected = theory.rate * sal.expected_update(theory, sal.Exponential(1.0))
    np.testing.assert_allclose(found, expected, atol=5e-3)
    assert expected[0] < -0.03


@pytest.mark.slow
def test_sal_aligns_what_acts(key):
    metrics, _, _, found = eqx.filter_jit(sal_dale)(SMALL, key)
    assert metrics["distance_from_diagonal"] < 0.2 and metrics["rate_difference"] < 0.03
    assert metrics["both_final_difference"] < 0.4 and metrics["one_distance_to_target"] < 0.4
    assert metrics["lowest_effective"] < -0.3
    assert len(draw_found(SMALL, found).axes) == 3


def test_bad_input(key):
    with pytest.raises(InvalidInput, match="duration must be a multiple of 20 and learning of 100"):
        sal_dale(Dale(duration=50), key)
