import dataclasses
import json

import equinox as eqx
import jax
import numpy as np
import pytest

import eventprop as ep
from benchmarks import sweep
from benchmarks._execute import execute
from benchmarks._fit import fit_in_one_piece, seed_keys
from benchmarks.datasets import yinyang
from benchmarks.experiments import EXPERIMENTS
from benchmarks.experiments.eventprop.yinyang.figures import respond
from benchmarks.experiments.eventprop.yinyang.model import YinYang, YinYangPaper, YinYangRecurrent, YinYangTraining
from benchmarks.training import train

LATER = EXPERIMENTS["eventprop-yinyang"]
SMALL = YinYang(
    hidden=10,
    epochs=2,
    batch_size=500,
    learning_rate=0.02,
    hidden_mean=2.0,
    output_mean=2.0,
    max_spikes=4,
    max_events=40,
)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """A run of two seeds, as the command line makes it."""
    return execute(LATER, SMALL, seeds=2, results=tmp_path_factory.mktemp("results"), progress=False)


def test_a_small_network_learns_without_losing_spikes(outcome):
    run, fit = outcome
    assert fit.failures == {}
    np.testing.assert_array_equal(fit.history["spikes_lost"], np.zeros((2, 2)))
    for loss in ("train_loss", "validation_loss"):
        assert np.all(fit.history[loss][1] < fit.history[loss][0])
    assert np.all(fit.metrics["test_accuracy"] > 0.45)  # 334 of 1000 samples belong to the largest class but one
    assert {"test_accuracy", "step_ms", "compile_s"} <= json.loads((run.directory / "summary.json").read_text()).keys()


@pytest.mark.slow
def test_the_figure_shows_what_was_judged(outcome):
    run, fit = outcome
    training = YinYangTraining(SMALL)
    LATER.figures(SMALL, fit, run.directory)
    assert (run.directory / "training.png").read_bytes().startswith(b"\x89PNG")

    test = yinyang.load().test
    network = jax.tree.map(lambda x: x[0] if eqx.is_array(x) else x, fit.network)
    hidden, output = respond(training, network, test.features)
    assert (hidden.shape, output.shape) == ((1000, 10, 4), (1000, 3))
    accuracy = np.mean((output.argmin(axis=1) == test.labels) & np.isfinite(output).any(axis=1))
    np.testing.assert_allclose(accuracy, fit.metrics["test_accuracy"][0], atol=0.002)  # a near tie may turn over


def test_a_bound_on_events_that_is_too_small_is_reported():
    training = YinYangTraining(dataclasses.replace(SMALL, max_events=2))
    finish = eqx.filter_jit(lambda training, key: training.finish(training.init(key)))
    _, _, result = finish(training, jax.random.key(0))
    assert result == ep.RESULTS.spikes_lost


@pytest.mark.slow
def test_a_sweep_equals_the_runs_of_its_settings(x64):
    config = dataclasses.replace(SMALL, epochs=1)
    result = sweep(LATER, config, over={"learning_rate": (0.02, 0.005)}, seeds=2, progress=False)
    assert (result.failures, result.missing) == ([], 0)
    alone = fit_in_one_piece(LATER.function, dataclasses.replace(config, learning_rate=0.005), seed_keys(0, 2))
    for metric in ("train_loss", "test_loss", "validation_accuracy", "test_accuracy"):
        np.testing.assert_allclose(result.metrics[metric][1], alone.metrics[metric], rtol=1e-6, err_msg=metric)
    assert np.all(result.metrics["train_loss"][0] != result.metrics["train_loss"][1])


def test_batches_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"batch_size must be 1\.\.5000, the training set, but is 5001"):
        YinYangTraining(YinYang(batch_size=5001))


def test_both_recipes_have_their_published_inputs():
    later, paper = (YinYangTraining(config).train_set[0].times for config in (YinYang(), YinYangPaper()))
    assert later.shape == paper.shape == (5000, 5)
    assert np.all(later[:, 0] == 0) and later.max() <= 30  # the bias spike comes first
    assert paper.min() >= 10 and paper.max() <= 40
    assert np.all(np.sum(np.asarray(paper) == 20, axis=1) >= 1)


def test_recurrent_networks_learn_lateral_weights_and_delays(key):
    training = YinYangTraining(YinYangRecurrent(hidden=6))
    state = training.init(key)
    _, lateral, _ = (p.connection for p in state.network.projections)
    assert lateral.weight.shape == (6, 6) and lateral.delay.shape == (6,)
    assert np.all((np.asarray(lateral.delay) >= 0) & (np.asarray(lateral.delay) <= 5))
    moments = {leaf.shape for leaf in jax.tree.leaves(state.optimiser)}
    assert {(6, 5), (6, 6), (6,), (3, 6)} <= moments  # weights and delays


@pytest.mark.slow
def test_delays_of_a_recurrent_network_move_and_none_becomes_negative(key):
    config = YinYangRecurrent(hidden=5, epochs=1, batch_size=500, learning_rate=0.05)
    training = YinYangTraining(config)
    metrics, network, _ = eqx.filter_jit(train)(training, key)
    before, after = (n.projections[1].connection.delay for n in (training.init(key).network, network))
    assert metrics["spikes_lost"] == 0
    assert np.all(np.asarray(after) >= 0) and np.any(np.abs(after - before) > 0.1)
