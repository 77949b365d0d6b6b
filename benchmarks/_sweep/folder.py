"""The folder of a sweep, and the plan that it belongs to."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from benchmarks._sweep.grid import Grid
from benchmarks._sweep.target import Target, source
from benchmarks.atomic import make_folder
from benchmarks.errors import InvalidInput
from benchmarks.metric import Metric
from benchmarks.run import environment, plain, read_json, write_json

_PLAN = "sweep.json"


def describe(target: Target, config: Any, grid: Grid) -> dict[str, Any]:
    """All that decides the numbers of a sweep, ready for JSON: what may not change while its folder fills.

    The size of the chunks, the shards and the devices are free to change; they move a result by rounding at most.
    """
    fixed = {
        field.name: getattr(config, field.name) for field in dataclasses.fields(config) if field.name not in grid.axes
    }
    function, here = target.function, environment()
    return {
        "experiment": target.name,
        "function": f"{function.__module__}.{getattr(function, '__qualname__', type(function).__name__)}",
        "source": hashlib.sha256(source(function).encode()).hexdigest(),
        "config": json.loads(json.dumps(plain(fixed), default=_name)),
        "axes": {
            # All values of an axis are of one type; JSON alone would not tell the number inf from a text.
            name: {"type": type(values[0]).__name__, "values": plain({name: values})[name]}
            for name, values in grid.axes.items()
        },
        "seeds": list(grid.seeds),
        "metrics": [dataclasses.asdict(metric) for metric in target.metrics],
        "versions": {name: version for name, version in here["versions"].items() if name != "python"},
        "x64": here["x64"],
    }


def claim(folder: Path, plan: dict[str, Any], metric: str) -> None:
    """Makes the folder of this plan, or finds it, and notes the metric that its settings are ranked by.

    Raises ValueError if it belongs to another plan.
    """
    path = folder / _PLAN
    if path.exists():
        before = read_plan(folder)
        changes = [
            f"  {key}: {_short(before.get(key))} -> {_short(plan[key])}" for key in plan if before.get(key) != plan[key]
        ]
        if changes:
            listed = "\n".join(changes)
            raise InvalidInput(
                f"{folder} holds another sweep; what has changed:\n{listed}\n"
                "Give another folder with --results, or delete this one to start afresh."
            )
        if before["metric"] == metric:
            return
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
    """results/sweeps/NAME-HASH: the same plan, given again, goes on where it stopped; another one does not collide."""
    name = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in plan["experiment"])
    digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:8]
    return Path("results") / "sweeps" / f"{name}-{digest}"


def _name(value: Any) -> str:
    """Text for what JSON does not know. The repr of a function is an address, which changes between runs."""
    return f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else repr(value)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:200] + " ..."
