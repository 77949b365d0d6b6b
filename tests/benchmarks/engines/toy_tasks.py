"""Toy tasks: numbers that are squared, by functions that can also die, raise or wait."""

import dataclasses
import itertools
import os
import signal
import time
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Numbers:
    members: list[int]
    folder: str = ""

    def __len__(self) -> int:
        return len(self.members)

    def halves(self) -> "list[Numbers]":
        middle = (len(self) + 1) // 2
        return [dataclasses.replace(self, members=part) for part in (self.members[:middle], self.members[middle:])]


def squares(task: Numbers) -> list[int]:
    return [number**2 for number in task.members]


def squares_but_seven_kills(task: Numbers) -> list[int]:
    if 7 in task.members:
        os.kill(os.getpid(), signal.SIGKILL)
    return squares(task)


def squares_but_seven_aborts(task: Numbers) -> list[int]:
    if 7 in task.members:
        os.abort()
    return squares(task)


def squares_but_seven_raises(task: Numbers) -> list[int]:
    if 7 in task.members:
        raise ValueError("no sevens")
    return squares(task)


def process(task: Numbers) -> tuple[int, float]:
    """Who runs a task; takes long enough that all workers get one."""
    time.sleep(0.1)
    return os.getpid(), time.monotonic()


def slow_squares(task: Numbers) -> list[int]:
    """Says in a file that it runs, then takes half a second."""
    (Path(task.folder) / f"{task.members}-{os.getpid()}").touch()
    time.sleep(0.5)
    return squares(task)


def epochs(task: Numbers) -> int:
    """Counts in a file, from where that stands, until there is one called "enough", or a signal after it. Its start."""
    asked = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, frame: asked.append(number)) for number in numbers]
    started = done_epochs(task)
    (Path(task.folder) / "process").write_text(str(os.getpid()))
    try:
        for epoch in itertools.count(started):
            if (Path(task.folder) / "enough").exists():
                break
            time.sleep(0.01)
            path = Path(task.folder) / str(task.members[0])
            path.with_suffix(".new").write_text(str(epoch + 1))
            path.with_suffix(".new").replace(path)
            if asked:
                raise SystemExit(128 + asked[0])
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    return started


def epochs_in_list(task: Numbers) -> list[int]:
    return [epochs(task)]


def done_epochs(task: Numbers) -> int:
    path = Path(task.folder) / str(task.members[0])
    return int(path.read_text()) if path.exists() else 0


def x64(task: Numbers) -> tuple[bool, str | None]:
    """What a worker's JAX is set to, and where its data are."""
    import jax.numpy as jnp

    return jnp.ones(()).dtype == jnp.float64, os.environ.get("CREDAX_DATA")


class Stubborn(Exception):
    def __init__(self, one, two, three):
        super().__init__(f"of {three} parts")


def unpicklable(task: Numbers):
    return lambda: task


def raises_the_unpicklable(task: Numbers):
    raise Stubborn(1, 2, "three")
