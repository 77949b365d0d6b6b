import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import Run, _loop, fit, seed_keys
from benchmarks.checkpoint import Checkpoints
from benchmarks.errors import RunIsBusy
from tests.benchmarks.toy import Toy, ToyTraining

SEEDS = 2
# Trains with a checkpoint after every epoch, and is killed while that of epoch 4 is being written.
KILLED = """
import os, signal, sys, threading
from pathlib import Path
from benchmarks import Run, fit, seed_keys
from benchmarks.checkpoint import Checkpoints
from benchmarks.errors import RunIsBusy
from tests.benchmarks.toy import Toy, ToyTraining

save = Checkpoints.save
def save_and_die(self, epoch, state):
    if epoch == 4:
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGKILL)).start()
    save(self, epoch, state)
Checkpoints.save = save_and_die
run = Run.create(sys.argv[1], "toy", Toy(), seeds=2)
fit(ToyTraining(Toy()), seed_keys(0, 2), run=run, progress=False, checkpoint_every=0.0)
"""


def new_run(folder, config=Toy(), seeds=SEEDS):
    return Run.create(folder, "toy", config, seeds=seeds)


def run_fit(run, *, resume=False, config=Toy(), seeds=SEEDS, checkpoint_every=0.0):
    keys = seed_keys(0, seeds)
    return fit(ToyTraining(config), keys, run=run, resume=resume, progress=False, checkpoint_every=checkpoint_every)


def saved_epochs(run):
    return sorted(int(path.name) for path in (run.directory / "checkpoints").iterdir() if path.name.isdigit())


def forget_from(run, epoch):
    """Takes a finished run back to where only epochs before `epoch` have a checkpoint."""
    for number in saved_epochs(run):
        if number >= epoch:
            shutil.rmtree(run.directory / "checkpoints" / str(number))


