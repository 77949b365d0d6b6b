import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gle
from gle import NoisyRates, Step
from tests.gle.networks import arrays, network, stream

DT = 0.05


def quiet(neurons):
    """One layer that passes its input on at once."""
    return gle.Network([gle.Layer(gle.Identity(neurons), 1.0, 1.0, gle.linear)], gle.MeanSquaredError())


@pytest.mark.parametrize("dt", [0.02, 0.7])
def test_the_noise_has_the_autocorrelation_of_two_leaky_integrators(dt, key, precision):
    """(1 + t/tau) exp(-t/tau) from the first step on, whatever dt is; 4e4 neurons, so 1 % is two standard errors."""
    stepper, neurons, tau = NoisyRates(Step(), 0.5, 1.5, key), 40_000, 1.5
    learner = gle.start(quiet(neurons), stepper=stepper)
    # An identity with input zero shows the noise of the inputs and that of the outputs on top of each other.
    _, sent, _ = gle.online(learner, jnp.zeros((6, neurons)), dt=dt, stepper=stepper)
    assert sent.dtype == precision
    sent, t = np.asarray(sent), dt * np.arange(6) / tau
    expected = 2 * 0.25 * (1 + t) * np.exp(-t)
    np.testing.assert_allclose(np.mean(sent[0] * sent, axis=1), expected, atol=0.01)
    np.testing.assert_allclose(np.mean(sent**2, axis=1), 0.5, atol=0.01)
    np.testing.assert_allclose(np.mean((sent[1] - sent[0]) ** 2), 2 * (0.5 - expected[1]), rtol=0.02)


def test_everybody_who_reads_a_rate_reads_it_with_noise(key, x64, rng):
    """One step in latent equilibrium, by hand: rates, output error and gradients."""
    net = network(key, (2, 4, 3), tau_m=1.0, tau_r=1.0)
    first, second = (jax.tree.map(np.asarray, layer.connection) for layer in net.layers)
    x, target = rng.normal(size=(5, 2)), rng.normal(size=(5, 3))
    stepper = NoisyRates(Step(), 0.3, 2.0, key)
    state, signals = eqx.filter_jit(stepper.step)(
        net, stepper.init(net, net.init((5,))), jnp.asarray(x), jnp.asarray(target), DT
    )
    of_input, of_hidden, of_output = np.split(0.3 * np.asarray(state.noise[0]), (2, 6), axis=1)
    below = x + of_input
    hidden = np.tanh(below @ first.weight.T + first.bias)
    read = hidden + of_hidden
    potential = read @ second.weight.T + second.bias + of_output
    error = (target - np.tanh(potential)) / np.cosh(potential) ** 2
    error_below = (1 - hidden**2) * (error @ second.weight)
    np.testing.assert_allclose(signals.rate[1], np.tanh(potential), rtol=1e-12)
    gradient = stepper.gradient(net, state, signals)
    for layer, e, r in zip(gradient.layers, (error_below, error), (below, read), strict=True):
        np.testing.assert_allclose(layer.connection.weight, -e.T @ r / 5, rtol=1e-12)
        np.testing.assert_allclose(layer.connection.bias, -e.mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize("inside", [Step(), gle.Algorithm1(), gle.Instantaneous()])
def test_without_noise_it_is_the_stepper_inside(inside, key, x64, rng):
    inputs, targets = stream(rng, 20, 3, 2, 3)
    ends = []
    for stepper in (inside, NoisyRates(inside, 0.0, 1.0, key)):
        learner = gle.start(network(key, (2, 4, 3)), optax.sgd(0.1), stepper=stepper, batch=(3,))
        learner, _, _ = gle.online(learner, inputs, targets, dt=DT, optimiser=optax.sgd(0.1), stepper=stepper)
        ends.append(arrays(learner.network))
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_a_noisy_stream_in_two_parts_ends_the_same(key, rng):
    inputs, targets = (x.astype(jnp.float32) for x in stream(rng, 40, 3, 2, 3))
    stepper, optimiser = NoisyRates(Step(), 0.1, 0.3, key), optax.adam(1e-2)

    def run(learner, steps):
        return gle.online(learner, inputs[steps], targets[steps], dt=DT, optimiser=optimiser, stepper=stepper)[0]

    start = gle.start(network(key, (2, 4, 3)), optimiser, stepper=stepper, batch=(3,))
    whole, parts = run(start, slice(40)), run(run(start, slice(20)), slice(20, 40))
    for a, b in zip(arrays(whole), arrays(parts), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bad_noise_is_refused(key):
    with pytest.raises(ValueError, match=r"std of the noise must be at least 0, but is -0\.1"):
        NoisyRates(Step(), -0.1, 1.0, key)
    with pytest.raises(ValueError, match=r"tau of the noise must be above 0, but is 0\.0"):
        NoisyRates(Step(), 0.1, 0.0, key)
    with pytest.raises(ValueError, match="stepper must learn by local plasticity, unlike RTRL"):
        NoisyRates(gle.RTRL(), 0.1, 1.0, key)
