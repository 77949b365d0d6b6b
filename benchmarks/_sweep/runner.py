"""`sweep`: plans the members, compiles once per group, runs chunk after chunk."""

import contextlib
import dataclasses
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from benchmarks._sweep.axes import Axis, expand, field_type
from benchmarks._sweep.folder import claim, describe
from benchmarks._sweep.grid import Grid, check_seeds, check_shard, group_by
from benchmarks._sweep.program import Program, assign, build, takes_traced, trace
from benchmarks._sweep.records import RAISED, Records
from benchmarks._sweep.result import DEFAULT_METRIC, SweepResult, check_metric, collect, show
from benchmarks._sweep.target import Target, as_target
from benchmarks.card import Card, check_counts, precision
from benchmarks.errors import InvalidInput, said, unlogged_callbacks
from benchmarks.metric import refuse_test_metric, to_rank_by


def sweep(
    experiment: Card | Target | Callable[..., Any],
    config: Any = None,
    *,
    over: Mapping[str, Axis],
    seeds: int = 10,
    seed: int = 0,
    results: str | Path | None = None,
    shard: tuple[int, int] | None = None,
    metric: str = DEFAULT_METRIC,
    chunk: int = 64,
    progress: bool = True,
) -> SweepResult:
    """Runs an experiment at every combination of the values in `over`, `seeds` times each.

    Float fields are traced and vmapped; int, str and bool fields, and floats that the experiment needs as Python
    numbers, cost one compilation per combination of values. A member that fails is listed in the result and disturbs
    no other.

    **Arguments:**

    - `experiment`: a `Card`, or a function `(config, key) -> (metrics, network, result)` whose first parameter
        is annotated with a frozen dataclass.
    - `config`: what is not swept; the configuration's defaults if None.
    - `over`: field name to `LogRange`, `LinearRange`, a sequence of values, or text such as "1e-4:1e-2:log8".
    - `seeds`, `seed`: each setting is run with the keys jax.random.key(seed), ..., jax.random.key(seed + seeds - 1).
    - `results`: a folder that keeps the finished chunks. The same sweep given again goes on where it stopped.
        Without it nothing is written.
    - `shard`: (3, 16) runs the third of sixteen independent parts; all may share the folder.
    - `metric`: what settings are ranked by; not a metric of the test set.
    - `chunk`: how many members run at once on each device, at most; fewer if memory requires.
    - `progress`: whether to show a progress bar.

    **Returns:** a `SweepResult` of all members that are known: those of this call and those in the folder.

    **Raises:** ValueError for an unknown field, an unsuitable axis or function, a folder that holds another sweep.
    If no member can be run at all, the experiment's own error.
    """
    target = experiment if isinstance(experiment, Target) else as_target(experiment)
    config = target.config() if config is None else config
    if not isinstance(config, target.config):
        raise InvalidInput(f"config: must be a {target.config.__name__}, got {config!r}.")
    if chunk < 1:
        raise InvalidInput(f"chunk: must be 1 or more, got {chunk}.")
    refuse_test_metric(target.metrics, metric)
    grid = Grid(expand(target.config, over), check_seeds(seeds, seed))
    part = check_shard(shard or (1, 1))
    folder = Path(results) if results is not None else None
    with precision(target.double):
        traced = _traced_axes(target, config, grid, metric)
        if folder is not None:
            claim(folder, describe(target, config, grid), metric)
        records = Records(grid.members, folder)
        _Run(target, config, grid, traced, records, part, chunk).run(progress)
    result = collect(grid, records, metric, target.metrics)
    if folder is not None and result.missing == 0:
        result.write(folder)
    return result


