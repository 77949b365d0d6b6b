"""Runs tasks on an engine: keeps it busy, and tries again, by halves, what was lost with a worker."""

import collections
import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from benchmarks.engines import Stopped, WorkerDied
from benchmarks.errors import CredaxError, said

STARTS = 2
"""How often a task is started without progress; once, if it has several members and nothing is kept of it yet."""


@runtime_checkable
class Submits(Protocol):
    """An engine, or any executor of `concurrent.futures`, dask's for example."""

    def submit(self, function: Callable[[Any], Any], task: Any, /) -> Future: ...


@runtime_checkable
class Divisible(Protocol):
    """What can be run: plain data of one member or several."""

    def __len__(self) -> int: ...

    def halves(self) -> list[Any]: ...


T = TypeVar("T", bound=Divisible)


@dataclasses.dataclass(frozen=True)
class Failure:
    """What became of a task of one member that no worker could finish."""

    reason: str
    """Why not."""
    raised: bool = False
    """Whether it raised an error; else the process that ran it ended, every time."""


def drive(
    engine: Submits,
    function: Callable[[T], Any],
    tasks: Iterable[T],
    done: Callable[[T, Any], None],
    progress: Callable[[T], Any] = lambda task: None,
) -> None:
    """Calls `function(task)` on the engine for every task, and `done(task, outcome)` here, as they finish.

    A task whose worker died, or that raised, is halved and tried again, so that its other members are kept. Where a
    single member is left, `done` is told of a `Failure`: once it has raised, or once two workers have died of it. A
    worker that has died or was stopped after some progress only gave up its place (to another user's job, or to a limit
    on time): the task goes on whole. Halves begin anew, so a task that has come some way is halved only after a second
    worker has died without progress.

    Memory does not grow with the number of tasks: they are taken from the iterable as workers become free.

    **Arguments:**

    - `engine`: has `submit(function, task) -> Future`. An engine of `benchmarks.engines`, or any executor; one of those
        is kept busy with twice as many tasks as this machine has processors.
    - `function`: can be imported by the workers.
    - `tasks`: plain data with a length and with `halves()`.
    - `done`: is called in this thread, in the order in which tasks finish; a task may be a half of one that was given.
    - `progress`: what of a task is kept already, such as the number of its epochs; compared before and after.

    **Raises:** a `CredaxError` of `function`, since only the user can help there (a full disk, a worker with other
    versions), and what `done` raises. These, Ctrl-C and SIGTERM (as `SystemExit`) wait until what runs has stopped, as
    `function` does it, and has been passed to `done` if it is finished; a second Ctrl-C does not wait. Every other
    exception of `function` is the task's own.
    """
    _Drive(engine, function, done, progress).run(iter(tasks))


@dataclasses.dataclass(frozen=True)
class _Try(Generic[T]):
    task: T
    starts: int
    """How often it has been started without progress."""
    before: Any
    """Its progress when it was submitted."""


class _Drive(Generic[T]):
    def __init__(
        self,
        engine: Submits,
        function: Callable[[T], Any],
        done: Callable[[T, Any], None],
        progress: Callable[[T], Any],
    ):
        self._engine = engine
        self._function = function
        self._done = done
        self._progress = progress
        self._flying: dict[Future, _Try[T]] = {}
        self._again: collections.deque[tuple[T, int]] = collections.deque()

    def run(self, tasks: Iterator[T]) -> None:
        try:
            with _terminable():
                while self._submit(tasks):
                    for future in wait(self._flying, return_when=FIRST_COMPLETED).done:
                        self._land(future)
        except BaseException:
            self._stop()
            raise

    def _submit(self, tasks: Iterator[T]) -> bool:
        """Submits as many as the engine shall have; whether any is under way."""
        most = getattr(self._engine, "in_flight", 2 * (os.cpu_count() or 1))
        while len(self._flying) < most:
            if self._again:
                task, starts = self._again.popleft()
            elif (new := next(tasks, None)) is not None:
                task, starts = new, 0
            else:
                break
            attempt = _Try(task, starts, self._progress(task))
            future = self._engine.submit(self._function, task)
            self._flying[future] = attempt
            if future.done():  # run by `submit` itself: this one first
                break
        return bool(self._flying)

    def _land(self, future: Future) -> None:
        """Passes on what became of a task, or has it tried again."""
        attempt = self._flying.pop(future)
        task = attempt.task
        try:
            outcome = future.result()
        except (CredaxError, BrokenProcessPool):
            raise
        except (WorkerDied, Stopped) as error:
            starts = attempt.starts + 1 if self._progress(task) == attempt.before else 0
            cheap = len(task) > 1 and not attempt.before  # to halve, since nothing is lost
            if starts == STARTS or (starts and cheap and isinstance(error, WorkerDied)):
                self._divide(task, Failure(str(error)))
            else:
                self._again.append((task, starts))
        except Exception as error:
            self._divide(task, Failure(f"{type(error).__name__}: {said(error)}", raised=True))
        else:
            self._done(task, outcome)

    def _divide(self, task: T, failure: Failure) -> None:
        if len(task) > 1:
            self._again.extend((half, 0) for half in task.halves())
        else:
            self._done(task, failure)

    def _stop(self) -> None:
        """Has what runs stop, and keeps what is finished all the same."""
        for future in self._flying:
            future.cancel()
        stop = getattr(self._engine, "stop", None)
        if stop is not None:
            stop()
        for future in wait(self._flying).done:
            if not future.cancelled() and future.exception() is None:
                self._done(self._flying[future].task, future.result())


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Has SIGTERM raise `SystemExit`, as Ctrl-C raises `KeyboardInterrupt`."""

    def leave(number, frame):
        del frame
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
