import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.errors import InvalidInput
from benchmarks.experiments.sal.microcircuit.figures import draw_learning
from benchmarks.experiments.sal.microcircuit.model import METHODS, MicrocircuitTask, MicrocircuitTraining

FAST = MicrocircuitTask(epochs=40, presentation=1000.0, average=200.0, lower_rate=4.0, upper_rate=0.06, sal_rate=0.02)


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
    """Rates twenty times, presentations a twentieth of the paper's; eight seeds."""
    history, weights = run(FAST, jax.random.split(key, 8))
    for method in ("sal", "bp"):
        ends = np.stack([np.mean(history[f"{weight}_{method}"][:, -5:], axis=1) for weight in ("w10", "w21")])
        assert np.mean(np.all(np.abs(ends - 2) < 0.7, axis=0)) >= 0.75
    wrong = history["b_fa"][:, 0] < 0
    assert 0 < np.sum(wrong) < 8
    assert np.all(history["validation_loss_fa"][wrong, -1] > 10 * np.median(history["validation_loss_bp"][:, -1]))
    assert weights.shape == (8, 3, 3)


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
