"""Which axes of a sweep go through one program, and what is refused before anything is run."""

import dataclasses
import warnings
from typing import Any

import numpy as np

from benchmarks._member import assign
from benchmarks._sweep.axes import is_traced
from benchmarks._sweep.batch import member_of
from benchmarks._sweep.grid import Grid, group_by
from benchmarks._sweep.result import check_metric
from benchmarks._sweep.target import Target
from benchmarks.card import check_counts
from benchmarks.errors import InvalidInput
from benchmarks.metric import to_rank_by


def traced_axes(target: Target, config: Any, grid: Grid, metric: str) -> list[str]:
    """The axes that can be vmapped; refuses settings, functions and metrics that cannot work before anything is run."""
    names = [name for name in grid.axes if is_traced(type(config), name)]
    _check_settings(target, config, grid, names)
    metrics, concrete = _traced(target, config, grid, names)
    names = [name for name in names if name not in concrete]
    if concrete:
        warnings.warn(
            f"{', '.join(concrete)}: compiled once per value, since the experiment needs a Python number there "
            "(for a shape or an `if`, say).",
            stacklevel=3,
        )
    if not metrics:
        raise InvalidInput("Metrics must be a dictionary from name to scalar, with one at least to rank settings by.")
    check_metric(metric, metrics)
    to_rank_by(target.metrics, metric)
    columns = [*grid.axes, "seed", *metrics, "failure"]
    if repeated := next((name for name in columns if columns.count(name) > 1), None):
        raise InvalidInput(f"{repeated!r} would name two columns of the tables: rename the field, or the metric.")
    return names


def _traced(target: Target, config: Any, grid: Grid, names: list[str]) -> tuple[list[str], list[str]]:
    """The metrics, and which of the fields `names` the experiment needs as numbers, at the first setting that works."""
    errors: list[Exception] = []
    for _, members in group_by(grid, np.arange(grid.members), [name for name in grid.axes if name not in names]):
        base = dataclasses.replace(config, **grid.settings[members[0] // len(grid.seeds)])
        try:
            try:
                return member_of(target, base, names).metrics, []
            except TypeError:
                concrete = [name for name in names if not _takes_traced(target, base, name)]
                # A mistake of another kind is raised here.
                return member_of(target, base, [name for name in names if name not in concrete]).metrics, concrete
        except Exception as error:  # which is listed, if there are settings that work
            errors.append(error)
    raise errors[0]


def _takes_traced(target: Target, config: Any, name: str) -> bool:
    """Whether the experiment works with the field as a traced scalar, or needs a number (for a shape, say)."""
    try:
        member_of(target, config, [name])
    except TypeError:
        return False
    return True


def _check_settings(target: Target, config: Any, grid: Grid, floats: list[str]) -> None:
    for setting in grid.settings:
        try:
            complete = dataclasses.replace(config, **setting)
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"{type(config).__name__} refuses the setting {setting}: {error}") from error
        if target.counts:
            check_counts(complete)
        traced = {name: setting[name] for name in floats}
        start = dataclasses.replace(config, **setting | {name: grid.axes[name][0] for name in floats})
        if repr(assign(start, traced)) != repr(complete):
            raise InvalidInput(
                f"{type(config).__name__} computes some fields from others ({', '.join(floats)} are swept), which "
                "traced values pass by: make them properties, or compute them in the experiment's function."
            )
