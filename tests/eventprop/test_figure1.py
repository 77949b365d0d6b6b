"""Wunderlich & Pehle (2022), Fig. 1: two neurons in a chain, 100 Poisson inputs at 200 Hz, loss = sum of spike times.

The paper: numerical and exact gradient deviate by less than 1e-7.
"""

import jax
import jax.numpy as jnp
import numpy as np

import eventprop as ep
from tests.eventprop import reference
from tests.eventprop.adjoint_reference import backward_network
from tests.eventprop.differences import central_differences

INPUTS, RATE, T1, TAU_MEM, TAU_SYN = 100, 0.2, 40.0, 20.0, 5.0  # spikes per ms; ms
STEPS = (2e-5, 2e-6)  # too wide a step moves a spike across an input, where the loss has a kink


def experiment():
    rng = np.random.default_rng(1)
    trains = [np.sort(rng.uniform(0, T1, rng.poisson(RATE * T1))) for _ in range(INPUTS)]
    return trains, rng.normal(0.03, 0.04, (INPUTS, 1)), np.array([[4.0]])


def test_figure_1(x64):
    trains, first, second = experiment()
    spikes = ep.Spikes.from_trains(trains)
    lif = ep.LIF(tau_mem=TAU_MEM, tau_syn=TAU_SYN)

    def loss(flat):
        network = ep.FeedForward([(ep.Dense(flat[None, :INPUTS]), lif), (ep.Dense(flat[None, INPUTS:]), lif)])
        times = ep.simulate(network, spikes, T1, solver=ep.Exact(max_spikes=12)).spikes[1].times
        return jnp.sum(jnp.where(times < jnp.inf, times, 0))

    flat = np.append(first, second)
    gradient = np.asarray(jax.jit(jax.grad(loss))(jnp.asarray(flat)))

    events = spikes.to_events()
    neuron = reference.Neuron(TAU_MEM, TAU_SYN)
    network = reference.simulate_network(*events, [(first, neuron), (second, neuron)], T1)
    assert len(network[0][0].spikes) >= 4 and len(network[1][0].spikes) >= 2
    adjoint = backward_network(network, *events, [first, second], [np.zeros((1, 99)), np.ones((1, 99))])
    expected = np.concatenate([layer.weights.ravel() for layer in adjoint])
    np.testing.assert_allclose(gradient, expected, rtol=1e-9)

    differences = central_differences(lambda points: jax.lax.map(jax.jit(loss), points), flat, np.eye(flat.size), STEPS)
    deviation = np.min(np.abs(differences - gradient), axis=0)
    assert np.sum(gradient != 0) > 90  # some input may come too late to matter
    assert np.all(deviation <= np.maximum(1e-7 * np.abs(gradient), 1e-10 * np.abs(gradient).max()))
