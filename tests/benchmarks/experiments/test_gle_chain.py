import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gle
from benchmarks.experiments.gle_chain import TEACHER, Chain, learn, square_wave

SHORT = Chain(duration=400.0, batch_size=10, learning_rate=1e-3)


@pytest.mark.slow
def test_the_chain_finds_its_teacher_and_instantaneous_errors_do_not():
    """A tenth of the paper's time at ten times its rate."""
    run = eqx.filter_jit(learn)
    _, history, result = run(SHORT, jax.random.key(0), gle.Step())
    assert result == gle.RESULTS.successful
    np.testing.assert_allclose(history.weights[-1], TEACHER["weights"], rtol=0.02)
    np.testing.assert_allclose(history.tau_m[-1], TEACHER["tau_m"], rtol=0.02)
    assert history.loss[-1] < 1e-7 < 1e-3 < history.loss[0]
    _, instant, _ = run(SHORT, jax.random.key(0), gle.Instantaneous())
    assert instant.loss[-1] > 1e-3


def test_the_input_is_a_smoothed_square_wave():
    t = jnp.array([0.0, 0.05, 1.0, 2.0, 3.0, 4.0, 101.0])
    expected = [0.0, 0.682689, 1.0, 0.0, -1.0, 0.0, 1.0]  # erf(1 / sqrt 2) one standard deviation after an edge
    np.testing.assert_allclose(square_wave(t, Chain()), expected, atol=1e-5)
