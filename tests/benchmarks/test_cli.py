import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import pytest

import benchmarks
from benchmarks import RESULTS
from benchmarks.cli import main
from benchmarks.errors import FileFault, InvalidInput, MissingFile, MissingPackage, RunIsBusy
from benchmarks.run import all_runs
from tests.benchmarks.toy import EXPERIMENTS, PIECE

ROOT = Path(__file__).parents[2]


def run_main(*arguments):
    return main(arguments, EXPERIMENTS)


def test_help_lists_every_experiment_on_one_line(capsys):
    assert run_main("--help") == 0
    lines = capsys.readouterr().out.splitlines()
    for name, text in (("toy", "Linear regression."), ("piece", "Linear regression."), ("report", "published figures")):
        assert sum(name in line and text in line for line in lines) == 1
    assert any("sweep" in line and "settings" in line for line in lines)


def test_help_of_an_experiment_lists_its_fields_and_the_options(capsys):
    with pytest.raises(SystemExit):
        run_main("toy", "--help")
    text = capsys.readouterr().out
    for flag in ("--epochs", "--learning-rate", "--seeds", "--seed", "--resume", "--results"):
        assert flag in text
    assert "Passes over the data. (default: 6)" in text


def test_no_command_at_all_shows_the_help_and_is_an_error(capsys):
    assert run_main() == 2
    assert "usage: credax COMMAND" in capsys.readouterr().out


def test_the_version_is_that_of_the_package(capsys):
    assert run_main("--version") == 0
    assert capsys.readouterr().out == f"credax {benchmarks.__version__}\n"


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_python_m_benchmarks_shows_the_help_by_package_without_jax():
    """Which takes a second to import, and the experiments take two more."""
    shown = python("-X", "importtime", "-m", "benchmarks", "--help")
    assert shown.returncode == 0
    groups = [line for line in shown.stdout.splitlines() if line.endswith(":")]
    titles = ["eventprop:", "gle:", "sal:", "hardware:", "other networks:", "all of them:"]
    assert [group.split(", ")[-1] for group in groups] == titles
    imported = {line.split("|")[-1].strip() for line in shown.stderr.splitlines()}
    assert "benchmarks.registry" in imported
    assert not imported & {"jax", "numpy", "tyro", "matplotlib", "benchmarks.card", "benchmarks.cli"}


