"""Asks for batches of trials, runs them rung by rung, and tells what became of them."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from benchmarks._search.rungs import forget
from benchmarks._search.runner import Runner
from benchmarks._search.space import import_optuna
from benchmarks.tasks import Task

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial


@dataclasses.dataclass(frozen=True)
class Halving:
    """Batches of trials, rung by rung. All that is known is in the study, so that it goes on after any end."""

    study: "Study"
    space: dict[str, Any]
    seeds: tuple[int, ...]
    metric: str
    batch: int
    reduction: int
    rungs: list[int]
    runner: Runner

    def run(self, trials: int, progress: bool) -> None:
        """Until there are so many trials."""
        with tqdm(total=trials, initial=self._finished(), unit="trial", disable=not progress) as bar:
            batch = self._interrupted()
            while batch or (batch := self._ask(min(self.batch, trials - self._finished()))):
                self._run(batch, bar)
                bar.n, batch = self._finished(), []
                bar.refresh()

    def _finished(self) -> int:
        return sum("batch" in trial.user_attrs and trial.state.is_finished() for trial in self.study.trials)

    def _ask(self, count: int) -> "list[Trial]":
        number = max((trial.user_attrs.get("batch", 0) for trial in self.study.trials), default=0) + 1
        asked = [self.study.ask(self.space) for _ in range(count)]
        for trial in asked:
            trial.set_user_attr("batch", number)
        return asked

    def _interrupted(self) -> "list[Trial]":
        """The batch that a search has left when it was interrupted, with those of its trials that are told already."""
        optuna, left = import_optuna(), [trial for trial in self.study.trials if not trial.state.is_finished()]
        for trial in left:
            if "batch" not in trial.user_attrs:  # it ended while it asked
                self.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        numbers = {trial.user_attrs["batch"] for trial in left if "batch" in trial.user_attrs}
        mine = [trial for trial in self.study.trials if trial.user_attrs.get("batch") in numbers]
        # The number that storages know a trial by has no public name.
        return [optuna.trial.Trial(self.study, trial._trial_id) for trial in mine]

    def _run(self, alive: "list[Trial]", bar: tqdm) -> None:
        """Runs trials from rung to rung."""
        states, count, before = import_optuna().trial.TrialState, len(alive), []
        for rung, stop in enumerate(self.rungs):
            bar.set_postfix_str(f"{len(alive)} running" + (f", to epoch {stop}" if stop else ""))
            before = self._evaluate(alive, stop, before, last=stop == self.rungs[-1])
            ranked = self._ranked(alive, stop)
            most = max(1, count // self.reduction ** (rung + 1)) if stop != self.rungs[-1] else len(ranked)
            for found in ranked[most:]:
                if found.state == states.RUNNING:
                    self.study.tell(found.number, state=states.PRUNED)
            going_on = {found.number for found in ranked[:most]}
            alive = [trial for trial in alive if trial.number in going_on]
            if not alive:
                break
        for found in self._frozen(alive):
            if found.state == states.RUNNING:
                self.study.tell(found.number, found.intermediate_values[self.rungs[-1]])
        for task in before:
            forget(task)

    def _frozen(self, trials: "Sequence[Trial]") -> "list[FrozenTrial]":
        known = {trial.number: trial for trial in self.study.trials}
        return [known[trial.number] for trial in trials]

    def _ranked(self, alive: "Sequence[Trial]", stop: int) -> "list[FrozenTrial]":
        """Those that have come to an epoch, the best first."""
        sign = -1 if self.study.direction == import_optuna().study.StudyDirection.MAXIMIZE else 1
        known = [found for found in self._frozen(alive) if stop in found.intermediate_values]
        return sorted(known, key=lambda found: (sign * found.intermediate_values[stop], found.number))

    def _evaluate(self, alive: "list[Trial]", stop: int, before: list[Task], *, last: bool) -> list[Task]:
        """Runs trials up to an epoch, as far as that is not known, and reports their means; their batches."""
        states, frozen = import_optuna().trial.TrialState, self._frozen(alive)
        tasks = self.runner.tasks([found.params for found in frozen], self.seeds, before, None if last else stop)
        open_ = [found for found in frozen if found.state == states.RUNNING and stop not in found.intermediate_values]
        if not open_:
            return tasks
        outcomes = self.runner.run(tasks)
        for task in before:
            if task.folder not in {each.folder for each in tasks}:
                forget(task)
        live = {trial.number: trial for trial in alive}
        for found in open_:
            members = [outcomes[address] for address in self.runner.addresses(found.params, self.seeds)]
            reasons = [reason for _, reason in members if reason]
            live[found.number].set_user_attr("epochs", stop)
            if reasons:
                live[found.number].set_user_attr("failure", reasons[0])
                self.study.tell(found.number, state=states.FAIL)
            else:
                live[found.number].report(float(np.mean([metrics[self.metric] for metrics, _ in members])), stop)
        return tasks
