"""A sweep that is ended again and again: `python -m tests.benchmarks.sweep.stress FOLDER [KILLS]`.

The process is ended (SIGKILL, SIGINT, SIGTERM in turn) at random moments, and the same sweep is started again, until all
is there: tables and networks must be those of a sweep that nothing disturbed, bit for bit.
"""

import contextlib
import itertools
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
    config = Toy(epochs=3000)
    return sweep(ToyTraining, config, over=OVER, seeds=4, results=folder, chunk=8, progress=False, checkpoint_every=0.1)


def disturbed(folder: Path, kills: int, longest: float, seed: int = 0) -> tuple[list[int], float]:
    """Runs the sweep in processes that are ended at random moments, after `longest` seconds of work at most.

    Returns their exit statuses, and the seconds that it took.
    """
    generator, statuses, started = random.Random(seed), [], time.monotonic()
    command = [sys.executable, "-m", "tests.benchmarks.sweep.stress", str(folder), "run"]
    while True:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()  # it begins
        if len(statuses) < kills:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(generator.uniform(0.0, longest))
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
        print("begun", flush=True)
        run(folder)
        return
    shutil.rmtree(folder, ignore_errors=True)
    started = time.monotonic()
    whole = run(folder / "whole")
    seconds = time.monotonic() - started
    print(f"undisturbed: {seconds:.1f} s", flush=True)
    kills = int(sys.argv[2]) if sys.argv[2:] else 40
    for number in itertools.count():
        place = folder / f"disturbed-{number}"
        statuses, took = disturbed(place, kills, seconds / 3, seed=number)
        assert_same(run(place), whole)
        kills -= len(statuses)
        print(f"ended {len(statuses)} times, {statuses}, {took:.1f} s: the same, bit for bit", flush=True)
        if kills <= 0:
            break


if __name__ == "__main__":
    main()
