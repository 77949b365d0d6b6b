"""`search`: the best setting of an experiment, by Optuna."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._lock import RunLock
from benchmarks._search.halving import Halving
from benchmarks._search.rungs import stops
from benchmarks._search.runner import Runner
from benchmarks._search.space import distributions, edges, import_optuna
from benchmarks._sweep.axes import Value
from benchmarks._sweep.batch import as_json, forget, member_of
from benchmarks._sweep.grid import Grid, check_seeds
from benchmarks._sweep.records import Records
from benchmarks._sweep.result import DEFAULT_METRIC, show
from benchmarks._sweep.target import Target, as_target, find_target, refuse_scripts, source_hash
from benchmarks._sweep.tracing import traced_axes
from benchmarks.atomic import make_folder
from benchmarks.card import Card, precision
from benchmarks.drive import Submits
from benchmarks.errors import InvalidInput, count, said
from benchmarks.libraries import versions
from benchmarks.metric import refuse_test_metric, to_rank_by
from benchmarks.run import environment, folder_name, read_json, write_json
from benchmarks.table import plain_table

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage

PLAN, STUDY = "search.json", "study.log"
_ROWS = 10


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """What a search has found so far."""

    study: "Study"
    """Optuna's study, with all trials, their values after every rung, and why they failed (`user_attrs`)."""
    metric: str
    """The metric, whose means over seeds are the trials' values."""
    seeds: int
    """Seeds of every trial."""
    folder: Path
    """Where the study (unless it is in a database), curves, checkpoints and networks are."""

    @property
    def epochs(self) -> int:
        """How many epochs have been run, those of all seeds together; 0 for functions in one piece."""
        return self.seeds * sum(trial.user_attrs.get("epochs", 0) for trial in self.study.trials)

    def best(self) -> dict[str, Value]:
        """The setting with the best mean; raises ValueError if no trial came to its end."""
        ranked = self._ranked()
        if not ranked:
            reasons = sorted({str(trial.user_attrs.get("failure", "")) for trial in self.study.trials} - {""})
            raise InvalidInput("\n".join(["No trial of this search has come to its end.", *reasons[:_ROWS]]))
        return dict(ranked[0].params)

    def table(self) -> str:
        """The best trials, how many were pruned and failed, and the best setting, as text."""
        states = import_optuna().trial.TrialState
        ranked, names = self._ranked(), list(dict.fromkeys(name for t in self.study.trials for name in t.params))
        rows = [[str(t.number), *(show(t.params[name]) for name in names), f"{t.value:.5g}"] for t in ranked[:_ROWS]]
        lines = [plain_table(["trial", *names, self.metric], rows)] if rows else []
        count = {state: sum(t.state == state for t in self.study.trials) for state in states}
        lines.append(
            f"{len(ranked)} trials to the end, {count[states.PRUNED]} pruned, {count[states.FAIL]} failed, "
            f"{self.seeds} seeds each" + (f", {self.epochs} epochs" if self.epochs else "")
        )
        failures = {str(t.user_attrs["failure"]) for t in self.study.trials if "failure" in t.user_attrs}
        lines += [f"  failed: {reason}" for reason in sorted(failures)[:_ROWS]]
        if ranked:
            setting = ", ".join(f"{name} = {show(value)}" for name, value in ranked[0].params.items())
            lines.append(f"Best mean {self.metric}: {setting}")
        return "\n".join(lines)

    def _ranked(self) -> list[Any]:
        state, optuna = import_optuna().trial.TrialState.COMPLETE, import_optuna()
        done = [trial for trial in self.study.trials if trial.state == state]
        return sorted(done, key=lambda t: t.value, reverse=self.study.direction == optuna.study.StudyDirection.MAXIMIZE)


