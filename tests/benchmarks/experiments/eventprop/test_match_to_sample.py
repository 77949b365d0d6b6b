import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
from benchmarks._fit import fit, seed_keys
from benchmarks.experiments.eventprop.match_to_sample.figures import draw_trials
from benchmarks.experiments.eventprop.match_to_sample.model import (
    MatchToSample,
    MatchToSampleSurrogate,
    MatchToSampleTraining,
    draw,
)
from benchmarks.training import train

SMALL = {"hidden": 6, "inputs": 4, "silence": 20.0, "batch_size": 8, "steps": 2, "epochs": 1, "max_events": 64}


def test_a_trial_is_two_cues_each_spike_once_and_the_label_says_whether_they_are_alike(key):
    config = MatchToSample(inputs=3, cue=10.0, silence=50.0)
    spikes, labels = draw(config, key, 400)
    times, index = (np.asarray(x).reshape(400, 2, 3) for x in (spikes.times, spikes.index))
    for cue, start in enumerate((0.0, 60.0)):
        assert (times[:, cue] >= start).all() and (times[:, cue] <= start + 10).all()
        assert np.mean(times[:, cue]) == pytest.approx(start + 5, abs=0.4)  # 4 standard errors
    assert (np.diff(spikes.times, axis=1) >= 0).all()
    kinds = index // 3
    assert (kinds == kinds[:, :, :1]).all()
    assert (np.sort(index % 3, axis=2) == np.arange(3)).all()
    np.testing.assert_array_equal(labels, kinds[:, 0, 0] == kinds[:, 1, 0])
    assert 0.4 < np.mean(kinds[:, :, 0]) < 0.6 and 0.4 < np.mean(np.asarray(labels)) < 0.6


def test_both_methods_judge_one_network_alike(key):
    """Their spikes are those of one network, but for the steps of the grid."""
    found = {}
    driven = {**SMALL, "input_mean": 2.0}
    for config in (MatchToSample(**driven), MatchToSampleSurrogate(**driven, dt=0.125)):
        training = MatchToSampleTraining(config, judged=8)
        network, spikes = training.init(key).network, jax.tree.map(lambda x: x[0], training.test_set[0])
        found[config.method] = training.simulate(network, spikes, training.looks())
    exact, close = found["eventprop"], found["surrogate"]
    assert exact.result == close.result == ep.RESULTS.successful
    assert jnp.sum(exact.spikes[0].count()) > 3
    np.testing.assert_array_equal(exact.spikes[0].count(), close.spikes[0].count())
    np.testing.assert_allclose(exact.ys[1], close.ys[1], atol=0.05 * float(jnp.max(jnp.abs(exact.ys[1]))))


def test_surrogate_gradients_learn_it_within_seconds(key):
    config = MatchToSampleSurrogate(epochs=4, dt=1.0, silence=40.0)
    metrics, _, result = eqx.filter_jit(train)(MatchToSampleTraining(config, judged=128), key)
    assert result == ep.RESULTS.successful and metrics["trials_lost"] == 0
    assert metrics["test_accuracy"] > 0.8


@pytest.mark.slow
def test_eventprop_trains_and_its_bounds_are_watched(key):
    training = MatchToSampleTraining(MatchToSample(**SMALL), judged=8)
    metrics, _, result = eqx.filter_jit(train)(training, key)
    assert result == ep.RESULTS.successful and np.isfinite(metrics["train_loss"])
    few = MatchToSampleTraining(MatchToSample(**SMALL, max_steps=20), judged=8)
    assert eqx.filter_jit(few.finish)(few.init(key))[2] == ep.RESULTS.spikes_lost


@pytest.mark.slow
def test_the_figure_is_drawn(tmp_path):
    config = dataclasses.replace(MatchToSampleSurrogate(), epochs=1)
    draw_trials(config, fit(MatchToSampleTraining(config), seed_keys(0, 1), progress=False), tmp_path)
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")
