"""A sweep that is ended again and again: `python -m tests.benchmarks.sweep.stress FOLDER [KILLS]`.

Members are killed (SIGKILL, SIGINT, SIGTERM in turn) at random moments, and the same sweep is started again, until all
is there: tables and networks must be those of a sweep that nothing disturbed, bit for bit.
"""

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import equinox as eqx
import jax
import numpy as np

from benchmarks import SweepResult, sweep
from tests.benchmarks.toy import Toy, ToyTraining

OVER = {"learning_rate": "0.01:0.3:log16"}
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM)


def run(folder: Path) -> SweepResult:
    """64 members in batches of eight, with a checkpoint every tenth of a second."""
    config = Toy(epochs=20_000)
    return sweep(ToyTraining, config, over=OVER, seeds=4, results=folder, chunk=8, progress=False, checkpoint_every=0.1)


def disturbed(folder: Path, kills: int, seed: int = 0) -> tuple[list[int], float]:
    """Runs the sweep in processes that are ended at random moments; their exit statuses, and the seconds it took."""
    generator, statuses, started = random.Random(seed), [], time.monotonic()
    command = [sys.executable, "-m", "tests.benchmarks.sweep.stress", str(folder), "run"]
    while True:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        if len(statuses) < kills:
            with_luck = generator.uniform(4.0, 14.0)
            try:
                process.wait(with_luck)
            except subprocess.TimeoutExpired:
                process.send_signal(SIGNALS[len(statuses) % len(SIGNALS)])
        _, said = process.communicate()
        if process.returncode == 0:
            return statuses, time.monotonic() - started
        statuses.append(process.returncode)
        if process.returncode not in (-signal.SIGKILL, -signal.SIGINT, -signal.SIGTERM, 130, 143, 1):
            raise RuntimeError(said)


def assert_same(ours: SweepResult, theirs: SweepResult) -> None:
    """Raises unless two sweeps have the same values and networks, to the last bit."""
    assert ours.failures == theirs.failures == []
    for name in theirs.metrics:
        np.testing.assert_array_equal(ours.metrics[name], theirs.metrics[name])
    for setting in theirs.settings:
        leaves = [jax.tree.leaves(eqx.filter(r.networks(setting, ToyTraining), eqx.is_array)) for r in (ours, theirs)]
        for a, b in zip(*leaves, strict=True):
            np.testing.assert_array_equal(a, b)


def main() -> None:
    folder = Path(sys.argv[1])
    if sys.argv[2:] == ["run"]:
        run(folder)
        return
    shutil.rmtree(folder, ignore_errors=True)
    started = time.monotonic()
    whole = run(folder / "whole")
    print(f"undisturbed: {time.monotonic() - started:.1f} s", flush=True)
    statuses, seconds = disturbed(folder / "disturbed", int(sys.argv[2]) if sys.argv[2:] else 40)
    print(f"ended {len(statuses)} times, {statuses}: {seconds:.1f} s")
    assert_same(run(folder / "disturbed"), whole)
    print("the same, bit for bit")


if __name__ == "__main__":
    main()
