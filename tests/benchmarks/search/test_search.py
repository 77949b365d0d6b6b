"""Searches: what they find, with how many epochs, what they survive, and what they refuse."""

import concurrent.futures

import numpy as np
import pytest

from benchmarks import search, sweep
from benchmarks._search.rungs import stops
from benchmarks._search.runner import Runner
from benchmarks.cli import main
from tests.benchmarks.sweep.toy import Toy as Parabola
from tests.benchmarks.sweep.toy import loses_spikes, raises_inside, toy
from tests.benchmarks.toy import TOY, Toy

optuna = pytest.importorskip("optuna")
COMPLETE, PRUNED, FAIL = (getattr(optuna.trial.TrialState, name) for name in ("COMPLETE", "PRUNED", "FAIL"))
OVER = {"learning_rate": "1e-3:1:log"}
HALVED = {"over": OVER, "trials": 9, "seeds": 2, "batch": 9, "chunk": 4, "progress": False}


def states(found) -> list:
    return [trial.state for trial in found.study.trials]


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    return search(TOY, Toy(epochs=9), results=tmp_path_factory.mktemp("search"), **HALVED)


def test_rungs_leave_one_trial():
    assert stops(9, 9, 3) == [1, 3, 9] and stops(100, 16, 3) == [12, 34, 100] and stops(2, 27, 3) == [1, 2]
    assert stops(30, 16, 1) == [30] and stops(0, 16, 3) == [0] and stops(10, 1, 3) == [10]


def test_of_nine_trials_three_go_on_and_one_comes_to_its_end(halved):
    """9 after epoch 1, 3 after epoch 3, 1 after 9, two seeds each: (6 + 2 x 3 + 9) x 2 = 42 epochs, not 162."""
    trials = halved.study.trials
    assert sorted(map(max, (trial.intermediate_values for trial in trials))) == [1] * 6 + [3] * 2 + [9]
    assert states(halved).count(COMPLETE) == 1 and states(halved).count(PRUNED) == 8 and halved.epochs == 42
    for stop, most in ((1, 3), (3, 1)):
        ranked = sorted((t.intermediate_values[stop] for t in trials if stop in t.intermediate_values), reverse=True)
        on = [t.intermediate_values[stop] for t in trials if max(t.intermediate_values) > stop]
        assert sorted(on, reverse=True) == ranked[:most]
    assert "1 trials to the end, 8 pruned, 0 failed, 2 seeds each, 42 epochs" in halved.table()


def test_who_goes_on_elsewhere_ends_as_if_it_had_been_alone(halved, tmp_path):
    """The states of members move from batch to batch without a bit lost."""
    (best,) = (trial for trial in halved.study.trials if trial.state == COMPLETE)
    rate = best.params["learning_rate"]
    assert halved.best() == {"learning_rate": rate}
    over = {"learning_rate": [rate, 0.5]}  # four members side by side, as there
    alone = sweep(TOY, Toy(epochs=9), over=over, seeds=2, chunk=4, progress=False, results=tmp_path)
    assert best.value == np.mean(alone.metrics["validation_accuracy"][0])
    curves = alone.curves()["validation_accuracy"].reshape(4, 9)[:2]
    for stop in (1, 3):
        assert best.intermediate_values[stop] == pytest.approx(curves[:, stop - 1].mean(), rel=1e-7)


