import csv
import sys

import pytest

from benchmarks import Card
from benchmarks._sweep import cli
from benchmarks._sweep.target import find_target, source
from benchmarks.cli import main
from tests.benchmarks.sweep.toy import Toy, toy

USER_FILE = '''
from __future__ import annotations
import dataclasses
import jax.numpy as jnp
from benchmarks import Card, Metric, RESULTS, Training
from neighbour import optimum

@dataclasses.dataclass(frozen=True)
class Config:
    """A user's configuration."""
    rate: float = 1.0
    width: int = 2
    scale: float = 1.0

def experiment(config: Config, key):
    score = -config.scale * (config.rate - optimum) ** 2 / config.width
    return {"score": score}, None, RESULTS.where(config.rate > 5.0, RESULTS.non_finite, RESULTS.successful)

experiment.metrics = (Metric("score", higher_is_better=True),)
registered = Card("theirs", Config, experiment, metrics=experiment.metrics)

@dataclasses.dataclass
class Thawed:
    rate: float = 1.0

def thawed(config: Thawed, key):
    pass

class Mean(Training):
    pass
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "my_file.py").write_text(USER_FILE)
    (tmp_path / "neighbour.py").write_text("optimum = 3.0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("neighbour", None)
    sys.modules.pop("swept_my_file", None)


def run(*arguments):
    return main(["sweep", *arguments])


def test_a_users_function_is_swept_from_a_file(folder, capsys):
    command = ["my_file.py:experiment", "--over", "rate=1:4:lin4", "--over", "width=1,2", "--set", "scale=2"]
    command += ["--seeds", "2", "--metric", "score", "--results", "out"]
    assert run(*command) == 0
    printed = capsys.readouterr().out
    assert "Best (highest mean score): rate = 3, width = 1" in printed
    assert "Everything is in out" in printed
    with open("out/summary.csv", newline="") as file:
        rows = [(int(r["width"]), float(r["rate"]), float(r["score_mean"]), r["n"]) for r in csv.DictReader(file)]
    assert rows == [(w, r, pytest.approx(-2 * (r - 3) ** 2 / w), "2") for r in (1.0, 2.0, 3.0, 4.0) for w in (1, 2)]
    assert {path.name for path in (folder / "out").iterdir()} == {
        "batches",
        "members.csv",
        "summary.csv",
        "sweep.json",
        "sweep.pdf",
        "sweep.png",
    }


def test_an_experiment_object_in_a_file_is_swept(folder, capsys):
    assert run("my_file.py:registered", "--over", "rate=1,2", "--seeds", "1", "--metric", "score") == 0
    (place,) = (folder / "results" / "sweeps").iterdir()
    assert place.name.startswith("my_file-py-registered-")
    before = (place / "sweep.json").stat().st_mtime_ns
    assert run("my_file.py:registered", "--over", "rate=1,2", "--seeds", "1", "--metric", "score") == 0
    assert [place] == list((folder / "results" / "sweeps").iterdir())
    assert (place / "sweep.json").stat().st_mtime_ns == before
    assert main(["report", "--results", "results"]) == 0
    assert "Best (highest mean score): rate = 2" in capsys.readouterr().out


def test_failed_members_are_printed(folder, capsys):
    assert run("my_file.py:experiment", "--over", "rate=1,6", "--seeds", "1", "--metric", "score") == 0
    assert "rate = 6, seed 0: The network or a metric is NaN or infinite" in capsys.readouterr().out


def test_a_registered_experiment_is_swept_by_name(folder, capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.experiments.EXPERIMENTS", {"toy": Card("toy", Toy, toy)})
    assert run("toy", "--over", "learning_rate=1e-4:1e-2:log3", "--seeds", "2") == 0
    assert "Best (highest mean validation_accuracy): learning_rate = 0.001" in capsys.readouterr().out


def test_shards_are_run_one_by_one(folder, capsys):
    command = ["my_file.py:experiment", "--over", "rate=1:4:lin4", "--seeds", "1", "--metric", "score"]
    assert run(*command, "--shard", "1/2") == 0
    assert "2 of 4 members are missing: shards 2/2" in capsys.readouterr().out
    assert run(*command, "--shard", "2/2") == 0
    assert "missing" not in capsys.readouterr().out


def test_ctrl_c_says_how_to_go_on(folder, capsys, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "sweep", interrupted)
    with pytest.raises(SystemExit, match="130"):
        run("my_file.py:experiment", *OVER)
    assert "the same command goes on" in capsys.readouterr().err


def test_a_changed_file_is_another_sweep(folder, capsys):
    command = ["my_file.py:experiment", "--over", "rate=1,2", "--seeds", "1", "--metric", "score", "--results", "out"]
    assert run(*command) == 0
    (folder / "my_file.py").write_text(USER_FILE.replace("** 2", "** 4"))
    assert run(*command) == 2
    assert "out holds another sweep; what has changed:\n  source:" in capsys.readouterr().err


OVER = ["--over", "rate=1,2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", *OVER], "There is no experiment 'nothing'"),
        (["other.py:experiment", *OVER], "There is no file 'other.py'"),
        (["my_file.py", *OVER], "names a file only: add the function, as in my_file.py:experiment"),
        (
            ["my_file.py:other", *OVER],
            "no 'other'; what can be run there: experiment, registered, thawed, Mean",
        ),
        (["my_file.py:optimum", *OVER], "An experiment is a function"),
        (["my_file.py:thawed", *OVER], "must be annotated with its configuration"),
        (["my_file.py:experiment"], "needs an axis"),
        (["my_file.py:experiment", "--over", "rate"], "write field=values"),
        (["my_file.py:experiment", "--over", "speed=1"], "no field 'speed'; its fields are rate (float), width (int)"),
        (["my_file.py:experiment", *OVER, *OVER], "rate is given more than once"),
        (["my_file.py:experiment", *OVER, "--set", "rate=2"], "rate is given more than once"),
        (["my_file.py:experiment", *OVER, "--set", "width"], "not of the form field=value"),
        (["my_file.py:experiment", *OVER, "--set", "width=2.5"], "width: '2.5' is not a whole number"),
        (["my_file.py:experiment", *OVER, "--set", "width=2", "--set", "width=3"], "width is set twice"),
        (["my_file.py:experiment", *OVER, "--shard", "3/2"], "3/2 does not exist"),
        (["my_file.py:experiment", *OVER], "there is no 'validation_accuracy'; this experiment returns score"),
    ],
)
def test_mistakes_are_explained(folder, capsys, arguments, message):
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err


def test_an_error_in_the_users_file_is_the_users(folder):
    (folder / "my_file.py").write_text("1 / 0")
    with pytest.raises(ZeroDivisionError):
        run("my_file.py:experiment", *OVER)


def test_the_source_covers_the_whole_file(folder):
    assert source(find_target("my_file.py:experiment").function) == USER_FILE


def test_the_program_that_runs_is_not_imported_once_more(folder, monkeypatch):
    main = sys.modules["__main__"]
    theirs = find_target("my_file.py:experiment").function
    monkeypatch.setattr(main, "__file__", str(folder / "my_file.py"), raising=False)
    monkeypatch.setattr(main, "experiment", theirs, raising=False)
    (folder / "my_file.py").write_text("raise SystemExit")
    assert find_target("my_file.py:experiment").function is theirs
