from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
from benchmarks import RESULTS, Training, fit, seed_keys, train
from benchmarks._fit import fit_in_one_piece, side_by_side
from tests.benchmarks.toy import TOY, Toy, ToyTraining


class Counter(Training):
    """Counts: epoch n adds n + 1, so that everything is known in advance."""

    epochs: int = 4
    steps_per_epoch: int = 1
    change: Any = None

    def init(self, key):
        return {"sum": jnp.zeros((), int), "key": key}

    def epoch(self, state, number):
        state = {**state, "sum": state["sum"] + number + 1}
        metrics = {"sum": state["sum"], "number": number}
        return (state, metrics) if self.change is None else self.change(state, metrics)

    def finish(self, state):
        return {"test_sum": state["sum"]}, state["sum"], ep.RESULTS.spikes_lost


def test_epochs_are_numbered_from_zero_and_all_run():
    outcome = fit(Counter(), seed_keys(0, 2), progress=False, throw=False)
    np.testing.assert_array_equal(outcome.history["sum"], [[1, 1], [3, 3], [6, 6], [10, 10]])
    np.testing.assert_array_equal(outcome.history["number"], [[0, 0], [1, 1], [2, 2], [3, 3]])
    np.testing.assert_array_equal(outcome.metrics["test_sum"], [10, 10])
    np.testing.assert_array_equal(outcome.metrics["sum"], [10, 10])


def test_train_is_pure_and_agrees_with_fit(precision):
    keys = seed_keys(3, 2)
    outcome = fit(ToyTraining(Toy()), keys, progress=False)
    metrics, network, result = jax.jit(jax.vmap(lambda key: train(ToyTraining(Toy()), key)))(keys)
    assert bool(jnp.all(result == RESULTS.successful))
    assert set(metrics) == set(outcome.metrics) == {"train_loss", "validation_accuracy", "test_accuracy"}
    tolerance = 50 * np.finfo(precision).eps
    np.testing.assert_allclose(network.weights, outcome.network.weights, rtol=tolerance)
    for name, values in metrics.items():
        assert values.dtype == precision
        np.testing.assert_allclose(values, outcome.metrics[name], rtol=20 * tolerance)


def test_a_seed_of_a_batch_is_that_seed_alone():
    batch = fit(ToyTraining(Toy()), seed_keys(5, 3), progress=False)
    alone = fit(ToyTraining(Toy()), seed_keys(6, 1), progress=False)
    np.testing.assert_allclose(batch.network.weights[1], alone.network.weights[0], rtol=1e-6)
    np.testing.assert_allclose(batch.history["train_loss"][:, 1], alone.history["train_loss"][:, 0], rtol=1e-5)


def test_one_failed_seed_is_named_and_disturbs_no_other():
    good = fit(ToyTraining(Toy()), seed_keys(0, 3), progress=False)
    bad = fit(ToyTraining(Toy(fail=1)), seed_keys(0, 3), progress=False, throw=False)
    np.testing.assert_array_equal(bad.result == RESULTS.non_finite, [False, True, False])
    assert list(bad.failures) == [1] and bad.failures[1].startswith("Not finite: test_accuracy, train_loss")
    np.testing.assert_array_equal(bad.network.weights[::2], good.network.weights[::2])
    assert np.isnan(bad.history["train_loss"][2:, 1]).all() and np.isfinite(bad.history["train_loss"][:, ::2]).all()
    with pytest.raises(RuntimeError, match=r"1 of 3 seeds failed \(seed 1: "):
        fit(ToyTraining(Toy(fail=1)), seed_keys(0, 3), progress=False)


def test_a_failure_that_the_training_reports_is_kept():
    outcome = fit(Counter(), seed_keys(0, 1), progress=False, throw=False)
    assert bool(jnp.all(outcome.result == ep.RESULTS.spikes_lost))


