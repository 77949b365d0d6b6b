"""Sweeps of a `Training`: curves, networks, extension, interrupts, batches that were ended."""

import dataclasses
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import RESULTS, Metric, Training, fit, seed_keys, traced
from benchmarks._sweep import batch, merge, sweep
from benchmarks._sweep.batch import read_task
from benchmarks.run import Run
from tests.benchmarks.toy import TOY, Toy, ToyTraining

OVER = {"learning_rate": (0.1, 0.2, 0.3)}


def quiet(*args, **kwargs):
    return sweep(*args, **{"progress": False, "over": OVER, "seeds": 3, "chunk": 4, "checkpoint_every": 0.0} | kwargs)


def batches(folder):
    return sorted((folder / "batches").iterdir())


def same(a, b):
    for name in a.metrics:
        np.testing.assert_array_equal(a.metrics[name], b.metrics[name])
    for setting in a.settings:
        np.testing.assert_array_equal(a.networks(setting, TOY).weights, b.networks(setting, TOY).weights)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A sweep that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, quiet(TOY, results=folder)


def test_every_member_has_its_curve_and_its_network_as_a_fit_has(whole):
    folder, result = whole
    for s, rate in enumerate(OVER["learning_rate"]):
        alone = fit(ToyTraining(Toy(learning_rate=rate)), seed_keys(0, 3), progress=False)
        for name in ("train_loss", "test_accuracy"):
            np.testing.assert_allclose(result.metrics[name][s], alone.metrics[name], rtol=1e-5)
        np.testing.assert_allclose(
            result.networks({"learning_rate": rate}, TOY).weights, alone.network.weights, rtol=1e-5
        )
        for path in batches(folder):
            task = read_task(path)
            rows = Run(path, {"seeds": task.seeds}, "members.json").rows()
            assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
            for i, (seed, other) in enumerate(zip(task.seeds, task.traced["learning_rate"], strict=True)):
                if other == rate:
                    curve = [row["train_loss"][i] for row in rows]
                    np.testing.assert_allclose(curve, alone.history["train_loss"][:, seed], rtol=1e-5)
    assert {path.name for path in batches(folder)[0].iterdir()} == {
        *("members.json", "metrics.jsonl", "starts.jsonl", "networks.eqx", "outcome.npz")
    }


def test_the_best_settings_networks_are_loaded_by_one_call(whole):
    _, result = whole
    best = result.networks(experiment=TOY)
    assert best.weights.shape == (3, 3)
    np.testing.assert_array_equal(best.weights, result.networks(result.best(), ToyTraining).weights)
    with pytest.raises(ValueError, match=r"\{'learning_rate': 7\} is none of this sweep's"):
        result.networks({"learning_rate": 7}, TOY)
    with pytest.raises(ValueError, match="There is no experiment 'toy'"):
        result.networks()
    with pytest.raises(ValueError, match="were not kept"):
        quiet(TOY, over={"learning_rate": (0.1,)}, seeds=1).networks()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_stop_loses_nothing(tmp_path, whole, monkeypatch, number):
    append, rows, asked = Run.append, [], []

    def append_and_stop(self, row):
        append(self, row)
        rows.append(row["epoch"])
        if len(rows) == 9 and not asked:  # the third epoch of the second batch
            asked.append(number)
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "append", append_and_stop)
        with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit):
            quiet(TOY, results=tmp_path)
    assert rows == [1, 2, 3, 4, 5, 6, 1, 2, 3]
    assert merge(tmp_path).missing == 6
    with monkeypatch.context() as patch:
        rows.clear()
        patch.setattr(Run, "append", append_and_stop)
        same(quiet(TOY, results=tmp_path), whole[1])
    assert rows == [4, 5, 6, 1, 2, 3, 4, 5, 6]


