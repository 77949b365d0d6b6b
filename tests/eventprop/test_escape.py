"""Escape-rate neurons in a solver: cuts, derivatives at fixed draws, and keys."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
from tests.eventprop.neuron_reference import of_neuron

TIMES, KEY = (1.0, 9.0, 16.0), jax.random.key(3)
CONTROLLER = diffrax.PIDController(rtol=1e-9, atol=1e-9)
SOLVER = ep.Hybrid(1.0, 8, max_steps=512, solver=diffrax.Dopri8(), stepsize_controller=CONTROLLER)


def neuron(tau=4.0, bias=0.3) -> ep.EscapeRate:
    return ep.EscapeRate(20.0, ep.CurrentSynapses(5.0), ep.ExponentialEscape(tau), refractory=5.0, bias=bias)


@eqx.filter_jit
def run(times, t1, key, weight=1.5, state=None, **parameters):
    network = ep.FeedForward([(ep.Dense(jnp.reshape(weight, (1, 1))), neuron(**parameters))])
    spikes = ep.Spikes(jnp.asarray(times), jnp.zeros(len(times), int))
    return ep.simulate(network, spikes, t1, solver=SOLVER, key=key, state=state)


def test_spikes_are_those_of_its_own_description(x64):
    key = jax.random.fold_in(KEY, 0)  # that of the first population
    expected, _ = of_neuron(neuron(), [(t, 0, 1.5) for t in TIMES], 40.0, key)
    assert len(expected) > 3
    found = run(TIMES, 40.0, KEY).spikes[0].times[0]
    np.testing.assert_allclose(found[: len(expected)], expected, rtol=0, atol=1e-7)
    assert np.all(found[len(expected) :] == np.inf)
    assert run(TIMES, 40.0, jax.random.key(4)).spikes[0].times[0, 0] != found[0]


@pytest.mark.slow
def test_cuts_with_the_same_key_give_the_whole(x64):
    whole = run(TIMES, 40.0, KEY)
    first = run((1.0, 9.0, np.inf), 13.0, KEY)
    second = run((3.0, np.inf, np.inf), 27.0, KEY, state=first.state)
    times = np.sort(np.concatenate([first.spikes[0].times[0], 13.0 + second.spikes[0].times[0]]))
    np.testing.assert_allclose(times[:8], whole.spikes[0].times[0], rtol=0, atol=1e-7)
    np.testing.assert_allclose(second.state.neurons[0].draw, whole.state.neurons[0].draw, rtol=1e-12)


@pytest.mark.slow
def test_derivatives_at_fixed_draws_are_differences(x64):
    """A spike later moves all that follow it: the hazard begins anew."""

    def loss(parameters):
        tau, bias, weight, shift = parameters
        times = run(jnp.asarray(TIMES) + shift, 40.0, KEY, weight, tau=tau, bias=bias).spikes[0].times
        return jnp.sum(jnp.where(jnp.isfinite(times), times, 0))

    at, step = jnp.array([4.0, 0.3, 1.5, 0.0]), 1e-5
    gradient = jax.jit(jax.grad(loss))(at)
    differences = [(loss(at + step * e) - loss(at - step * e)) / (2 * step) for e in jnp.eye(4)]
    np.testing.assert_allclose(gradient, differences, rtol=1e-4)


def test_a_key_is_needed():
    network = ep.FeedForward([(ep.Dense([[1.0]]), neuron())])
    with pytest.raises(ValueError, match=r"key is missing: the neurons of layer 0, EscapeRate, draw at random"):
        ep.simulate(network, ep.Spikes([1.0], [0]), 9.0, solver=SOLVER)