def test_an_experiment_without_epochs_runs_in_one_piece():
    outcome = fit_in_one_piece(TOY.function, Toy(), seed_keys(0, 2))
    expected = fit(ToyTraining(Toy()), seed_keys(0, 2), progress=False)
    np.testing.assert_allclose(outcome.metrics["test_accuracy"], expected.metrics["test_accuracy"], rtol=1e-5)
    assert outcome.history == {} and outcome.step_ms is None and outcome.compile_s > 0

    def poisoned(config, key):
        return {"loss": jnp.log(jax.random.uniform(key) - 2), "pieces": 1}, None, RESULTS.successful

    outcome = fit_in_one_piece(poisoned, Toy(), seed_keys(0, 2))
    assert list(outcome.failures) == [0, 1]
    np.testing.assert_array_equal(outcome.metrics["pieces"], [1, 1])


def test_metrics_can_be_python_numbers(precision):
    training = Counter(change=lambda state, metrics: (state, {"loss": 0.5, "layers": 3, **metrics}))
    outcome = fit(training, seed_keys(0, 2), progress=False, throw=False)
    np.testing.assert_array_equal(outcome.history["loss"], np.full((4, 2), 0.5))
    np.testing.assert_array_equal(outcome.metrics["layers"], [3, 3])
    assert train(training, jax.random.key(0))[0]["loss"] == 0.5


def test_compilation_is_not_part_of_the_time_per_step():
    outcome = fit(ToyTraining(Toy(epochs=20)), seed_keys(0, 1), progress=False)
    assert outcome.step_ms is not None
    assert 0 < 1e-3 * outcome.step_ms * 4 < outcome.compile_s


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state, metrics: ({**state, "sum": state["sum"] * 1.0}, metrics), r"\['sum'\]: int32\[\] there, float"),
        (lambda state, metrics: ({"sum": state["sum"]}, metrics), r"\['key'\].*absent here"),
        (
            lambda state, metrics: (state, {"loss": jnp.zeros(3)}),
            r"'loss' of Counter.epoch must be a real scalar.*\(3,\)",
        ),
        (lambda state, metrics: (state, {"epoch": jnp.zeros(())}), "'epoch' of Counter.epoch must be renamed"),
        (lambda state, metrics: (state, {"loss": "low"}), "Metric 'loss' must be a scalar, got 'low'"),
        (lambda state, metrics: (state, None), "Metrics must be a dictionary from name to scalar, got None"),
        (lambda state, metrics: state, r"Counter.epoch must return \(state, metrics\), got dict"),
    ],
)
def test_an_epoch_that_changes_the_state_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        fit(Counter(change=change), seed_keys(0, 1), progress=False)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="epochs of ToyTraining must be at least 1, got 0"):
        fit(ToyTraining(Toy(epochs=0)), seed_keys(0, 1), progress=False)
    with pytest.raises(ValueError, match="epochs of Counter must be at least 1, got -1"):
        train(Counter(epochs=-1), jax.random.key(0))
    with pytest.raises(ValueError, match="seeds at least 1, got seed = 0, seeds = 0"):
        seed_keys(0, 0)
    for seed in (2**31, 2**40, 2**70):  # their keys would be those of other seeds
        with pytest.raises(ValueError, match=r"seed must be at most 2\^31 - seeds"):
            seed_keys(seed, 1)
    with pytest.raises(ValueError, match="resume=True needs the run"):
        fit(ToyTraining(Toy()), seed_keys(0, 1), resume=True, progress=False)


def test_data_are_arguments_of_the_program_not_constants():
    data = (jnp.ones((10**5, 3)), jnp.ones(10**5))
    training = eqx.tree_at(lambda t: (t.x, t.y), ToyTraining(Toy()), data)
    programs = side_by_side(training, seed_keys(0, 1)).programs
    assert programs._epochs.compiled.memory_analysis().argument_size_in_bytes > sum(values.nbytes for values in data)


def test_the_progress_bar_shows_loss_and_accuracy(capsys):
    fit(ToyTraining(Toy()), seed_keys(0, 2))
    bar = capsys.readouterr().err
    assert "6/6" in bar and "train loss" in bar and "validation accuracy" in bar
