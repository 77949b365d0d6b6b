"""What is known about every member so far, in memory and, batch by batch, on disk."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._sweep.batch import (
    MEMBERS,
    OUTCOME,
    RAISED,
    TRIES,
    read_outcome,
    read_task,
    starts,
    write_members,
    write_outcome,
)
from benchmarks.tasks import Outcome, Task


class Records:
    """The outcome of each member: its metrics, and why it failed ("" if it did not, None if it was not run yet).

    With a folder, members whose batch is there are not run again, except those that raised an error.

    **Arguments:**

    - `addresses`: the names of the members.
    - `folder`: that of the sweep, or None.
    """

    def __init__(self, addresses: Sequence[str], folder: Path | None) -> None:
        self.metrics: dict[str, np.ndarray] = {}
        self.reasons = np.full(len(addresses), None, dtype=object)
        self.shards: set[tuple[int, int]] = set()
        self.folder = folder
        self.addresses = tuple(addresses)
        self.unfinished: list[Task] = []
        """Batches that have begun, or have been laid out, the smallest first."""
        self.widths: dict[str, int] = {}
        """How many members are run side by side, by configuration."""
        self.finished: list[Task] = []
        """The batches that are finished."""
        self._index = {address: position for position, address in enumerate(addresses)}
        if folder is not None:
            for path in sorted((folder / "batches").glob(f"*/{MEMBERS}")):
                self._load(path.parent)
        self.unfinished.sort(key=len)

    def pending(self, members: np.ndarray) -> np.ndarray:
        """Those of the members that have still to be run."""
        return members[[_is_open(reason) for reason in self.reasons[members]]]

    def positions(self, task: Task) -> np.ndarray:
        """Which members a task has, -1 for those that are not of this sweep."""
        return np.array([self._index.get(address, -1) for address in task.addresses()])

    def take(self, task: Task, outcome: Outcome) -> np.ndarray:
        """Takes in what a task ended with, and returns those of its members that are of this sweep."""
        positions = self.positions(task)
        known = np.flatnonzero(positions >= 0)
        metrics = {name: values[known] for name, values in outcome.metrics.items()}
        self.add(positions[known], metrics, [outcome.reasons[i] for i in known], task.shard)
        self.finished.append(task)
        return positions[known]

    def add(
        self, members: np.ndarray, metrics: dict[str, np.ndarray], reasons: Sequence[str], shard: tuple[int, int]
    ) -> None:
        """Takes in what became of some members."""
        # A member that raised and was run again is in two batches, in any order: the one without an error counts.
        new = np.array([_is_open(reason) for reason in self.reasons[members]], dtype=bool)
        for name, values in metrics.items():
            column = self.metrics.setdefault(name, np.full(len(self.reasons), np.nan))
            column[members[new]] = values[new]
        self.reasons[members[new]] = np.array(reasons, dtype=object)[new]
        self.shards.add(shard)

    def lay_out(self, tasks: Sequence[Task]) -> list[Task]:
        """The tasks, each with a folder of its own, where it is written what they are."""
        if self.folder is None:
            return list(tasks)
        placed = [task.beside(self.folder / "batches") for task in tasks]
        for task in placed:
            write_members(task)
        return placed

    def reopen(self, members: np.ndarray) -> None:
        """Drops the batches of members that raised, so that they can be run again."""
        for task in [one for one in self.finished if one.folder and set(self.positions(one)) & set(members)]:
            shutil.rmtree(task.folder)
            self.finished.remove(task)

    def go_on(self, members: np.ndarray) -> list[Task]:
        """The unfinished batches of these members; those that were started twice without getting anywhere by halves.

        The only member of one that was is listed as failed.
        """
        left, tasks = set(members.tolist()), []
        waiting = list(self.unfinished)
        while waiting:
            task = waiting.pop(0)
            inside = set(self.positions(task).tolist()) - {-1}
            if not inside or not inside <= left:
                continue  # of another sweep, or what it was halved into is there
            if starts(Path(task.folder)) < TRIES:
                tasks.append(task)
                left -= inside
            elif len(task) > 1:
                waiting += self.lay_out(task.halves())
                shutil.rmtree(task.folder)
            else:
                reason = f"The process ended while it ran, {TRIES} times; delete {task.folder} to have it run again."
                outcome = Outcome({}, [reason], task.folder)
                write_outcome(outcome)
                self.take(task, outcome)
        return sorted(tasks, key=lambda task: self.positions(task).max())

    def _load(self, folder: Path) -> None:
        task = read_task(folder)
        if task.chosen:
            self.widths[_key(task.config)] = task.width
        if (folder / OUTCOME).exists():
            if any(address in self._index for address in task.addresses()):
                self.take(task, read_outcome(folder, len(task)))
        else:
            self.unfinished.append(task)

    def width(self, config: dict[str, Any]) -> int | None:
        """How many members with this configuration have been run side by side."""
        return self.widths.get(_key(config))


def _key(config: dict[str, Any]) -> str:
    return json.dumps(config, sort_keys=True)


def _is_open(reason: str | None) -> bool:
    return reason is None or reason.startswith(RAISED)
