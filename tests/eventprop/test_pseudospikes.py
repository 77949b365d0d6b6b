"""Spikes that leave a trial at its end: their times and derivatives go on."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep


def test_a_spike_leaves_the_trial_continuously(x64):
    """One neuron whose second spike passes the end: values, derivatives, and the one after it."""
    neuron = ep.QIF(10.0, ep.CurrentSynapses(5.0), peak=1e3, reset=-1e3, rest=0.0, critical=0.0, bias=0.5)
    solver = ep.Hybrid(
        largest_step=1.0,
        max_spikes=4,
        max_steps=1024,
        solver=diffrax.Dopri8(),
        stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-10),
    )

    @jax.jit
    def times(w, t1):
        network = ep.FeedForward([(ep.Dense(w * jnp.ones((1, 1))), neuron)])
        spikes = ep.Spikes.from_events([3.0], [0])
        found = ep.simulate(network, spikes, t1, solver=solver, adjoint=ep.Implicit(), throw=False)
        return found.spikes[0].count()[0], ep.add_pseudospikes(network, found, t1, drive=0.7)[0].times[0]

    w = 0.4
    second = float(times(w, 80.0)[1][1])
    derivative = jax.jit(jax.jacfwd(lambda w, t1: times(w, t1)[1]))
    inside, outside = (second + step for step in (1e-7, -1e-7))
    assert [int(times(w, t1)[0]) for t1 in (inside, outside)] == [2, 1]
    np.testing.assert_allclose(times(w, outside)[1], times(w, inside)[1], rtol=0, atol=1e-6)
    np.testing.assert_allclose(derivative(w, outside), derivative(w, inside), rtol=1e-4)
    # Pseudospikes by the closed form: a period apart.
    c = np.sqrt(0.7)
    np.testing.assert_allclose(np.diff(times(w, outside)[1])[1:], 2 * 10 / c * np.arctan(1e3 / c), rtol=1e-12)


def test_a_drive_must_be_positive():
    network = ep.FeedForward([(ep.Dense(jnp.ones((1, 1))), ep.QIF(10.0, ep.CurrentSynapses(5.0)))])
    solver = ep.Hybrid(largest_step=1.0, max_spikes=1, max_steps=32)
    found = ep.simulate(network, ep.Spikes.from_events([], []), 1.0, solver=solver)
    with pytest.raises(ValueError, match="drive must be positive"):
        ep.add_pseudospikes(network, found, 1.0, drive=0.0)