@pytest.mark.parametrize("rung", [0, 1, 2])
def test_an_interrupted_search_goes_on(halved, tmp_path, monkeypatch, rung):
    """After any rung it ends with the same trials, and runs no rung of theirs twice."""
    calls, whole = [], Runner.run

    def interrupted(self, tasks):
        calls.append(tasks)
        if len(calls) == rung + 1:
            raise KeyboardInterrupt
        return whole(self, tasks)

    monkeypatch.setattr(Runner, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(TOY, Toy(epochs=9), results=tmp_path, **HALVED)
    found = search(TOY, Toy(epochs=9), results=tmp_path, **HALVED)
    assert len(calls) == 4
    for trial, other in zip(found.study.trials, halved.study.trials, strict=True):
        assert (trial.state, trial.value, trial.params) == (other.state, other.value, other.params)
    found = search(TOY, Toy(epochs=9), results=tmp_path, **{**HALVED, "trials": 10})
    assert len(found.study.trials) == 10 and len(calls) == 7


def test_static_settings_and_failures(tmp_path):
    """A list of whole numbers beside a range, in one piece; a trial with a member that fails is told as failed."""
    over = {"learning_rate": "1e-5:1e-1:log", "width": [2, 8], "momentum": (0.1, 0.25, 0.5)}
    found = search(
        loses_spikes, Parabola(), over=over, trials=24, seeds=2, batch=12, results=tmp_path, chunk=8, progress=False
    )
    for trial in found.study.trials:
        good = trial.params["momentum"] == 0.1
        assert trial.state == (COMPLETE if good else FAIL) and ("failure" in trial.user_attrs) != good
    reasons = {trial.user_attrs["failure"] for trial in found.study.trials if trial.state == FAIL}
    assert any("Not finite: validation_accuracy" in reason for reason in reasons) and len(reasons) == 2
    best = found.best()
    assert best["momentum"] == 0.1 and best["width"] == 8 and abs(np.log10(best["learning_rate"]) + 3) < 1
    assert "failed: Not finite: validation_accuracy." in found.table() and found.epochs == 0


def test_the_others_finish_where_one_raises(tmp_path):
    over = {"momentum": (0.1, 0.5)}
    found = search(raises_inside, Parabola(), over=over, trials=6, seeds=1, results=tmp_path, chunk=4, progress=False)
    for trial in found.study.trials:
        assert (trial.state == FAIL) == (trial.params["momentum"] == 0.5)
    with pytest.raises(Exception, match=r"momentum must not be 0\.5"):
        search(raises_inside, Parabola(momentum=0.5), over=OVER, trials=2, results=tmp_path / "all", progress=False)
    assert states(found).count(FAIL) >= 1


def test_a_database_and_an_executor(tmp_path):
    """SQLite keeps the study, threads run the batches: the same trials as here and in a journal."""
    rest = {"over": {"learning_rate": "1e-5:1e-1:log"}, "trials": 4, "seeds": 1, "chunk": 2, "progress": False}
    storage = f"sqlite:///{tmp_path}/study.db"
    with concurrent.futures.ThreadPoolExecutor(1) as engine:
        found = search(toy, Parabola(), results=tmp_path / "one", storage=storage, engine=engine, **rest)
    other = search(toy, Parabola(), results=tmp_path / "two", **rest)
    loaded = optuna.load_study(study_name="one", storage=storage)
    assert [(t.params, t.value) for t in loaded.trials] == [(t.params, t.value) for t in other.study.trials]
    assert not (tmp_path / "one" / "study.log").exists() and (tmp_path / "two" / "study.log").exists()
    assert len(found.study.trials_dataframe()) == 4
    with pytest.raises(ValueError, match="a study one of another search: give a folder of another name"):
        search(toy, Parabola(width=3), results=tmp_path / "elsewhere" / "one", storage=storage, **rest)


def test_the_command(tmp_path, capsys):
    command = [
        "search",
        "tests.benchmarks.sweep.toy:toy",
        "--over",
        "learning_rate=1e-5:1e-1:log",
        "--over",
        "width=2,8",
    ]
    assert main([*command, "--trials", "4", "--seeds", "2", "--results", str(tmp_path)], {}) == 0
    shown = capsys.readouterr().out
    assert "4 trials to the end, 0 pruned, 0 failed, 2 seeds each" in shown and f"Everything is in {tmp_path}" in shown
    assert main([*command, "--metric", "test_accuracy"], {}) == 2
    assert "no ranking by 'test_accuracy'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"over": {}}, "needs something to look through"),
        (
            {"over": {"learning_rate": "1e-4:1e-2:log5"}},
            "learning_rate: '1e-4:1e-2:log5' is no range: write low:high:log",
        ),
        ({"over": {"learning_rate": "1e-2:1e-4:log"}}, "is empty: low must be below high"),
        ({"over": {"learning_rate": "0:1:log"}}, "above 0 in a logarithmic range"),
        ({"over": {"learning_rate": "1e-3:inf:lin"}}, "the ends of the range '1e-3:inf:lin' must be finite"),
        ({"over": {"width": optuna.distributions.FloatDistribution(1, 2)}}, "width: Float.* does not fit .* type int"),
        ({"over": {"steep": optuna.distributions.IntDistribution(0, 1)}}, "steep: Int.* does not fit .* type bool"),
        ({"over": {"width": optuna.distributions.CategoricalDistribution([2, 2.5])}}, "2.5 is not a whole number"),
        ({"over": {"speed": "1:2:lin"}}, "no field 'speed'"),
        ({"over": {"learning_rate": []}}, "the axis is empty"),
        ({"trials": 0}, "trials: must be 1 or more, got 0"),
        ({"reduction": 0}, "reduction: must be 1 or more"),
        ({"metric": "test_accuracy"}, "no ranking by 'test_accuracy'"),
        ({"metric": "speed"}, "there is no 'speed'"),
        ({"storage": "nowhere://x"}, "storage: nowhere://x cannot be opened"),
        ({"engine": concurrent.futures.ThreadPoolExecutor(1), "experiment": lambda config, key: None}, "annotated"),
    ],
)
def test_what_cannot_be_searched(tmp_path, changes, message):
    rest = {"experiment": toy, "over": OVER, "trials": 2, "results": tmp_path, "progress": False} | changes
    with pytest.raises(ValueError, match=message):
        search(rest.pop("experiment"), Parabola() if "experiment" not in changes else None, **rest)


def test_a_folder_holds_one_search(halved):
    with pytest.raises(ValueError, match=r"(?s)holds another search; what has changed:.*batch: 9 -> 8.*--results"):
        search(TOY, Toy(epochs=9), results=halved.folder, **{**HALVED, "batch": 8})
