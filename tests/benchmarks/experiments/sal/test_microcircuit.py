import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.errors import InvalidInput
from benchmarks.experiments.sal.microcircuit.figures import draw_learning
from benchmarks.experiments.sal.microcircuit.model import METHODS, MicrocircuitTask, MicrocircuitTraining

FAST = MicrocircuitTask(epochs=30, presentation=2000.0, average=600.0, lower_rate=3.0, upper_rate=0.045, sal_rate=0.015)


def run(config, keys):
    """Metrics [seeds, epochs] of networks side by side, and the last weights [seeds, methods, 3]."""
    training = MicrocircuitTraining(config)

    @eqx.filter_jit
    @eqx.filter_vmap
    def train(key):
        state, history = jax.lax.scan(training.epoch, training.init(key), jnp.arange(training.epochs))
        return history, state.weights

    return train(keys)


@pytest.mark.slow
def test_students_find_the_teacher_with_sal_and_bp(key):
    """Rates fifteen times, presentations a tenth of the paper's, in eight seeds, most of which begin with a wrong B."""
    history, weights = run(FAST, jax.random.split(key, 8))
    losses = {method: history[f"validation_loss_{method}"][:, -1] for method in METHODS}
    assert np.all(losses["sal"] < 0.15) and np.all(losses["bp"] < 0.15)
    assert np.median(losses["sal"]) < 0.03 and np.median(losses["bp"]) < 0.03
    assert np.all(np.abs(weights[:, 0, 2] - weights[:, 0, 1]) < 0.5)
    wrong = weights[:, METHODS.index("fa"), 2] < -0.55
    assert np.sum(wrong) >= 4 and np.all(losses["fa"][wrong] > 0.2)


def test_what_methods_do_to_backward_weights(key):
    """One short epoch: BP copies, FA keeps, SAL learns; all start alike, and figures take what there is."""
    short = dataclasses.replace(FAST, epochs=1, inputs=2, sal_inputs=1)
    history, weights = run(short, jax.random.split(key, 2))
    start = jax.vmap(MicrocircuitTraining(short).init)(jax.random.split(key, 2)).weights
    sal, bp, fa = (METHODS.index(name) for name in ("sal", "bp", "fa"))
    np.testing.assert_array_equal(weights[:, bp, 2], weights[:, bp, 1])
    np.testing.assert_array_equal(weights[:, fa, 2], start[:, fa, 2])
    assert np.all(weights[:, sal, 2] != start[:, sal, 2])
    np.testing.assert_array_equal(start[:, sal], start[:, fa])
    assert np.all(weights[:, :, :2] != start[:, :, :2])
    assert len(draw_learning({name: np.asarray(values) for name, values in history.items()}).axes) == 4


def test_bad_input():
    with pytest.raises(InvalidInput, match=r"presentation must be a positive multiple of 100\.0 ms, got 150\.0"):
        MicrocircuitTraining(MicrocircuitTask(presentation=150.0))
    with pytest.raises(InvalidInput, match=r"average must be shorter than presentation = 1000\.0, got 2000\.0"):
        MicrocircuitTraining(MicrocircuitTask(presentation=1000.0))
