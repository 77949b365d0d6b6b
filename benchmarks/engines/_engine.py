"""What an engine is: `submit(function, task) -> Future`, as every executor of `concurrent.futures` has it."""

import abc
import contextlib
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from benchmarks.errors import CredaxError


class WorkerDied(RuntimeError):
    """The process that ran a task has ended before the task: it was killed, or it aborted."""

    def __init__(self, how: str):
        super().__init__(f"The process ended while it ran: {how}.")


class Stopped(RuntimeError):
    """A task was asked to stop, by a signal or by a scheduler, and has written what it had."""


class WrongWorker(CredaxError, RuntimeError):
    """A worker has other versions of the libraries than the driver, or lacks something that every task needs."""


class AbstractEngine(contextlib.AbstractContextManager):
    """Workers that run tasks. Any executor of `concurrent.futures` can stand in for one: `submit` is all it needs.

    A future of an engine ends with what the function returned, or with what it raised, or with `WorkerDied`, `Stopped`
    or `WrongWorker`. It cannot be cancelled once it is submitted; `stop` ends it early.
    """

    @property
    @abc.abstractmethod
    def in_flight(self) -> int:
        """How many tasks to keep submitted, so that no worker waits for its next one."""

    @abc.abstractmethod
    def submit(self, function: Callable[[Any], Any], task: Any, /) -> Future:
        """Has a worker call `function(task)`, a function that can be imported there with an argument of plain data."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Asks what runs to write what it has, and drops what waits: their futures end with `Stopped`."""

    @abc.abstractmethod
    def close(self) -> None:
        """Ends the workers, at once."""

    def __exit__(self, *error: Any) -> None:
        self.close()


def last_line(error: Exception) -> str:
    """The end of an error's message, which is what matters where it holds a traceback."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]