def test_more_values_seeds_and_epochs_find_what_is_there(tmp_path, monkeypatch):
    first = quiet(TOY, over={"learning_rate": (0.1, 0.3)}, seeds=2, results=tmp_path)
    ran = []
    original = batch._run

    def noting(task, *args):
        ran.append((task.config["epochs"], list(zip(task.traced["learning_rate"], task.seeds, strict=True))))
        return original(task, *args)

    monkeypatch.setattr(batch, "_run", noting)
    wider = quiet(TOY, over={"learning_rate": (0.1, 0.2, 0.3)}, seeds=3, results=tmp_path)
    new = [(0.1, 2), (0.2, 0), (0.2, 1), (0.2, 2), (0.3, 2)]
    assert [epochs for epochs, _ in ran] == [6, 6]
    assert [member for _, members in ran for member in members] == new
    np.testing.assert_array_equal(wider.metrics["test_accuracy"][[0, 2], :2], first.metrics["test_accuracy"])
    np.testing.assert_array_equal(
        wider.networks({"learning_rate": 0.1}, TOY).weights[:2], first.networks({"learning_rate": 0.1}, TOY).weights
    )

    ran.clear()
    longer = quiet(TOY, Toy(epochs=8), over={"learning_rate": (0.1,)}, seeds=2, results=tmp_path)
    assert ran == [(8, [(0.1, 0), (0.1, 1)])]
    assert (longer.metrics["train_loss"] < first.metrics["train_loss"][0]).all()
    ran.clear()
    again = quiet(TOY, over={"learning_rate": (0.1, 0.3)}, seeds=2, results=tmp_path)
    assert ran == []
    same(again, first)
    assert len(first.curves()["epoch"]) == 2 * 2 * 6  # though the folder's plan was another one in between
    assert set(longer.curves()["epoch"]) == {1, 2, 3, 4, 5, 6, 7, 8}


def test_a_batch_that_was_ended_twice_is_halved_and_its_only_member_given_up(tmp_path, whole):
    """As if the process had been killed at once, whenever members 1 and 5 ran."""
    result = None
    for _ in range(40):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batch, "run_epochs", aborting)
            try:
                result = quiet(TOY, results=tmp_path)
                break
            except Ended:
                continue
    assert result is not None
    assert [(f.setting["learning_rate"], f.seed) for f in result.failures] == [(0.1, 1), (0.2, 2)]
    assert all(f.reason.startswith("The process ended while it ran, 2 times; delete ") for f in result.failures)
    good = result.reasons == ""
    assert good.sum() == 7
    np.testing.assert_array_equal(result.metrics["test_accuracy"][good], whole[1].metrics["test_accuracy"][good])
    assert {len(read_task(path)) for path in batches(tmp_path)} <= {1, 2, 3}


class Ended(BaseException):
    """What ends the process in a test."""


def aborting(one, *args, **kwargs):
    rates, seeds = one._slices[0][0]["learning_rate"][: one.count], one._slices[0][1][: one.count]
    if any((round(float(r), 3), int(s)) in ((0.1, 1), (0.2, 2)) for r, s in zip(rates, seeds, strict=True)):
        raise Ended
    from benchmarks._loop import run_epochs

    return run_epochs(one, *args, **kwargs)


@dataclasses.dataclass(frozen=True)
class Config:
    """With a data set by its number."""

    rate: float = 0.1
    data: int = traced(0)
    epochs: int = 2


class Mean(Training):
    """Learns the mean of a data set."""

    metrics = (Metric("mean", higher_is_better=True),)
    rate: float
    data: jax.Array
    epochs: int
    steps_per_epoch: int = 1

    def __init__(self, config: Config):
        self.rate, self.epochs = config.rate, config.epochs
        self.data = jax.random.normal(jax.random.key(config.data), (100,))

    def init(self, key):
        return jnp.zeros(())

    def epoch(self, state, number):
        return state + self.rate * (self.data.mean() - state), {"train_loss": jnp.zeros(())}

    def finish(self, state):
        return {"train_loss": state}, state, RESULTS.successful


def make(config: Config) -> Training:
    return Mean(config)


make.metrics = Mean.metrics


@pytest.mark.parametrize("experiment", [make, Mean])
def test_a_users_training_is_swept_and_whole_numbers_can_be_traced(experiment):
    data = (3, 4, 5, 2**31 - 1)
    result = quiet(experiment, over={"data": data, "rate": (0.5, 1.0)}, seeds=1, metric="train_loss")
    expected = [[c * jax.random.normal(jax.random.key(d), (100,)).mean() for c in (0.75, 1.0)] for d in data]
    np.testing.assert_allclose(result.metrics["train_loss"].reshape(4, 2), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="data: a traced whole number has 32 bits"):
        quiet(experiment, over={"data": (2**31,)}, metric="train_loss")


def test_what_makes_no_training_is_refused():
    def wrong(config: Config):
        return config

    with pytest.raises(ValueError, match=r"wrong must return a benchmarks\.Training, got Config"):
        quiet(wrong, over={"rate": (1.0,)}, metric="train_loss")


def test_the_same_plan_in_two_processes_is_refused(tmp_path, monkeypatch):
    append, refused = Run.append, []

    def append_and_try(self, row):
        append(self, row)
        if not refused:
            refused.append(row)
            with pytest.raises(OSError, match="is being run by process"):
                quiet(TOY, results=tmp_path)

    monkeypatch.setattr(Run, "append", append_and_try)
    assert quiet(TOY, results=tmp_path).missing == 0 and refused
