"""The command `sweep`."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks._sweep.axes import expand
from benchmarks._sweep.folder import default_folder, describe
from benchmarks._sweep.grid import Grid, check_seeds, parse_shard
from benchmarks._sweep.result import DEFAULT_METRIC
from benchmarks._sweep.runner import sweep
from benchmarks._sweep.target import configure, find_target
from benchmarks.compiled import kept_programs
from benchmarks.engines._options import Options
from benchmarks.errors import InvalidInput

Repeated = tyro.conf.UseAppendAction[list[str]]


def sweep_command(
    experiment: tyro.conf.Positional[str],
    /,
    over: Annotated[Repeated, tyro.conf.arg(metavar="FIELD=VALUES")],
    set: Annotated[Repeated, tyro.conf.arg(metavar="FIELD=VALUE")],
    seeds: int = 10,
    seed: int = 0,
    shard: str | None = None,
    results: Path | None = None,
    metric: str = DEFAULT_METRIC,
    chunk: int | None = None,
    compilation_cache: bool = True,
    where: Options = Options(),
) -> None:
    """Run an experiment at many settings, with several seeds each.

    Args:
        experiment: Name of an experiment, or my_file.py:function.
        over: What to vary, as start:stop:logN, start:stop:linN or a comma-separated list; repeat for more axes.
        set: What else to change in the configuration; repeat for more fields.
        seeds: Number of seeds per setting.
        seed: The first of them.
        shard: Which part to run, e.g. 3/16 for the third of sixteen.
        results: Folder of this sweep, where the same command goes on if it was interrupted; results/sweeps/NAME-HASH
            unless given.
        metric: What to rank the settings by; never a metric of the test set.
        chunk: How many members side by side on a device, at most; what is fastest, unless given.
        compilation_cache: Compiled programs are kept in ~/.cache/credax/compiled for a week, so that the next run
            compiles nothing, unless this is given.
        where: Engine, and what it needs.
    """
    target = find_target(experiment)
    config = configure(target, set)
    grid = Grid(expand(target.config, dict(axes_of(over, set))), check_seeds(seeds, seed))
    folder = results or default_folder(describe(target, config, grid))
    part = parse_shard(shard) if shard is not None else None
    rest = {"seeds": seeds, "seed": seed, "results": folder, "shard": part, "metric": metric, "chunk": chunk}
    with told_of_interrupts(), kept_programs(compilation_cache), where.open(folder) as engine:
        outcome = sweep(target, config, over=grid.axes, engine=engine, **rest)
    print(outcome.table())
    print(f"\nEverything is in {folder}")


@contextlib.contextmanager
def told_of_interrupts() -> Iterator[None]:
    """Ends the command at Ctrl-C, and says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        print("\nInterrupted; the same command goes on with what is left.", file=sys.stderr)
        sys.exit(130)


def axes_of(over: list[str], assignments: list[str]) -> list[tuple[str, str]]:
    """The axes as (field, values) texts; refuses a field that is given twice."""
    fixed = {assignment.partition("=")[0] for assignment in assignments}
    axes = []
    for axis in over:
        name, equals, text = axis.partition("=")
        if not equals:
            raise InvalidInput(f"--over {axis}: write field=values, as in learning_rate=1e-4:1e-2:log8.")
        if name in fixed | {other for other, _ in axes}:
            raise InvalidInput(f"--over {axis}: {name} is given more than once.")
        axes.append((name, text))
    return axes
