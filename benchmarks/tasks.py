"""A batch of members as plain data, and the function that a worker runs it by.

Members are settings of one experiment, with a seed each, that share all that is static, and so one program.
"""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Task:
    """Members that are run together: plain data, which can be pickled and sent to any worker."""

    target: str
    """The experiment: `eventprop-yinyang`, or `my_file.py:experiment`."""
    config: dict[str, Any]
    """All settings, as `benchmarks.run.plain` writes them; those that are traced have their first value."""
    traced: dict[str, list[float]]
    """The values of the traced settings, one per member."""
    seeds: list[int]
    """The seed of every member."""
    epochs: tuple[int, int] | None = None
    """The epochs to run, the first and the one after the last; None for all of them, and the judgement in the end."""
    folder: str = ""
    """Where curves, checkpoints, outcome and networks go, which all workers share; "" keeps nothing."""
    width: int = 1
    """How many members a device runs side by side."""
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    """Versions of the libraries; a worker that has others refuses."""
    source: str | None = None
    """The text of the user's file, for workers that do not have it."""
    source_hash: str = ""
    """The SHA-256 of the source of the experiment."""

    def __len__(self) -> int:
        return len(self.seeds)

    def halves(self) -> list["Task"]:
        """Two tasks with half of the members each, in order; each has a folder of its own beside this one's."""
        middle = (len(self) + 1) // 2
        return [self._part(slice(0, middle), "a"), self._part(slice(middle, None), "b")]

    def _part(self, members: slice, name: str) -> "Task":
        traced = {field: values[members] for field, values in self.traced.items()}
        folder = f"{self.folder}{name}" if self.folder else ""
        return dataclasses.replace(self, traced=traced, seeds=self.seeds[members], folder=folder)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a task ended with, as plain data too."""

    metrics: dict[str, np.ndarray]
    """The metrics, each `[members]`; NaN where a member has none."""
    reasons: list[str]
    """Why a member failed; "" if it did not."""
    folder: str = ""
    """Where curves (`metrics.jsonl`) and networks (`networks.eqx`) are; "" where nothing is kept."""


def run(task: Task) -> Outcome:
    """Runs a task to its end; can be imported by a worker, and be given to any `concurrent.futures` executor.

    Raises what its program raises: halves of it may do better.
    """
    import jax.numpy as jnp

    from benchmarks._sweep.program import build, trace
    from benchmarks._sweep.target import find_target
    from benchmarks.card import precision

    target = find_target(task.target)
    config = target.config(**{name: _native(value) for name, value in task.config.items()})
    with precision(target.double):
        names = list(task.traced)
        program = build(trace(target.function, config, names), names, len(task), task.width)
        metrics, reasons = {}, []
        for start in range(0, len(task), program.size):
            part = slice(start, start + program.size)
            values = {name: np.array(task.traced[name][part], dtype=jnp.result_type(float)) for name in names}
            found, why = program(np.array(task.seeds[part], np.int32), values)
            reasons += why
            for name, column in found.items():
                metrics.setdefault(name, []).append(column.astype(float))
    return Outcome({name: np.concatenate(columns) for name, columns in metrics.items()}, reasons, task.folder)


def _native(value: Any) -> Any:
    """A setting as the configuration has it: JSON has lists for tuples, and texts for infinite numbers."""
    if isinstance(value, list):
        return tuple(map(_native, value))
    return float(value) if value in ("inf", "-inf") else value