def test_one_experiment_does_not_import_another():
    code = """import sys
from benchmarks.experiments import EXPERIMENTS
assert "jax" not in sys.modules
EXPERIMENTS["gle-operators"]
models = [name for name in sys.modules if name.startswith("benchmarks.experiments.") and name.endswith(".model")]
assert models == ["benchmarks.experiments.gle.operators.model"], models
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_early_is_no_error():
    """As in `credax --help | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "benchmarks", "--help"]
    with os.fdopen(writer, "wb") as stream:
        done = subprocess.run(command, cwd=ROOT, stdout=stream, stderr=subprocess.PIPE, text=True, timeout=300)
    assert done.returncode == 141 and done.stderr == ""


def test_an_unknown_experiment_is_answered_with_one_that_is_alike(capsys):
    assert run_main("tay") == 2
    said = "credax: There is no experiment 'tay': did you mean toy? `credax --help` lists all.\n"
    assert capsys.readouterr().err == said


def test_a_run_ends_with_a_table_and_a_full_folder(tmp_path, capsys):
    assert run_main("toy", "--seeds", "2", "--epochs", "4", "--results", str(tmp_path)) == 0
    (run,) = all_runs(tmp_path / "toy")
    output = capsys.readouterr().out
    for words in ("test accuracy", "validation accuracy", "time per step", "compile time", "90.00 ± 1.00 %"):
        assert words in output
    assert str(run.directory) in output
    assert {path.name for path in run.directory.iterdir()} == {
        *("config.json", "metrics.jsonl", "summary.json", "checkpoints", "network.eqx", "figure.png")
    }
    assert run.record["config"]["epochs"] == 4 and run.record["seeds"] == [0, 1]
    before = run.summary()
    assert run_main("toy", "--seeds", "2", "--epochs", "4", "--results", str(tmp_path), "--resume") == 0
    after = run.summary()
    assert before is not None and after is not None
    assert after["test_accuracy"] == before["test_accuracy"]
    assert len(all_runs(tmp_path / "toy")) == 1

    capsys.readouterr()
    assert run_main("report", "--results", str(tmp_path)) == 0
    assert "open" in capsys.readouterr().out


def test_a_failed_seed_is_named_and_shows_in_the_status(tmp_path, capsys):
    assert run_main("toy", "--seeds", "2", "--seed", "1", "--fail", "2", "--results", str(tmp_path)) == 1
    assert "1 of 2 seeds failed (seed 2: " in capsys.readouterr().err


def refuses(config, key):
    raise ValueError("hidden must be positive")


def checks(config, key):
    """Bad input that only values tell, and one that shapes tell."""
    if config.epochs != PIECE.config().epochs:
        raise ValueError("hidden must be positive")
    rate = jnp.asarray(config.learning_rate)
    rate = eqx.error_if(rate, rate > 8, "at most 8, but is 9")
    return {"validation_accuracy": rate}, None, RESULTS.successful


@dataclasses.dataclass(frozen=True)
class Pair:
    """A configuration with tuples."""

    rates: tuple[float, ...] = (1.0, 2.0)
    hidden: tuple[int, ...] = (4,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["toy", "--epochs", "0"], "epochs must be at least 1, but is 0"),
        (["toy", "--seed", str(2**32)], "seed must be at most 2^31 - seeds, got seed = 4294967296, seeds = 1"),
        (["toy", "--learning-rate", "nan"], "learning_rate = nan is not a number"),
        (["strict", "--epochs", "3"], "strict cannot be run with these settings: hidden must be positive"),
        (["pair", "--rates", "1", "nan"], "rates = (1.0, nan) is not a number"),
        (["pair", "--hidden", "3", "-3"], "hidden must be at least 1, but is (3, -3)"),
        (["steep", "--epochs", "3"], "steep cannot be run with epochs = 3: hidden must be positive"),
        (["steep", "--learning-rate", "9"], "steep cannot be run with learning_rate = 9.0: at most 8, but is 9"),
    ],
)
def test_an_invalid_setting_leaves_nothing_behind(tmp_path, capsys, arguments, message):
    strict = dataclasses.replace(EXPERIMENTS["toy"], name="strict", training=lambda config: refuses(config, None))
    pair = dataclasses.replace(PIECE, name="pair", config=Pair)
    steep = dataclasses.replace(PIECE, name="steep", function=checks)
    experiments = {**EXPERIMENTS, "strict": strict, "pair": pair, "steep": steep}
    assert main([*arguments, "--results", str(tmp_path)], experiments) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not list(tmp_path.iterdir())


def test_an_error_on_the_way_leaves_nothing_behind_and_keeps_its_traceback(tmp_path):
    broken = dataclasses.replace(PIECE, name="broken", function=refuses)
    with pytest.raises(ValueError, match="hidden must be positive") as error:
        main(["broken", "--results", str(tmp_path)], {"broken": broken})
    assert error.value.__notes__[-1] == "This was broken with its default settings."
    broken = dataclasses.replace(PIECE, name="broken", function=lambda config, key: 1 / 0)
    with pytest.raises(ZeroDivisionError) as error:
        main(["broken", "--epochs", "3", "--results", str(tmp_path)], {"broken": broken})
    assert error.value.__notes__[-1] == "This was broken with epochs = 3."
    assert not list(tmp_path.iterdir())


def test_results_that_cannot_be_written_are_explained(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run_main("toy", "--results", str(tmp_path / "file")) == 2
    error = capsys.readouterr().err
    assert "The folder of the run cannot be made" in error and "--results" in error and "Traceback" not in error


def test_resume_says_why_it_cannot(tmp_path, capsys):
    assert run_main("toy", "--resume", "--results", str(tmp_path)) == 2
    assert "There is no run of toy" in capsys.readouterr().err
    assert run_main("piece", "--resume", "--results", str(tmp_path)) == 2
    assert "piece runs in one piece and cannot be resumed" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_experiment_in_one_piece_runs(tmp_path, capsys):
    assert run_main(PIECE.name, "--results", str(tmp_path)) == 0
    assert "test accuracy" in capsys.readouterr().out


def test_interrupts_and_foreign_errors_are_not_mixed_up(monkeypatch, capsys):
    def raiser(error):
        def execute(*arguments, **keywords):
            raise error

        return execute

    monkeypatch.setattr("benchmarks.cli.execute", raiser(KeyboardInterrupt()))
    assert run_main("toy") == 130
    assert "--resume" in capsys.readouterr().err
    # An error of ours is known by its class, wherever it is raised; any other keeps its traceback.
    for kind in (InvalidInput, FileFault, MissingFile, MissingPackage, RunIsBusy):
        monkeypatch.setattr("benchmarks.cli.execute", raiser(kind("do this")))
        assert run_main("toy") == 2
        assert capsys.readouterr().err == "credax: do this\n"
    for kind in (ValueError, OSError):
        monkeypatch.setattr("benchmarks.cli.execute", raiser(kind("somebody else's")))
        with pytest.raises(kind, match="somebody else's"):
            run_main("toy")
