import dataclasses
import hashlib
import inspect

import jax
import numpy as np
import pytest

from benchmarks import sweep
from benchmarks._sweep.batch import find
from benchmarks._sweep.work import run
from benchmarks.cli import main
from benchmarks.engines import Local, WrongWorker, _call
from benchmarks.errors import InvalidInput
from benchmarks.tasks import Task
from tests.benchmarks.engines import exploding
from tests.benchmarks.toy import ToyTraining

OVER = {"learning_rate": (0.05, 0.1, 0.2), "epochs": (4,)}


@pytest.fixture(scope="module")
def two():
    with Local(workers=2) as engine:
        yield engine


def toy_sweep(folder=None, **options):
    return sweep(
        ToyTraining,
        over=OVER,
        seeds=3,
        metric="validation_accuracy",
        chunk=2,
        progress=False,
        results=folder,
        **options,
    )


def files(folder):
    """Outcomes and networks, by batch."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.name in ("networks.eqx", "members.csv", "summary.csv")
    }


@pytest.mark.parametrize("double", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_sweep_on_workers_has_the_bits_of_one_in_this_process(two, tmp_path, double):
    with jax.enable_x64(double):
        ours, theirs = toy_sweep(tmp_path / "here"), toy_sweep(tmp_path / "there", engine=two)
    assert theirs.missing == 0
    for name, values in ours.metrics.items():
        assert values.shape == (3, 3)
        np.testing.assert_array_equal(values, theirs.metrics[name])
    assert files(tmp_path / "here") == files(tmp_path / "there")
    assert len(files(tmp_path / "here")) == 5 + 2  # 9 members, two in a batch


def test_a_member_whose_process_aborts_is_listed_and_the_others_finish(two, tmp_path):
    options = {"over": {"x": (1.0, 2.0, 3.0)}, "seeds": 1, "metric": "train_loss", "progress": False, "chunk": 3}
    found = sweep(exploding.aborts_at_two, engine=two, results=tmp_path, **options)
    assert found.missing == 0
    (reason,) = [text for text in np.ravel(found.reasons) if text]
    assert reason.startswith("The process ended while it ran: SIGABRT. Delete ")
    noise = jax.random.uniform(jax.random.key(0))
    np.testing.assert_allclose(np.ravel(found.metrics["train_loss"]), [1 + noise, np.nan, 9 + noise], rtol=1e-6)
    # It is not tried again, and its failure is found without an engine.
    again = sweep(exploding.aborts_at_two, results=tmp_path, **options)
    assert list(np.ravel(again.reasons)) == list(np.ravel(found.reasons))


def test_the_width_is_found_on_the_workers(two):
    found = sweep(exploding.parabola, over={"x": (1.0, 2.0)}, seeds=5, metric="train_loss", progress=False, engine=two)
    here = sweep(exploding.parabola, over={"x": (1.0, 2.0)}, seeds=5, metric="train_loss", progress=False)
    np.testing.assert_array_equal(found.metrics["train_loss"], here.metrics["train_loss"])


def test_a_worker_with_other_versions_ends_the_sweep_and_keeps_its_folder(two, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(_call, "versions", lambda: {"credax": "0.0.1"})
        with pytest.raises(WrongWorker, match=r"A worker has credax .* instead of 0\.0\.1"):
            toy_sweep(tmp_path, engine=two)
    batches = [path.parent for path in (tmp_path / "batches").glob("*/members.json")]
    assert len(batches) == 5  # laid out, to go on with
    assert not any((batch / "outcome.npz").exists() for batch in batches)


def test_what_no_worker_can_find_is_refused_before_anything_is_run(two):
    def inner(config: exploding.Config, key):
        return exploding.parabola(config, key)

    with pytest.raises(InvalidInput, match="inner: workers find what stands at the top of a file"):
        sweep(inner, over={"x": (1.0,)}, metric="train_loss", engine=two)


def own_task(folder, text):
    return Task(
        target=str(folder / "own.py:parabola"),
        config={},
        traced={"x": [3.0]},
        seeds=[0],
        source=text,
        source_hash=hashlib.sha256(text.encode()).hexdigest(),
    )


@pytest.mark.parametrize("there", ["nothing", "another version"])
def test_a_file_of_the_user_goes_with_the_task(tmp_path, there):
    text = inspect.getsource(exploding)
    if there != "nothing":
        (tmp_path / "own.py").write_text(text.replace("config.x**2", "config.x**3"))
    task = own_task(tmp_path, text)
    noise = jax.random.uniform(jax.random.key(0))
    np.testing.assert_allclose(run(task).metrics["train_loss"], [9 + noise], rtol=1e-6)
    target = find(task)
    assert inspect.getsource(target.function) == inspect.getsource(exploding.parabola)
    assert target.function.__module__ == f"swept_own_{task.source_hash[:16]}"


def test_a_script_that_would_sweep_again_in_its_workers_is_told_so(tmp_path):
    text = inspect.getsource(exploding)
    text += "\nfrom benchmarks import sweep\nsweep(parabola, over={'x': (1.0,)}, metric='train_loss')\n"
    with pytest.raises(InvalidInput, match="must stand under if __name__"):
        run(own_task(tmp_path, text))


def test_another_source_of_an_experiment_is_refused(tmp_path):
    (tmp_path / "own.py").write_text(inspect.getsource(exploding))
    task = dataclasses.replace(own_task(tmp_path, "other text"), source=None)
    with pytest.raises(InvalidInput, match="another source of"):
        run(task)


def test_a_folder_that_a_worker_does_not_see_is_refused(tmp_path):
    task = own_task(tmp_path, inspect.getsource(exploding))
    with pytest.raises(InvalidInput, match="all machines must share --results"):
        run(dataclasses.replace(task, folder=str(tmp_path / "nowhere" / "batches" / "one")))


def test_the_command_runs_on_workers(tmp_path, capsys):
    (tmp_path / "own.py").write_text(inspect.getsource(exploding))
    command = ["sweep", f"{tmp_path}/own.py:parabola", "--over", "x=1,2", "--seeds", "2", "--metric", "train_loss"]
    command += ["--results", str(tmp_path / "results"), "--no-compilation-cache"]
    assert main([*command, "--workers", "1"]) == 0
    assert "Everything is in" in capsys.readouterr().out
    assert main([*command, "--address", "localhost:6379"]) == 2
    assert "--address: is for --engine ray, not local" in capsys.readouterr().err
    assert main([*command, "--engine", "ray", "--time", "60"]) == 2
    assert "--time: is for --engine slurm, not ray" in capsys.readouterr().err
    assert main([*command, "--engine", "ray", "--address", "127.0.0.1:9"]) == 2
    assert "Nobody answers at the Ray address 127.0.0.1:9" in capsys.readouterr().err
