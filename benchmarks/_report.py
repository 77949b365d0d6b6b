"""Published figures beside ours, for everything that has been run."""

import dataclasses
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks._sweep.result import merge
from benchmarks.atomic import write_bytes
from benchmarks.card import Card, Published
from benchmarks.errors import CredaxError, FileFault, InvalidInput
from benchmarks.metric import Metric, declaration, metrics_of
from benchmarks.run import Run, look_through, plain, statistics
from benchmarks.table import difference, label, markdown_table, plain_table, quantity

FEWEST_SEEDS = 3
HEADER = ("experiment", "settings", "metric", "published", "ours", "seeds", "difference", "verdict")


@dataclasses.dataclass(frozen=True)
class Row:
    """A figure that all runs of one configuration gave, beside the published one if there is one.

    `n` seeds succeeded and `failed` did not; `verdict` is explained at `judge`.
    """

    experiment: str
    settings: str
    metric: str
    mean: float | None
    std: float | None
    n: int
    failed: int
    published: Published | None
    verdict: str

    def cells(self) -> list[str]:
        """The row as text, in the order of `HEADER`."""
        published, gap = "-", "-"
        if self.published is not None:
            published = quantity(self.metric, self.published.mean, self.published.std)
            if self.mean is not None:
                gap = difference(self.metric, self.mean, self.published.mean)
        ours = quantity(self.metric, self.mean, self.std)
        seeds = f"{self.n}" + (f" (+{self.failed} failed)" if self.failed else "")
        return [self.experiment, self.settings, label(self.metric), published, ours, seeds, gap, self.verdict]


@dataclasses.dataclass(frozen=True)
class Report:
    """What has been run under a folder, as text and as Markdown, and what is damaged there, which the text says too."""

    text: str
    markdown: str
    damaged: tuple[str, ...]


def report(results: str | os.PathLike = "results", experiments: Mapping[str, Card] | None = None) -> str:
    """Compares all runs under `results` with the published figures, and merges the shards of all sweeps there.

    Writes the table to `results/report.md` and returns it as plain text. `experiments` are those that the command line
    knows, unless others are given. Raises `ValueError` if nothing has been run.
    """
    return examine(results, experiments).text


def examine(results: str | os.PathLike = "results", experiments: Mapping[str, Card] | None = None) -> Report:
    """As `report`, with what is damaged: it is left out of the tables, and whoever relies on them has to know."""
    folder = Path(results)
    found = _find_runs(folder)
    rows = list(_compare(found.finished, experiments))
    sweeps = sorted({path.parent for pattern in ("", "*/", "*/*/") for path in folder.glob(f"{pattern}sweep.json")})
    if not (rows or found.unfinished or found.damaged or sweeps):
        raise InvalidInput(f"Nothing has been run under {folder}: there is no run and no sweep in it.")
    damaged, tables = list(found.damaged), []
    for path in sweeps:
        try:
            tables.append(f"Sweep {path}\n{merge(path).table()}")
        except CredaxError as error:
            tables.append(f"Sweep {path}\n{error}")
            damaged.append(str(error))
    notes = [f"Not finished: {run.directory}" for run in found.unfinished]
    notes += [f"Damaged: {reason}" for reason in found.damaged]
    cells = [row.cells() for row in rows]
    main = (markdown_table(HEADER, cells), plain_table(HEADER, cells)) if cells else ("", "")
    fenced = [f"```\n{table}\n```" for table in tables]
    markdown = "\n\n".join(filter(None, [main[0], *notes, *fenced]))
    try:
        write_bytes(folder / "report.md", markdown.encode() + b"\n")
    except FileFault as error:  # such as a folder of somebody else's results
        damaged.append(str(error))
        notes.append(f"report.md was not written: {error}")
    return Report("\n\n".join(filter(None, [main[1], "\n".join(notes), *tables])), markdown, tuple(damaged))


def compare_runs(folder: Path, experiments: Mapping[str, Card] | None = None) -> Iterator[Row]:
    """A `Row` for each published figure of each experiment and configuration that has a finished run in `folder`.

    Runs of one configuration are taken together: their seeds are pooled, and of a seed that was run twice the newer
    result counts.
    """
    return _compare(_find_runs(folder).finished, experiments)


