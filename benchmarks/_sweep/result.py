"""The outcome of a sweep: statistics over seeds for every setting, what failed, tables."""

import csv
import dataclasses
import io
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import PyTree

from benchmarks._sweep.axes import Value
from benchmarks._sweep.batch import MEMBERS
from benchmarks._sweep.folder import addresses, read_grid, read_metrics, read_plan
from benchmarks._sweep.grid import Grid
from benchmarks._sweep.records import Records
from benchmarks.atomic import write_bytes
from benchmarks.errors import InvalidInput, MissingPackage
from benchmarks.metric import Metric, to_rank_by
from benchmarks.run import Run
from benchmarks.table import plain_table

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_METRIC = "validation_accuracy"
_ROWS = 20


@dataclasses.dataclass(frozen=True)
class Failure:
    """A member that is left out of all statistics, and why."""

    setting: dict[str, Value]
    seed: int
    reason: str


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """Metrics of all members, [settings, seeds] each, with statistics over the seeds.

    Members that failed, and those that have not been run, are NaN in `metrics` and are left out of `mean`, `std` and
    `count`.
    """

    grid: Grid
    """Axes and seeds."""
    metrics: dict[str, np.ndarray]
    """Metric name to values, [settings, seeds]."""
    reasons: np.ndarray
    """Why a member failed, [settings, seeds]: "" if it did not, None if it has not been run."""
    metric: str
    """The metric that settings are ranked by."""
    shards: frozenset[tuple[int, int]]
    """The parts (number, of how many) that have been started."""
    declared: tuple[Metric, ...] = ()
    """What the experiment declares of its metrics."""
    folder: Path | None = None
    """Where everything is; None if nothing is kept."""
    addresses: tuple[str, ...] = ()
    """The names of the members, as they are in the folder."""

    @property
    def settings(self) -> list[dict[str, Value]]:
        """The values of every axis, one dictionary per setting."""
        return self.grid.settings

    @property
    def failures(self) -> list[Failure]:
        """All members that failed."""
        settings = self.settings
        return [
            Failure(settings[s], self.grid.seeds[k], reason)
            for (s, k), reason in np.ndenumerate(self.reasons)
            if reason is not None and reason != ""
        ]

    @property
    def missing(self) -> int:
        """How many members have not been run."""
        return int(np.sum(self.reasons == None))  # noqa: E711 - elementwise

    @property
    def missing_shards(self) -> list[tuple[int, int]]:
        """The parts with members that have not been run, as far as the finished parts tell into how many it was cut."""
        pending = np.flatnonzero(self.reasons.ravel() == None)  # noqa: E711 - elementwise
        cuts = {parts for _, parts in self.shards if parts > 1}
        return [
            (number, parts)
            for parts in sorted(cuts)
            for number in range(1, parts + 1)
            if np.isin(self.grid.shard((number, parts)), pending).any()
        ]

    def count(self) -> np.ndarray:
        """Successful members of every setting, [settings]."""
        return np.sum(self.reasons == "", axis=1)

    def failed(self) -> np.ndarray:
        """Failed members of every setting, [settings]."""
        return np.sum((self.reasons != "") & (self.reasons != None), axis=1)  # noqa: E711 - elementwise

    def mean(self, metric: str) -> np.ndarray:
        """Mean over the successful members of every setting, [settings]; NaN where there is none."""
        values = self._values(metric)
        return np.array([np.mean(row) if row.size else np.nan for row in values])

    def std(self, metric: str) -> np.ndarray:
        """Standard deviation (n - 1 in the denominator), [settings]; NaN with fewer than two successful members."""
        values = self._values(metric)
        return np.array([np.std(row, ddof=1) if row.size > 1 else np.nan for row in values])

    @property
    def higher_is_better(self) -> bool:
        """Whether the ranking metric is one to be made large."""
        return bool(to_rank_by(self.declared, self.metric).higher_is_better)

    def ranking(self) -> np.ndarray:
        """Settings with a successful member, best first."""
        mean = self.mean(self.metric)
        order = np.argsort(-mean if self.higher_is_better else mean, kind="stable")
        return order[np.isfinite(mean[order])]

    def best(self) -> dict[str, Value]:
        """The setting with the best mean; raises ValueError if no member succeeded."""
        ranking = self.ranking()
        if not len(ranking):
            raise InvalidInput("\n".join(["No member of this sweep has succeeded.", *self._failure_lines()]))
        return self.settings[ranking[0]]

    def networks(self, setting: dict[str, Value] | None = None, experiment: Any = None) -> PyTree:
        """The networks of a setting, the best one if None, with a leading axis of its successful seeds on every array.

        The experiment that makes such networks is found by its name or file, unless it is given. Raises ValueError if
        the sweep has no folder, or no such networks.
        """
        from benchmarks._sweep.networks import read_members  # late: it needs the experiments

        if self.folder is None:
            raise InvalidInput("The networks of this sweep were not kept: give it a folder with results=.")
        setting = self.best() if setting is None else setting
        if setting not in self.settings:
            raise InvalidInput(f"setting: {setting} is none of this sweep's, such as {self.settings[0]}.")
        s, seeds = self.settings.index(setting), len(self.grid.seeds)
        good = [self.addresses[s * seeds + k] for k in range(seeds) if self.reasons[s, k] == ""]
        if not good:
            raise InvalidInput(f"No seed of {setting} has succeeded: there are no networks.")
        return read_members(self.folder, good, experiment)

    def table(self) -> str:
        """The settings, best first, failures, what is missing, and the best setting, as text."""
        mean, std, count, failed = self.mean(self.metric), self.std(self.metric), self.count(), self.failed()
        ranking = self.ranking()
        header = [*self.grid.axes, self.metric, "n", "failed"]
        rows = [
            [*map(show, self.settings[s].values()), _spread(mean[s], std[s]), str(count[s]), str(failed[s])]
            for s in ranking[:_ROWS]
        ]
        lines = [plain_table(header, rows)] if rows else []
        if len(ranking) > _ROWS:
            lines.append(f"... and {len(ranking) - _ROWS} settings more")
        lines += self._failure_lines()
        if self.missing:
            parts = ", ".join(f"{number}/{cut}" for number, cut in self.missing_shards)
            lines.append(
                f"{self.missing} of {self.reasons.size} members are missing" + (f": shards {parts}" if parts else "")
            )
        if len(ranking):
            direction, s = "highest" if self.higher_is_better else "lowest", ranking[0]
            of = f", over {count[s]} of {len(self.grid.seeds)} seeds" if failed[s] else ""
            lines.append(f"Best ({direction} mean {self.metric}{of}): {_describe(self.settings[s])}")
        return "\n".join(lines)

    def to_pandas(self, *, curves: bool = False) -> "pd.DataFrame":
        """A data frame with a row per member: its setting, `seed`, metrics, and `failure`, why it failed.

        `failure` is "" if a member did not fail, and "not run" if it was not run; metrics are NaN in both cases. With
        `curves` there is a row per member and epoch instead: setting, seed, `epoch` and the metrics of that epoch, as
        far as members have come. So `result.to_pandas().groupby("learning_rate").mean(numeric_only=True)`, or `pivot`.

        Raises ValueError for curves of a sweep that kept nothing (`results=None`), ImportError without pandas.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingPackage("Data frames need the package pandas: pip install 'credax[pandas]'.") from error

        members = pd.DataFrame([setting | {"seed": seed} for setting in self.settings for seed in self.grid.seeds])
        if curves:
            found = self.curves()
            return members.iloc[found.pop("member")].reset_index(drop=True).join(pd.DataFrame(found))
        reasons = ["not run" if reason is None else reason for reason in self.reasons.ravel()]
        return members.assign(**{name: values.ravel() for name, values in self.metrics.items()}, failure=reasons)

    def curves(self) -> dict[str, np.ndarray]:
        """Columns with an entry per member and epoch, in order: `member`, the number of its row in tables, `epoch`,
        and the metrics of that epoch."""
        if self.folder is None:
            raise InvalidInput("curves: this sweep has kept none; give it a folder, results=...")
        records = Records(self.addresses, self.folder)
        rows: dict[tuple[int, int], dict[str, float]] = {}
        for task in [*records.unfinished, *records.finished]:  # of a member in both, what is finished counts
            positions = records.positions(task)
            for row in Run(Path(task.folder), {"seeds": task.seeds}, MEMBERS).rows():
                columns = {name: values for name, values in row.items() if isinstance(values, list)}
                for i in np.flatnonzero(positions >= 0):
                    rows[int(positions[i]), row["epoch"]] = {name: values[i] for name, values in columns.items()}
        order = sorted(rows)
        names = list(dict.fromkeys(name for key in order for name in rows[key]))
        columns = {name: np.array([rows[key].get(name) for key in order], float) for name in names}
        member, epoch = np.array(order, int).reshape(-1, 2).T
        return {"member": member, "epoch": epoch, **columns}

    def write(self, folder: Path) -> None:
        """Writes members.csv, summary.csv, the figures sweep, if an axis is numeric, and curves, if there are any."""
        members: list[list[Any]] = [[*self.grid.axes, "seed", *self.metrics, "failure"]]
        summary: list[list[Any]] = [
            [*self.grid.axes, "n", "failed", *(f"{name}_{of}" for name in self.metrics for of in ("mean", "std"))]
        ]
        count, failed = self.count(), self.failed()
        statistics = [of(name) for name in self.metrics for of in (self.mean, self.std)]
        for s, setting in enumerate(self.settings):
            values = list(setting.values())
            summary.append([*values, count[s], failed[s], *(_number(column[s]) for column in statistics)])
            for k, seed in enumerate(self.grid.seeds):
                reason = "not run" if self.reasons[s, k] is None else self.reasons[s, k]
                members.append([*values, seed, *(_number(m[s, k]) for m in self.metrics.values()), reason])
        for name, rows in (("members.csv", members), ("summary.csv", summary)):
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(rows)
            write_bytes(folder / name, text.getvalue().encode())
        from benchmarks import style  # late: matplotlib takes long to import
        from benchmarks._sweep.figures import draw, draw_curves

        grid, metric = self.grid, self.metric
        with style.paper():
            figures = {"sweep": draw(grid, self.mean(metric), self.std(metric), metric)}
            if self.folder is not None:
                successful = self.reasons.ravel() == ""
                figures["curves"] = draw_curves(grid, self.curves(), successful, self.ranking(), metric)
            for name, kind in itertools.product(figures, ("png", "pdf")):
                if (figure := figures[name]) is not None:
                    image = io.BytesIO()
                    figure.savefig(image, format=kind, dpi=style.DPI)
                    write_bytes(folder / f"{name}.{kind}", image.getvalue())

    def _values(self, metric: str) -> list[np.ndarray]:
        check_metric(metric, list(self.metrics))
        return [row[ok] for row, ok in zip(self.metrics[metric], self.reasons == "", strict=True)]

    def _failure_lines(self) -> list[str]:
        groups: dict[tuple[str, str], list[str]] = {}
        for failure in self.failures:
            groups.setdefault((_describe(failure.setting), failure.reason), []).append(str(failure.seed))
        total = sum(map(len, groups.values()))
        lines = [f"{total} of {self.reasons.size} members failed and are left out:"] if total else []
        for (setting, reason), seeds in list(groups.items())[:_ROWS]:
            lines.append(f"  {setting}, seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}: {reason}")
        if len(groups) > _ROWS:
            lines.append("  ... and more, in members.csv")
        return lines


def collect(grid: Grid, records: Records, metric: str, declared: tuple[Metric, ...] = ()) -> SweepResult:
    """The result that the records amount to."""
    shape = (-1, len(grid.seeds))
    good = records.reasons == ""
    columns = records.metrics or {metric: np.full(len(good), np.nan)}  # nothing has been run, or all has raised
    metrics = {name: np.where(good, values, np.nan).reshape(shape) for name, values in columns.items()}
    shards, reasons = frozenset(records.shards), records.reasons.reshape(shape)
    return SweepResult(grid, metrics, reasons, metric, shards, declared, records.folder, records.addresses)


def merge(results: str | Path, metric: str | None = None) -> SweepResult:
    """Reads the folder of a sweep, filled by one process or by the shards of a job array, and writes its tables.

    The result says which members, and so which shards, are missing. Settings are ranked by `metric`, or else by the one
    that the sweep was made with. Raises ValueError if the folder holds no sweep.
    """
    folder = Path(results)
    plan = read_plan(folder)
    ranked_by: str = plan["metric"] if metric is None else metric
    declared = read_metrics(plan)
    to_rank_by(declared, ranked_by)
    grid = read_grid(plan)
    result = collect(grid, Records(addresses(plan, grid), folder), ranked_by, declared)
    result.write(folder)
    return result


def check_metric(metric: str, known: list[str]) -> None:
    """Refuses a metric that the experiment does not return."""
    if metric not in known:
        raise InvalidInput(f"metric: there is no {metric!r}; this experiment returns {', '.join(known)}.")


def show(value: Value) -> str:
    """A value of an axis, as it is printed."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _describe(setting: dict[str, Value]) -> str:
    return ", ".join(f"{name} = {show(value)}" for name, value in setting.items())


def _spread(mean: Any, std: Any) -> str:
    """Mean and standard deviation; the latter unless it is what float32 rounds off."""
    return f"{mean:.5g}" + (f" ± {std:.2g}" if std > np.finfo(np.float32).eps * abs(mean) else "")


def _number(value: float) -> str:
    return "" if np.isnan(value) else repr(float(value))
