"""A batch of members as plain data, which can be sent to any worker; `benchmarks._sweep.work.run` runs it there.

Members are settings of one experiment, with a seed each, that share all that is static, and so one program.
"""

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Task:
    """Members that are run together: plain data, which can be pickled and sent to any worker."""

    target: str
    """The experiment: `eventprop-yinyang`, `my_file.py:experiment` or `package.module:experiment`."""
    config: dict[str, Any]
    """All settings but those that are traced, as `benchmarks.run.plain` writes them."""
    traced: dict[str, list[Any]]
    """The values of the traced settings, one per member; infinite ones are the texts "inf" and "-inf"."""
    seeds: list[int]
    """The seed of every member."""
    epochs: tuple[int, int] | None = None
    """The epochs to run, the first and the one after the last; None for all that are left, and the judgement."""
    folder: str = ""
    """Where curves, checkpoints, outcome and networks go, which all workers share; "" keeps nothing."""
    width: int = 1
    """How many members a device runs side by side."""
    versions: dict[str, str | None] = dataclasses.field(default_factory=dict)
    """Versions of the libraries; a worker that has others refuses."""
    source: str | None = None
    """The text of the user's file, for workers that do not have it."""
    source_hash: str = ""
    """The SHA-256 of the source of the experiment."""
    checkpoint_every: float = 30.0
    """Seconds between checkpoints."""
    chosen: bool = True
    """Whether the width is the one for all members with this configuration, and not one that is being tried."""
    members: int = 0
    """How many members share its program, with those that have been run: the width is a fair share of them."""
    shard: tuple[int, int] = (1, 1)
    """The part of the sweep that it is of: the number, and of how many."""

    def __len__(self) -> int:
        return len(self.seeds)

    def addresses(self) -> list[str]:
        """The names of the members, by content: experiment, source, all settings and seed."""
        return self._addresses

    @functools.cached_property
    def _addresses(self) -> list[str]:
        settings = [{name: values[i] for name, values in self.traced.items()} for i in range(len(self))]
        return [
            member_address(Path(self.target).name, self.source_hash, self.config | setting, seed)
            for setting, seed in zip(settings, self.seeds, strict=True)
        ]

    def address(self) -> str:
        """The name of the batch: its members, and how many are run side by side."""
        return _short(json.dumps([self.addresses(), self.width]))

    def halves(self) -> list["Task"]:
        """Two tasks with half of the members each, in order, in folders beside this one's."""
        middle = (len(self) + 1) // 2
        return [self.part(slice(0, middle)), self.part(slice(middle, None))]

    def part(self, members: slice) -> "Task":
        """The task of some of the members."""
        traced = {field: values[members] for field, values in self.traced.items()}
        part = dataclasses.replace(self, traced=traced, seeds=self.seeds[members])
        return part.beside(Path(self.folder).parent) if self.folder else part

    def beside(self, folder: Path) -> "Task":
        """The same task with its own folder in `folder`."""
        return dataclasses.replace(self, folder=str(folder / self.address()))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a task ended with, as plain data too."""

    metrics: dict[str, np.ndarray]
    """The metrics, each `[members]`; NaN where a member has none."""
    reasons: list[str]
    """Why a member failed; "" if it did not."""
    folder: str = ""
    """Where curves (`metrics.jsonl`) and networks (`networks.eqx`) are; "" where nothing is kept."""
    seconds: float = 0.0
    """How long its programs ran, without compilation."""


def member_address(target: str, source_hash: str, config: dict[str, Any], seed: int) -> str:
    """The name of a member, by content."""
    return _short(json.dumps([target, source_hash, config, seed], sort_keys=True))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
