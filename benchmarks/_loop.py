"""The loop over epochs: metrics on disk, checkpoints, resume, and a stop that loses nothing."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks._lock import RunLock
from benchmarks._programs import ROWS, Batch, Current
from benchmarks.checkpoint import Checkpoints
from benchmarks.errors import InvalidInput
from benchmarks.run import Run, finite

SHORT = 0.05
"""Seconds: while a call is shorter, the next one runs twice as many epochs."""
EVERY = 30.0
"""Seconds between checkpoints."""
Rows = list[dict[str, Any]]


class Store:
    """Where a batch keeps what it has: a run's metrics and checkpoints, which nobody else may work on, or nowhere.

    **Arguments:**

    - `run`: the folder; None keeps nothing.
    - `owner`: whose checkpoints they are, as `benchmarks.checkpoint.describe` puts it.
    - `every`: seconds between checkpoints.
    """

    def __init__(self, run: Run | None, owner: dict[str, str], every: float):
        self.run = run
        self._owner = owner
        self.every = every
        self._saved = time.monotonic()
        self._checkpoints: Checkpoints | None = None
        self._lock = None if run is None else RunLock(run.directory / run.file)

    def restore(self, current: list[Current]) -> tuple[list[Current], int] | None:
        """What the newest checkpoint holds, and after how many epochs; None if there is none."""
        if self.run is None or not (self.run.directory / "checkpoints").is_dir():
            return None
        return self._opened(self.run).restore(current)

    def append(self, rows: Rows) -> None:
        """Writes the metrics of some epochs."""
        if self.run is not None:
            for row in rows:
                self.run.append(row)

    def save(self, epochs: int, current: list[Current], *, at_once: bool) -> None:
        """Writes a checkpoint if it is time for one."""
        if self.run is not None and (at_once or time.monotonic() - self._saved >= self.every):
            self.run.sync()  # a checkpoint must not outlive the metrics of its epochs
            self._opened(self.run).save(epochs, current)
            self._saved = time.monotonic()

    def close(self) -> None:
        """Lets others go on."""
        if self._checkpoints is not None:
            self._checkpoints.close()
        if self._lock is not None:
            self._lock.close()

    def _opened(self, run: Run) -> Checkpoints:
        if self._checkpoints is None:
            self._checkpoints = Checkpoints(run.directory / "checkpoints", self._owner)
        return self._checkpoints


def go_on(store: Store, batch: Batch, *, demanded: bool) -> tuple[list[Current], Rows]:
    """Where the newest checkpoint of a batch leaves off, and the metrics of the epochs before it.

    Where there is none, the batch begins anew; but if it is `demanded` that it goes on and there are metrics already,
    that raises `ValueError`.
    """
    start = batch.start()
    restored = store.restore(start)
    if store.run is None:
        return start, []
    if restored is None and demanded and (rows := store.run.rows()):
        raise InvalidInput(
            f"{store.run.directory} has the metrics of {len(rows)} epochs, but no checkpoint to go on from: either "
            "it was stopped before the first was written, or they are gone. Start anew, without --resume."
        )
    current, epochs = restored or (start, 0)
    return batch.programs.place(current), store.run.rewind(epochs, list(start[0][1]))


def run_epochs(
    batch: Batch,
    current: list[Current],
    rows: Rows,
    store: Store,
    asked: list[int],
    *,
    stop: int,
    last: bool,
    watch: Callable[[int, dict[str, np.ndarray]], None],
) -> list[Current]:
    """Runs the epochs after `rows`, to which it appends, up to `stop`, and returns the state after them.

    With `last` there is a checkpoint after the last epoch. `watch` is told the number of epochs that are done, and the
    metrics of the newest. A signal that was `asked` for by then ends it after a call, with a checkpoint.
    """
    length = 1
    while len(rows) < stop:
        first, end = len(rows), min(len(rows) + length, stop)
        started = time.perf_counter()
        current, history = batch.epochs(current, first, end)
        seconds = time.perf_counter() - started
        columns = {name: [finite({name: row})[name] for row in column] for name, column in history.items()}
        each = {"epoch_s": seconds / (end - first)}
        new = [
            {"epoch": n + 1, **each, **{name: x[n - first] for name, x in columns.items()}} for n in range(first, end)
        ]
        rows += new
        store.append(new)
        leaving = bool(asked)  # a signal that comes later than here waits for the next call
        store.save(end, current, at_once=leaving or (last and end == stop))
        watch(end, {name: column[-1] for name, column in history.items()})
        if leaving:
            leave(asked)
        if seconds < min(SHORT, store.every):
            length = min(2 * length, ROWS)
    return current


def leave(asked: list[int]) -> None:
    """Does what a signal has asked for."""
    raise KeyboardInterrupt if asked[0] == signal.SIGINT else SystemExit(128 + asked[0])


@contextlib.contextmanager
def interrupts(*, enabled: bool) -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM instead of obeying at once, so that a checkpoint can be written first."""
    asked: list[int] = []

    def remember(number, frame):
        del frame
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    # Python delivers signals to the main thread only, and lets no other thread set handlers.
    enabled = enabled and threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if enabled else ()
    previous = {number: signal.signal(number, remember) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