def search(
    experiment: Card | Target | Callable[..., Any],
    config: Any = None,
    *,
    over: Mapping[str, Any],
    trials: int = 100,
    seeds: int = 3,
    seed: int = 0,
    metric: str = DEFAULT_METRIC,
    batch: int = 16,
    reduction: int = 3,
    results: str | Path | None = None,
    storage: "str | BaseStorage | None" = None,
    engine: Submits | None = None,
    chunk: int | None = None,
    progress: bool = True,
) -> SearchResult:
    """Looks for the setting with the best mean of a metric over seeds (Optuna: Akiba et al. 2019).

    Optuna's TPE proposes `batch` settings at once, the trials; their members, settings times seeds, run side by side in
    one program per static setting, as those of a sweep. Trainings are pruned by successive halving (Jamieson &
    Talwalkar 2016): after epochs / reduction^s, ..., epochs / reduction epochs, the best of the batch go on, one in
    `reduction`, gathered into a smaller batch that goes on from where they are. (TPE with successive halving is BOHB,
    Falkner et al. 2018.)

    **Arguments:**

    - `experiment`, `config`, `seeds`, `seed`, `chunk`, `progress`: as for `sweep`. All trials have the same seeds.
    - `over`: field name to a range as text ("1e-4:1e-2:log", "0:1:lin"), a list of values, or one of Optuna's
        distributions.
    - `trials`: how many there shall be in the end; a search that is there already is extended.
    - `metric`: what is made large or small, as it is declared (`Metric`); not a metric of the test set. Trials are
        pruned if epochs report it, else run to their ends.
    - `batch`: how many trials are proposed and run together.
    - `reduction`: one trial in so many goes on after a rung; 1 prunes none.
    - `results`: the folder, where the same search goes on if it was interrupted; results/searches/NAME-HASH if None.
    - `storage`: an URL of Optuna's, such as sqlite:///study.db, or a storage; None: Optuna's journal, study.log in the
        folder. `optuna-dashboard` opens all of them.
    - `engine`: where the batches run (`benchmarks.engines`, or any executor); None: in this process.

    A trial with a member that fails is told as failed, with the reason; nothing is averaged over survivors. Raises
    ValueError for what cannot be searched, and for a folder that holds another search; the experiment's own error if no
    member of a batch can be run.
    """
    refuse_scripts()
    target = as_target(experiment)
    config = target.config() if config is None else config
    refuse_test_metric(target.metrics, metric)
    trials, batch, reduction = count("trials", trials), count("batch", batch), count("reduction", reduction)
    chunk = None if chunk is None else count("chunk", chunk)
    if engine is not None:
        find_target(target.text)  # as the workers will
    space, numbers = distributions(target.config, over), check_seeds(seeds, seed)
    grids = [Grid(axes, numbers[:1]) for axes in edges(space)]
    try:
        with precision(target.double):
            found = [traced_axes(target, config, grid, metric) for grid in grids]
            traced = [name for name in space if all(name in names for names in found)]
            member = member_of(target, dataclasses.replace(config, **grids[0].settings[0]), traced)
        plan = _plan(target, config, space, metric, numbers, batch, reduction)
        folder = (Path(results) if results is not None else default_folder(plan)).absolute()
        _claim(folder, plan)
        lock = RunLock(folder / PLAN)
        try:
            study = _study(folder, plan, storage, bool(to_rank_by(target.metrics, metric).higher_is_better), seed)
            pruned = reduction > 1 and metric in member.epoch.shape[1] and "epochs" not in over
            rungs = stops(member.epochs, batch, reduction if pruned else 1)
            runner = Runner(target, config, traced, plan, folder, Records([], folder), engine, chunk)
            Halving(study, space, numbers, metric, batch, reduction, rungs, runner).run(trials, progress)
        finally:
            lock.close()
    finally:
        forget()
    return SearchResult(study, metric, len(numbers), folder)


def _plan(
    target: Target, config: Any, space: Any, metric: str, seeds: tuple[int, ...], batch: int, reduction: int
) -> Any:
    """All that decides what a search finds, but for the number of trials."""
    fixed = {name: value for name, value in as_json(config).items() if name not in space}
    return {
        "experiment": target.name,
        "source": source_hash(target),
        "versions": versions(),
        "x64": environment()["x64"],
        "config": fixed,
        "over": {name: import_optuna().distributions.distribution_to_json(d) for name, d in space.items()},
        "metric": metric,
        "seeds": list(seeds),
        "batch": batch,
        "reduction": reduction,
    }


def default_folder(plan: dict[str, Any]) -> Path:
    return Path("results") / "searches" / f"{folder_name(plan['experiment'])}-{_digest(plan)}"


def _digest(plan: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:8]


def _claim(folder: Path, plan: dict[str, Any]) -> None:
    path = folder / PLAN
    before = read_json(path, str(path)) if path.exists() else plan
    changes = [f"  {key}: {before.get(key)} -> {plan[key]}" for key in plan if before.get(key) != plan[key]]
    if changes:
        listed = "\n".join(changes)
        raise InvalidInput(
            f"{folder} holds another search; what has changed:\n{listed}\n"
            "Give another folder with --results, or delete this one to start afresh."
        )
    if not path.exists():
        make_folder(folder)
        write_json(path, plan)


def _study(folder: Path, plan: dict[str, Any], storage: Any, maximise: bool, seed: int) -> "Study":
    optuna = import_optuna()
    if storage is None:
        from optuna.storages.journal import JournalFileBackend

        storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / STUDY)))
    try:
        study = optuna.create_study(
            storage=storage,
            study_name=folder.name,
            direction="maximize" if maximise else "minimize",
            load_if_exists=True,
            pruner=optuna.pruners.NopPruner(),  # we compare the trials of a batch ourselves
        )
    except Exception as error:  # whatever a database, or the lack of its driver, makes SQLAlchemy raise
        raise InvalidInput(f"storage: {storage} cannot be opened: {type(error).__name__}: {said(error)}") from error
    digest = _digest(plan)
    if study.user_attrs.setdefault("plan", digest) != digest:
        raise InvalidInput(
            f"storage: {storage} has a study {folder.name} of another search: give a folder of another name."
        )
    study.set_user_attr("plan", digest)
    study.sampler = optuna.samplers.TPESampler(
        seed=seed + len(study.trials), constant_liar=True
    )  # a resumed search draws other numbers
    return study
