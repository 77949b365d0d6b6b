"""The NumPy adjoint, held to central differences of the NumPy reference: no JAX in either."""

import numpy as np
import pytest

from tests.eventprop.adjoint_reference import backward_layer, backward_network
from tests.eventprop.reference import Neuron, simulate_layer, simulate_network

SAMPLES = np.array([7.3, 21.0, 48.0])


def case(reset_value=None):
    rng = np.random.default_rng(3)
    times, sources = np.sort(rng.uniform(0, 40, 12)), rng.integers(0, 4, 12)
    weights = [rng.normal(1.6, 1.0, (4, 3)), rng.normal(1.8, 0.6, (3, 2))]
    neurons = [Neuron(20.0, 5.0, bias=0.2, reset_value=reset_value), Neuron(12.0, 6.0, reset_value=reset_value)]
    return times, sources, weights, neurons, rng


def central_difference(function, x, step=1e-4):
    """Gradient of a scalar function of an array, from four points (error of fourth order in `step`)."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        values = {}
        for k in (-2, -1, 1, 2):
            moved = x.copy()
            moved[index] += k * step
            values[k] = function(moved)
        gradient[index] = (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * step)
    return gradient


@pytest.mark.parametrize("reset_value", [None, -0.3])
def test_two_layers_with_spike_times_and_potentials(reset_value):
    times, sources, weights, neurons, rng = case(reset_value)
    spike_costs = [rng.normal(size=(3, 20)), rng.normal(size=(2, 20))]
    sample_costs = [rng.normal(size=(3, 3)), rng.normal(size=(3, 2))]

    def loss(times, weights):
        network = simulate_network(times, sources, list(zip(weights, neurons, strict=True)), t1=60.0)
        return sum(
            np.dot(cost[: len(neuron.spikes)], neuron.spikes) + np.dot(sample_cost, neuron.potential(SAMPLES))
            for layer, costs, samples in zip(network, spike_costs, sample_costs, strict=True)
            for neuron, cost, sample_cost in zip(layer, costs, samples.T, strict=True)
        )

    network = simulate_network(times, sources, list(zip(weights, neurons, strict=True)), t1=60.0)
    assert all(sum(len(neuron.spikes) for neuron in layer) >= 4 for layer in network)
    hidden, output = backward_network(network, times, sources, weights, spike_costs, SAMPLES, sample_costs)
    for actual, expected in (
        (hidden.weights, central_difference(lambda w: loss(times, [w, weights[1]]), weights[0])),
        (output.weights, central_difference(lambda w: loss(times, [weights[0], w]), weights[1])),
        (hidden.times, central_difference(lambda t: loss(t, weights), times)),
    ):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-8 * np.abs(expected).max())


def test_initial_state():
    times, sources, weights, neurons, rng = case()
    v0, i0, costs = np.array([0.3, -0.2, 0.0]), np.array([0.5, 0.0, 1.0]), rng.normal(size=(3, 20))

    def loss(v0, i0):
        layer = simulate_layer(times, sources, weights[0], neurons[0], 60.0, v0, i0)
        return sum(np.dot(cost[: len(own.spikes)], own.spikes) for own, cost in zip(layer, costs, strict=True))

    layer = simulate_layer(times, sources, weights[0], neurons[0], 60.0, v0, i0)
    used = [cost[: len(own.spikes)] for own, cost in zip(layer, costs, strict=True)]
    gradients = backward_layer(layer, times, sources, weights[0], used)
    expected_v = central_difference(lambda v: loss(v, i0), v0)
    expected_i = central_difference(lambda i: loss(v0, i), i0)
    np.testing.assert_allclose(gradients.v, expected_v, rtol=0, atol=1e-8 * np.abs(expected_v).max())
    np.testing.assert_allclose(gradients.i, expected_i, rtol=0, atol=1e-8 * np.abs(expected_i).max())
