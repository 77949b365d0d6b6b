import jax.numpy as jnp
import numpy as np
import pytest

import gle
from tests.gle.networks import network


def predictor(weights):
    """One neuron without lag, whose output is its drive."""
    layer = gle.Layer(gle.Dense(jnp.asarray(weights)[None], None), 1.0, 1.0, lambda potential: potential)
    return gle.Network([layer], gle.MeanSquaredError())


def test_a_sine_goes_on_for_ever(x64):
    """x(t + 1) = 2 cos(omega) x(t) - x(t - 1) is exact."""
    wave = np.sin(0.1 * np.arange(1020) + 0.3)[:, None]
    learner = gle.start(predictor([2 * np.cos(0.1), -1.0]))
    _, outputs, _ = gle.autoregress(learner, jnp.asarray(wave[:20]), 1000, delays=(0, 1), dt=0.1)
    np.testing.assert_allclose(outputs, wave[20:], atol=1e-9)


@pytest.mark.parametrize("ahead", [1, 3])
def test_agrees_with_a_loop_that_feeds_outputs_back(ahead, key, x64):
    net, dt, delays = network(key, (2, 4, 1)), 0.05, (0, 2)
    series = list(np.sin(0.3 * np.arange(10))[:, None])
    learner, *_ = gle.online(gle.start(net), gle.delayed(jnp.asarray(series), delays), dt=dt)
    following, outputs, _ = gle.autoregress(learner, jnp.asarray(series), 5, delays=delays, ahead=ahead, dt=dt)
    for output in outputs:
        now = len(series) - ahead
        inputs = jnp.asarray([[series[now - delay][0] for delay in delays]])
        learner, potentials, _ = gle.online(learner, inputs, dt=dt)
        np.testing.assert_allclose(output, net.layers[-1].activation(potentials[0]), rtol=1e-12)
        series.append(np.asarray(output))
    np.testing.assert_allclose(following.state.u[0], learner.state.u[0], rtol=1e-12)


def test_delayed_inputs_are_the_series_some_steps_ago():
    inputs = gle.delayed(jnp.arange(6.0)[:, None], (0, 3, 1))
    assert inputs.tolist() == [[3, 0, 2], [4, 1, 3], [5, 2, 4]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"delays": ()}, "delays must be"),
        ({"delays": (-1,)}, "delays must be"),
        ({"ahead": 0}, "ahead must be"),
        ({"delays": (20, 0)}, "past must hold"),
    ],
)
def test_bad_input_is_refused(changes, message):
    arguments = {"delays": (0, 1), "dt": 0.1} | changes
    with pytest.raises(ValueError, match=message):
        gle.autoregress(gle.start(predictor([1.0, 0.0])), jnp.zeros((20, 1)), 5, **arguments)


def test_what_explodes_is_reported():
    learner = gle.start(predictor([10.0, 0.0]))
    _, _, result = gle.autoregress(learner, jnp.ones((20, 1)), 100, delays=(0, 1), dt=0.1, throw=False)
    assert result == gle.RESULTS.non_finite
