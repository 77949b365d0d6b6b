"""How SAL meets diffrax: escape-rate neurons in continuous time are sal's chain in the limit of small steps."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import eventprop as ep
import sal

TAU, T1, REPLICAS = 10.0, 1000.0, 256
W_12, W_21, BIAS = 8.0, -4.0, (0.0, 0.5)
RATE = 1e-3


def chain(dt: float) -> np.ndarray:
    """Rates and the mean change of the weights in T1, by sal's theory in steps of dt."""
    network = sal.two_neurons((W_12, W_21), BIAS, sal.DoubleExponential(1.0, 2.0, 1.0), TAU)
    state = sal.steady_state(network, dt=dt, states=round(15 / dt))
    change = RATE * T1 * state.differences.rate * sal.expected_update(state.differences, sal.Exponential(3.0))
    return np.concatenate([state.rates, change])


@pytest.mark.slow
def test_two_neurons_are_the_chain_and_learn_as_it_does(x64):
    """Rates, and with them intervals; spike-timing differences by the increments of `sal.align`, which sum over them.

    The PSPs end within the refractory period, so that only the last spike counts, as in the theory.
    """
    neuron = ep.EscapeRate(
        2.0, ep.CurrentSynapses(1.0), ep.ExponentialEscape(TAU), refractory=TAU, bias=jnp.array(BIAS)
    )
    lateral = jnp.array([[0.0, W_12], [W_21, 0.0]])
    network = ep.Recurrent([(ep.Dense(jnp.zeros((2, 1))), neuron, ep.Dense(lateral))])
    controller = diffrax.PIDController(rtol=1e-4, atol=1e-4)
    solver = ep.Hybrid(1.0, round(T1 / TAU) + 1, max_steps=8192, stepsize_controller=controller)

    @jax.jit
    @jax.vmap
    def trains(key):
        return ep.simulate(network, ep.Spikes([jnp.inf], [0]), T1, solver=solver, key=key).spikes[0]

    spikes = trains(jax.random.split(jax.random.key(0), REPLICAS))
    window = sal.Exponential(3.0)
    rule = sal.align(RATE, sal.STDP(window, window, TAU, pairing=sal.NearestPairs()), replicas=(REPLICAS,))
    update, _ = rule.update(jnp.zeros((2, 2)), rule.init(lateral), lateral, pre=spikes, post=spikes)
    coarse, fine = chain(0.2), chain(0.1)
    expected = 2 * fine - coarse
    rates = jnp.mean(spikes.count(), axis=0) / T1
    np.testing.assert_allclose(rates, expected[:2], rtol=0.01)
    np.testing.assert_allclose([update[0, 1], update[1, 0]], expected[2:], rtol=0.06)
    assert update[0, 1] < 0 < update[1, 0]  # towards each other
    after = optax.apply_updates(lateral, update)
    assert abs(after[0, 1] - after[1, 0]) < W_12 - W_21
