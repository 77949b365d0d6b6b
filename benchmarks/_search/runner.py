"""Runs the settings of trials with their seeds as batches, here or on an engine."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from benchmarks._search.rungs import gather
from benchmarks._sweep.axes import Value
from benchmarks._sweep.batch import RAISED, TRIES, reached, run_batch, starts
from benchmarks._sweep.folder import task_of
from benchmarks._sweep.records import Records
from benchmarks._sweep.target import Target
from benchmarks._sweep.width import measured
from benchmarks._sweep.work import measure, run
from benchmarks._width import LARGEST
from benchmarks.drive import Failure, Submits, drive
from benchmarks.engines import Local
from benchmarks.run import plain
from benchmarks.tasks import Outcome, Task


@dataclasses.dataclass(frozen=True)
class Runner:
    """Batches of settings with their seeds, and their outcomes."""

    target: Target
    config: Any
    traced: list[str]
    plan: dict[str, Any]
    folder: Path
    records: Records
    engine: Submits | None
    chunk: int | None

    def addresses(self, setting: dict[str, Value], seeds: tuple[int, ...]) -> list[str]:
        """The names of the members of a setting."""
        return self._task([setting], seeds).addresses()

    def tasks(
        self, settings: list[dict[str, Value]], seeds: tuple[int, ...], before: list[Task], stop: int | None
    ) -> list[Task]:
        """Batches of members that share what is static, with what batches `before` have run of them."""
        groups: dict[str, list[dict[str, Value]]] = {}
        for setting in settings:
            static = {name: value for name, value in setting.items() if name not in self.traced}
            groups.setdefault(json.dumps(plain(static), sort_keys=True), []).append(setting)
        tasks = []
        for group in groups.values():
            whole = self._task(group, seeds)
            whole = dataclasses.replace(whole, width=self._width(whole), epochs=stop and (0, stop), chosen=True)
            size = len(whole) if self.engine is None else whole.width  # workers share a group
            tasks += self.records.lay_out([whole.part(slice(i, i + size)) for i in range(0, len(whole), size)])
        for task in tasks:
            self._bring(task, before)
        return tasks

    def _bring(self, task: Task, before: list[Task]) -> None:
        """Gives a new batch what its members have run in others."""
        mine = set(task.addresses())
        parts = [one for one in before if mine & set(one.addresses()) and one.folder != task.folder]
        epochs = parts[0].epochs[1] if parts and parts[0].epochs else 0
        if epochs and reached(task) < epochs and all(reached(one) >= epochs for one in parts):
            gather(parts, task, self.target, self.config, epochs)

    def _task(self, settings: list[dict[str, Value]], seeds: tuple[int, ...]) -> Task:
        return task_of(
            self.plan,
            self.target,
            self.traced,
            [setting for setting in settings for _ in seeds],
            list(seeds) * len(settings),
            shipped=self.engine is not None,
            width=self.chunk or LARGEST,
            chosen=self.chunk is not None,
        )

    def _width(self, task: Task) -> int:
        """How many members run side by side, the same for all batches of a static setting: their bits depend on it."""
        known = self.records.width(task.config)
        if known is None:
            known = self._measured(task)
            self.records.widths[json.dumps(task.config, sort_keys=True)] = known
        return known

    def _measured(self, task: Task) -> int:
        found: list[Any] = []
        function = measure if self.engine is not None else lambda one: measured(one, self.target, self.config)
        drive(self.engine or Local(), function, [task], lambda part, outcome: found.append(outcome))
        # An error is that of the batch too, which becomes the reason that is listed.
        return next((outcome[0] for outcome in found if not isinstance(outcome, Failure)), 1)

    def run(self, tasks: list[Task]) -> dict[str, tuple[dict[str, float], str]]:
        """(metrics, why it failed) of every member, by its address. If all have raised, so does this."""
        found: dict[str, tuple[dict[str, float], str]] = {}
        errors: list[Exception] = []

        def done(task: Task, outcome: Outcome | Failure) -> None:
            failed = isinstance(outcome, Failure)
            if failed and outcome.raised:
                errors.append(RuntimeError(outcome.reason))
            reasons = [f"{RAISED if outcome.raised else ''}{outcome.reason}"] if failed else outcome.reasons
            for i, address in enumerate(task.addresses()):
                metrics = {} if failed else {name: float(column[i]) for name, column in outcome.metrics.items()}
                found[address] = metrics, reasons[i]

        def here(task: Task) -> Outcome:
            if starts(Path(task.folder)) >= TRIES:
                raise RuntimeError(f"The process ended while it ran, {TRIES} times; delete {task.folder} to try again.")
            return run_batch(task, self.target, self.config, errors=errors)

        if self.engine is None:
            drive(Local(), here, tasks, done)
        else:
            drive(self.engine, run, tasks, done, reached)
        if errors and all(reason.startswith(RAISED) for _, reason in found.values()):
            raise errors[0]
        return found