def assert_identical(ours, theirs):
    for a, b in zip(*(jax.tree.leaves(eqx.filter(o.network, eqx.is_array)) for o in (ours, theirs)), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    for name in ("metrics", "history"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert set(a) == set(b)
        for metric in a:
            np.testing.assert_array_equal(a[metric], b[metric])


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run that nothing interrupted, with a checkpoint after every epoch."""
    run = new_run(tmp_path_factory.mktemp("straight"))
    return run, run_fit(run)


def test_a_run_that_is_killed_resumes_bit_identically(tmp_path, straight):
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    killed = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    run = Run.find(tmp_path, "toy", Toy(), seeds=SEEDS)
    assert [row["epoch"] for row in run.rows()] == [1, 2, 3, 4]
    outcome = run_fit(run, resume=True)
    assert_identical(outcome, straight[1])
    assert [row["epoch"] for row in run.rows()] == [1, 2, 3, 4, 5, 6]
    without_times = [[{**row, "epoch_s": 0} for row in r.rows()] for r in (run, straight[0])]
    assert without_times[0] == without_times[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_stop_saves_first(tmp_path, straight, monkeypatch, number):
    append = Run.append

    def append_and_stop(self, row):
        append(self, row)
        if row["epoch"] == 2:
            os.kill(os.getpid(), number)

    run = new_run(tmp_path)
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "append", append_and_stop)
        patch.setattr(_loop, "SHORT", 0.0)
        with pytest.raises(SystemExit if number == signal.SIGTERM else KeyboardInterrupt):
            run_fit(run, checkpoint_every=1e9)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers
    assert saved_epochs(run) == [2]
    assert_identical(run_fit(run, resume=True), straight[1])


def test_fast_epochs_are_not_slowed_by_checkpoints(tmp_path, straight):
    run = new_run(tmp_path)
    run_fit(run, checkpoint_every=30.0)
    assert saved_epochs(run) == [6]
    assert saved_epochs(straight[0]) == [5, 6]


ROW = {"epoch": 1, "epoch_s": 1.0, "train_loss": [0.0, 0.0], "validation_accuracy": [0.0, 0.0]}


def test_metrics_without_a_checkpoint_are_not_overwritten(tmp_path):
    run = new_run(tmp_path)
    run.append(ROW)
    before = (run.directory / "metrics.jsonl").read_bytes()
    with pytest.raises(ValueError, match=r"has the metrics of 1 epochs, but no checkpoint to go on from.*without --re"):
        run_fit(run, resume=True)
    assert (run.directory / "metrics.jsonl").read_bytes() == before


def test_a_run_that_was_stopped_before_anything_was_written_starts_anew(tmp_path, straight):
    run = new_run(tmp_path)
    (run.directory / "metrics.jsonl").write_text('{"epoch": 1, "epo')
    assert_identical(run_fit(run, resume=True), straight[1])
    lines = (run.directory / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_metrics_are_on_the_disk_before_the_checkpoint_of_their_epochs(tmp_path, monkeypatch):
    run = new_run(tmp_path)
    metrics, synced, saved = run.directory / "metrics.jsonl", {}, []
    fsync, save = os.fsync, Checkpoints.save

    def noting_fsync(descriptor):
        status = os.fstat(descriptor)
        synced[status.st_ino] = status.st_size
        fsync(descriptor)

    def checking_save(self, epoch, state):
        saved.append((epoch, synced.get(metrics.stat().st_ino) == metrics.stat().st_size))
        save(self, epoch, state)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(Checkpoints, "save", checking_save)
    run_fit(run)
    assert saved == [(epoch, True) for epoch in range(1, 7)]


@pytest.mark.parametrize("lost", [[3, 4, 5], [1, 4]], ids=["the last", "two in the middle"])
def test_metrics_that_a_power_cut_took_do_not_stop_a_sound_run(tmp_path, straight, lost):
    run = Run.open(shutil.copytree(straight[0].directory, tmp_path / "run"))
    forget_from(run, 6)
    lines = (run.directory / "metrics.jsonl").read_bytes().splitlines(keepends=True)[:5]
    (run.directory / "metrics.jsonl").write_bytes(
        b"".join(line for number, line in enumerate(lines, 1) if number not in lost)
    )
    numbers = ", ".join(map(str, lost))
    with pytest.warns(UserWarning, match=f"has lost epoch {numbers}, which the checkpoint has"):
        outcome = run_fit(run, resume=True)
    np.testing.assert_array_equal(outcome.network.weights, straight[1].network.weights)
    expected = straight[1].history["train_loss"].copy()
    expected[np.array(lost) - 1] = np.nan
    np.testing.assert_array_equal(outcome.history["train_loss"], expected)
    assert outcome.step_ms is not None and np.isfinite(outcome.step_ms)
    assert [row["epoch"] for row in run.rows()] == [1, 2, 3, 4, 5, 6]
    assert run_fit(run, resume=True).history["train_loss"].shape == (6, SEEDS)


HOLDER = """
import sys
from pathlib import Path
from benchmarks._lock import RunLock

lock = RunLock(Path(sys.argv[1]) / "config.json")
print("locked", flush=True)
sys.stdin.read()
"""


def test_two_processes_do_not_work_on_one_run(tmp_path, straight):
    run = Run.open(shutil.copytree(straight[0].directory, tmp_path / "run"))
    command = [sys.executable, "-c", HOLDER, str(run.directory)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "locked\n"
        with pytest.raises(RunIsBusy, match=rf"run is being run by process {other.pid} on .*: wait until"):
            run_fit(run, resume=True)
        other.kill()
    assert (run.directory / "running.json").exists()  # what a killed process leaves means nothing
    assert_identical(run_fit(run, resume=True), straight[1])
    assert not (run.directory / "running.json").exists()


def test_a_fit_locks_its_run_and_lets_go_of_it(tmp_path, monkeypatch):
    run = new_run(tmp_path)
    append, refused = Run.append, []

    def append_and_try(self, row):
        with pytest.raises(RunIsBusy, match=f"process {os.getpid()}"):
            run_fit(run, resume=True)
        refused.append(row["epoch"])
        append(self, row)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "append", append_and_try)
        run_fit(run)
    assert refused == [1, 2, 3, 4, 5, 6]
    with pytest.raises(ValueError, match="has been started before"):
        run_fit(run)
    run_fit(run, resume=True)


def test_a_finished_run_can_be_resumed_for_its_result(tmp_path, straight):
    run = Run.open(shutil.copytree(straight[0].directory, tmp_path / "run"))
    outcome = run_fit(run, resume=True)
    assert_identical(outcome, straight[1])
    assert outcome.step_ms == straight[1].step_ms


def damage_largest_file(folder):
    path = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 3 :: 7] = bytes(len(content[len(content) // 3 :: 7]))
    path.write_bytes(content)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, straight):
    run = Run.open(shutil.copytree(straight[0].directory, tmp_path / "run"))
    damage_largest_file(run.directory / "checkpoints" / "6" / "arrays")
    with pytest.warns(UserWarning, match=r"after epoch 6 cannot be read and is now .*checkpoints\.unreadable/6-"):
        outcome = run_fit(run, resume=True)
    assert_identical(outcome, straight[1])
    assert saved_epochs(run) == [5, 6]
    (aside,) = (run.directory / "checkpoints.unreadable").iterdir()
    assert (aside / "arrays").is_dir()


@pytest.mark.parametrize(
    "fault",
    [OSError(errno.EIO, "Input/output error"), OSError(errno.EMFILE, "Too many open files"), TypeError("version 9")],
    ids=["EIO", "EMFILE", "foreign version"],
)
def test_what_cannot_be_read_today_is_kept_for_tomorrow(tmp_path, straight, monkeypatch, fault):
    import orbax.checkpoint as ocp

    run = Run.open(shutil.copytree(straight[0].directory, tmp_path / "run"))

    def fail(*arguments, **keywords):
        raise fault

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(ocp.CheckpointManager, "restore", fail)
            with pytest.raises(ValueError, match=r"None of the checkpoints .* can be read \(epoch 6: .*; epoch 5: "):
                run_fit(run, resume=True)
        assert saved_epochs(run) == [5, 6]
    assert_identical(run_fit(run, resume=True), straight[1])


def test_a_flipped_bit_that_orbax_accepts_is_noticed(tmp_path, monkeypatch):
    state = {"w": jnp.arange(4.0), "key": jax.random.key(1)}
    checkpoints = Checkpoints(tmp_path / "c", {})
    checkpoints.save(1, state)
    restore = checkpoints._manager.restore

    def flip(*arguments, **keywords):
        content = restore(*arguments, **keywords)
        if "arrays" in content:
            content["arrays"]["['w']"] = content["arrays"]["['w']"] + 1e-6
        return content

    monkeypatch.setattr(checkpoints._manager, "restore", flip)
    with pytest.raises(ValueError, match=r"None of the checkpoints .* can be read \(epoch 1: .*checksum"):
        checkpoints.restore(state)
    assert (tmp_path / "c" / "1").is_dir()


def test_checkpoints_of_others_are_refused(tmp_path, straight):
    run = Run.open(shutil.copytree(straight[0].directory, tmp_path / "run"))
    with pytest.raises(ValueError, match=r"another configuration.*learning_rate: 0\.1 there, 0\.2 here"):
        run_fit(run, resume=True, config=Toy(learning_rate=0.2))
    with pytest.raises(ValueError, match="is for 2 seeds, but there are 3 keys"):
        run_fit(run, resume=True, seeds=3)
    with pytest.raises(ValueError, match=r"another configuration or other data .*\[1\]: key<fry>\[2\] sha256"):
        fit(ToyTraining(Toy()), seed_keys(7, 2), run=run, resume=True, progress=False)
    with pytest.raises(ValueError, match="has been started before"):
        run_fit(run)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path, {"name": "a"})
    checkpoints.save(3, {"w": jnp.zeros((2, 3))})
    with pytest.raises(ValueError, match=r"another network \(\['w'\]: float32\[2, 3\] there, float32\[3, 3\] here\)"):
        checkpoints.restore({"w": jnp.zeros((3, 3))})
    state, epochs = checkpoints.restore({"w": jnp.ones((2, 3))}) or pytest.fail("nothing was restored")
    assert epochs == 3
    np.testing.assert_array_equal(state["w"], np.zeros((2, 3)))


def test_states_of_all_kinds_come_back_as_they_were(tmp_path):
    with jax.enable_x64(True):
        state = {
            "half": jnp.arange(3, dtype=jnp.bfloat16),
            "double": jnp.array([1e-300, jnp.inf, jnp.nan]),
            "key": jax.random.split(jax.random.key(3, impl="rbg"), 2),
            "flag": jnp.array(True),
            "empty": jnp.zeros((2, 0), jnp.int8),
            "a/b.c": jnp.array(7, jnp.uint32),
            "function": jnp.tanh,
        }
        checkpoints = Checkpoints(tmp_path, {})
        checkpoints.save(1, state)
        reversed_ = jax.tree.map(lambda x: x[::-1] if eqx.is_array(x) and x.ndim else x, state)
        back, _ = checkpoints.restore(reversed_) or pytest.fail("nothing was restored")
    assert back["function"] is jnp.tanh
    for name in set(state) - {"function"}:
        assert back[name].dtype == state[name].dtype
        a, b = (jax.random.key_data(s[name]) if name == "key" else s[name] for s in (back, state))
        np.testing.assert_array_equal(a, b)


def test_numpy_leaves_keep_their_bits_and_wide_ones_are_not_rounded(tmp_path):
    """With JAX's precision at 32 bits."""
    state = {
        "long": np.array([2**40 + 7]),
        "third": np.float64(1 / 3),
        "huge": np.array([1e300]),
        "four": jnp.arange(4).astype("uint4"),
        "eight": jnp.arange(3).astype("float8_e5m2"),
        "big": 2**70,
        "complex": 1 / 3 - 1e300j,
    }
    checkpoints = Checkpoints(tmp_path / "c", {})
    checkpoints.save(1, state)
    back, _ = checkpoints.restore(state) or pytest.fail("nothing was restored")
    for name, leaf in state.items():
        assert type(back[name]) is type(leaf) or isinstance(leaf, jax.Array)
        assert getattr(back[name], "dtype", None) == getattr(leaf, "dtype", None)
        np.testing.assert_array_equal(np.asarray(back[name]), np.asarray(leaf))
    with pytest.raises(ValueError, match=r"another network \(\['complex'\]: "):
        checkpoints.restore({**state, "complex": 1j})
    with jax.enable_x64(True):
        wide = {"w": jnp.array(1 / 3)}
        checkpoints = Checkpoints(tmp_path / "wide", {})
        checkpoints.save(1, wide)
    with pytest.raises(ValueError, match=r"holds float64 at \['w'\], which JAX would round.*enable_x64"):
        checkpoints.restore(wide)


def test_a_full_disk_is_reported_and_keeps_the_earlier_checkpoint(tmp_path, straight, monkeypatch):
    run = Run.open(shutil.copytree(straight[0].directory, tmp_path / "run"))
    forget_from(run, 6)
    with monkeypatch.context() as patch:
        import orbax.checkpoint as ocp

        def no_space(*arguments, **keywords):
            raise OSError(28, "No space left on device")

        patch.setattr(ocp.CheckpointManager, "save", no_space)
        with pytest.raises(OSError, match=r"after epoch 6 could not be written.*earlier ones are kept.*No space left"):
            run_fit(run, resume=True)
    assert saved_epochs(run) == [5]
    assert_identical(run_fit(run, resume=True), straight[1])