def _traced_axes(target: Target, config: Any, grid: Grid, metric: str) -> list[str]:
    """The axes that can be vmapped; refuses settings, functions and metrics that cannot work before anything is run."""
    function = target.function
    floats = [name for name in grid.axes if field_type(type(config), name) is float]
    _check_settings(target, config, grid, floats)
    base = dataclasses.replace(config, **grid.settings[0])
    try:
        metrics = trace(function, base, floats).metrics
    except TypeError:
        concrete = [name for name in floats if not takes_traced(function, base, name)]
        floats = [name for name in floats if name not in concrete]
        # A mistake of another kind is raised here.
        metrics = trace(function, base, floats).metrics
        warnings.warn(
            f"{', '.join(concrete)}: compiled once per value, since the experiment needs a Python number there "
            "(for a shape or an `if`, say).",
            stacklevel=3,
        )
    check_metric(metric, metrics)
    to_rank_by(target.metrics, metric)
    return floats


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


@dataclasses.dataclass(frozen=True)
class _Run:
    """The loop over the members of one part."""

    target: Target
    config: Any
    grid: Grid
    traced: list[str]
    records: Records
    shard: tuple[int, int]
    chunk: int

    def run(self, progress: bool) -> None:
        mine = self.grid.shard(self.shard)
        todo = self.records.pending(mine)
        static = [name for name in self.grid.axes if name not in self.traced]
        errors: list[Exception] = []
        with tqdm(total=len(mine), initial=len(mine) - len(todo), unit="member", disable=not progress) as bar:
            for values, members in group_by(self.grid, mine, static):
                bar.set_description(", ".join(f"{name} = {show(value)}" for name, value in values.items()))
                errors += self._run_group(members, bar)
        raised = [str(reason).startswith(RAISED) for reason in self.records.reasons[todo]]
        if errors and all(raised):
            raise errors[0]

    def _run_group(self, members: np.ndarray, bar: tqdm) -> list[Exception]:
        """Runs what is pending among members that share a program; the errors that it met."""
        pending = self.records.pending(members)
        if not len(pending):
            return []
        config = dataclasses.replace(self.config, **self.grid.settings[members[0] // len(self.grid.seeds)])
        try:
            one = trace(self.target.function, config, self.traced)
            program = build(one, self.traced, len(members), self.chunk)
        except Exception as error:  # whatever is wrong with this setting, the others can still be run
            self._fail(pending, error)
            bar.update(len(pending))
            return [error]
        errors = []
        # Chunks are cut from all members, not from the pending ones, so that a resumed sweep runs the same chunks.
        for start in range(0, len(members), program.size):
            block = np.intersect1d(members[start : start + program.size], pending)
            if len(block):
                bar.set_postfix_str(f"{len(block)} running")
                with _ticking(bar):
                    errors += self._run_chunk(program, block)
                bar.update(len(block))
        return errors

    def _run_chunk(self, program: Program, members: np.ndarray) -> list[Exception]:
        """Runs one chunk; if it raises, looks for the culprits by halves, so that the others are kept."""
        settings = self.grid.settings
        mine = [settings[m // len(self.grid.seeds)] for m in members]
        seeds = np.array([self.grid.seeds[m % len(self.grid.seeds)] for m in members], dtype=np.int32)
        values = {name: np.array([s[name] for s in mine], dtype=jnp.result_type(float)) for name in self.traced}
        try:
            with unlogged_callbacks():
                metrics, reasons = program(seeds, values)
        except RuntimeError as error:
            if len(members) == 1:
                self._fail(members, error)
                return [error]
            return [e for half in np.array_split(members, 2) for e in self._run_chunk(program, half)]
        self.records.add(members, metrics, reasons, self.shard)
        return []

    def _fail(self, members: np.ndarray, error: Exception) -> None:
        self.records.add(members, {}, [f"{RAISED}{type(error).__name__}: {said(error)}"] * len(members), self.shard)


@contextlib.contextmanager
def _ticking(bar: tqdm) -> Iterator[None]:
    """Lets the bar's clock go on while a chunk, which may take minutes, runs in one piece."""
    done = threading.Event()

    def tick():
        while not done.wait(1):
            bar.refresh()

    clock = threading.Thread(target=tick, daemon=True)
    clock.start()
    try:
        yield
    finally:
        done.set()
        clock.join()
