"""The folder of a sweep, and the plan that it belongs to."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._sweep.batch import as_json
from benchmarks._sweep.grid import Grid
from benchmarks._sweep.target import Target, source, source_hash
from benchmarks.atomic import make_folder
from benchmarks.errors import InvalidInput
from benchmarks.libraries import versions
from benchmarks.metric import Metric
from benchmarks.run import environment, folder_name, plain, read_json, write_json
from benchmarks.tasks import Task, member_address

_IDENTITY = ("experiment", "function", "source", "versions", "x64")
"""What may not change while a folder fills."""
_PLAN = "sweep.json"


def describe(target: Target, config: Any, grid: Grid) -> dict[str, Any]:
    """A plan, ready for JSON: what is run, and with which settings and seeds."""
    fixed = {name: value for name, value in as_json(config).items() if name not in grid.axes}
    function = target.function
    return {
        "experiment": target.name,
        "function": f"{function.__module__}.{getattr(function, '__qualname__', type(function).__name__)}",
        "source": source_hash(target),
        "versions": versions(),
        "x64": environment()["x64"],
        "target": target.text,
        "config": fixed,
        "axes": {
            # All values of an axis are of one type; JSON alone would not tell the number inf from a text.
            name: {"type": type(values[0]).__name__, "values": plain({name: values})[name]}
            for name, values in grid.axes.items()
        },
        "seeds": list(grid.seeds),
        "metrics": [dataclasses.asdict(metric) for metric in target.metrics],
    }


def addresses(plan: dict[str, Any], grid: Grid) -> list[str]:
    """The names of the members of a plan, in the order of the grid."""
    config = plan.get("config", {})
    name, source = Path(plan.get("target", "")).name, plan.get("source", "")
    return [
        member_address(name, source, config | plain(setting), seed) for setting in grid.settings for seed in grid.seeds
    ]


def task_of(
    plan: dict[str, Any],
    target: Target,
    traced: list[str],
    settings: Sequence[dict[str, Any]],
    seeds: Sequence[int],
    *,
    shipped: bool,
    **options: Any,
) -> Task:
    """Members of a plan, a setting and a seed each, that share what is not traced, as one task.

    shipped: whether the user's file goes with it, for workers that lack it. options: further fields of the task.
    """
    values = [plain(setting) for setting in settings]
    complete = plan["config"] | values[0]
    return Task(
        target=target.text,
        config={name: value for name, value in complete.items() if name not in traced},
        traced={name: [each[name] for each in values] for name in traced},
        seeds=list(seeds),
        versions=plan["versions"],
        source=source(target.function) if shipped and ":" in target.text else None,
        source_hash=plan["source"],
        **options,
    )


def claim(folder: Path, plan: dict[str, Any], metric: str) -> None:
    """Makes the folder of this plan, or finds it, and notes the plan and the metric that its settings are ranked by.

    Other settings and seeds extend what is there. Raises ValueError if it belongs to another function, or to other
    versions of the function, of the libraries or of the precision, whose numbers would be mixed up.
    """
    path = folder / _PLAN
    before = read_plan(folder) if path.exists() else plan
    changes = [
        f"  {key}: {_short(before.get(key))} -> {_short(plan[key])}"
        for key in _IDENTITY
        if before.get(key) != plan[key]
    ]
    if changes:
        listed = "\n".join(changes)
        raise InvalidInput(
            f"{folder} holds another sweep; what has changed:\n{listed}\n"
            "Give another folder with --results, or delete this one to start afresh."
        )
    if before != plan | {"metric": metric}:
        make_folder(folder)
        write_json(path, plan | {"metric": metric})


def read_plan(folder: Path) -> dict[str, Any]:
    """The plan of the sweep in a folder; raises ValueError if there is none."""
    path = folder / _PLAN
    if not path.is_file():
        raise InvalidInput(f"{folder} holds no sweep: there is no {_PLAN} in it.")
    plan = read_json(path, str(path))
    if not isinstance(plan.get("metric"), str):
        raise InvalidInput(f"{path} is damaged: it names no metric.")
    read_grid(plan, path)
    return plan


def read_grid(plan: dict[str, Any], path: Path | None = None) -> Grid:
    """The members of a plan; raises ValueError, with the file's `path`, if it does not list them."""
    kinds = {kind.__name__: kind for kind in (bool, int, float, str)}
    try:
        axes = {name: tuple(map(kinds[axis["type"]], axis["values"])) for name, axis in plan["axes"].items()}
        return Grid(axes, tuple(map(int, plan["seeds"])))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(f"{path or 'The plan'} is damaged: {type(error).__name__}: {error}.") from error


def read_metrics(plan: dict[str, Any]) -> tuple[Metric, ...]:
    """What the experiment of a plan declares of its metrics."""
    try:
        return tuple(Metric(**metric) for metric in plan.get("metrics", ()))
    except TypeError as error:
        raise InvalidInput(f"The plan is damaged: its metrics are {plan['metrics']!r} ({error}).") from error


def default_folder(plan: dict[str, Any]) -> Path:
    """results/sweeps/NAME-HASH: the same plan goes on there, also with other values or seeds, and no other."""
    same = {key: plan[key] for key in (*_IDENTITY, "config")} | {"axes": sorted(plan["axes"])}
    digest = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()[:8]
    return Path("results") / "sweeps" / f"{folder_name(plan['experiment'])}-{digest}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:200] + " ..."