class _Runs(NamedTuple):
    finished: list[Run]
    unfinished: list[Run]
    damaged: list[str]


def _find_runs(folder: Path) -> _Runs:
    found = _Runs([], [], [])
    for path in sorted(folder.glob("*/")):
        runs, damaged = look_through(path)
        found.damaged.extend(damaged)
        for run in runs:
            try:
                (found.unfinished if run.summary() is None else found.finished).append(run)
            except CredaxError as error:
                found.damaged.append(str(error))
    return found


def _compare(runs: list[Run], experiments: Mapping[str, Card] | None) -> Iterator[Row]:
    if experiments is None:
        from benchmarks.experiments import EXPERIMENTS as experiments  # late: they import this package
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        key = (run.record["experiment"], json.dumps(run.record["config"], sort_keys=True))
        groups.setdefault(key, []).append(run)
    for (name, _), runs in groups.items():
        yield from _rows(name, runs, experiments.get(name))


def judge(
    mean: float | None, std: float | None, n: int, failed: int, published: Published, share: float, metric: Metric
) -> str:
    """The verdict on our `mean` over `n` seeds.

    `open` where there is too little to judge by: fewer than `FEWEST_SEEDS` seeds, a failed seed (the mean is over the
    survivors only), or less than half of the published epochs (`share` is ours over theirs). Otherwise `better`, `same`
    or `worse`, or `differs` where `metric` is neither to be made large nor small: the same means closer than two
    standard errors of the difference, 2 sqrt(std^2 / n + std_published^2 / n_published), as far as the published spread
    and seeds are known.
    """
    if mean is None or n < FEWEST_SEEDS or failed or share < 0.5:
        return "open"
    variance = (std or 0.0) ** 2 / n
    if published.std is not None and published.seeds is not None:
        variance += published.std**2 / published.seeds
    gap = mean - published.mean
    if abs(gap) <= 2 * math.sqrt(variance):
        return "same"
    if metric.higher_is_better is None:
        return "differs"
    return "better" if (gap > 0) == metric.higher_is_better else "worse"


def _rows(name: str, runs: list[Run], experiment: Card | None) -> Iterator[Row]:
    config = runs[0].record["config"]
    default = {} if experiment is None else plain(experiment.config())
    settings = ", ".join(f"{key} = {value}" for key, value in config.items() if default.get(key) != value)
    published = {} if experiment is None else {figure.metric: figure for figure in experiment.published}
    values, failed = _pool(runs)
    declared = {
        metric: declaration(metrics_of(experiment), metric) or Metric(metric) for metric in {**values, **published}
    }
    for metric in published or [metric for metric in values if declared[metric].split == "test"] or values:
        ours = statistics(values.get(metric, {}))
        figure = published.get(metric)
        verdict = "-"
        if figure is not None:
            theirs = figure.epochs or default.get("epochs")
            share = config["epochs"] / theirs if theirs and "epochs" in config else 1.0
            verdict = judge(ours["mean"], ours["std"], ours["n"], len(failed), figure, share, declared[metric])
        yield Row(
            name, settings or "default", metric, ours["mean"], ours["std"], ours["n"], len(failed), figure, verdict
        )


def _pool(runs: list[Run]) -> tuple[dict[str, dict[int, float]], set[int]]:
    """The values of each metric by seed, and the seeds that failed; of a seed that was run twice, the newer result."""
    values: dict[str, dict[int, float]] = {}
    failed: set[int] = set()
    for run in runs:
        summary = run.summary() or {}
        seeds = set(run.record["seeds"])
        failed = (failed - seeds) | {item["seed"] for item in summary["failed"]}
        for by_seed in values.values():
            for seed in seeds:
                by_seed.pop(seed, None)
        for metric, entry in summary.items():
            if metric != "failed" and "values" in entry:
                values.setdefault(metric, {}).update({int(seed): value for seed, value in entry["values"].items()})
    return values, failed
