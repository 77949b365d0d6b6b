"""The command `search`."""

from pathlib import Path
from typing import Annotated

import tyro

from benchmarks._search.search import search
from benchmarks._sweep.cli import Repeated, axes_of, told_of_interrupts
from benchmarks._sweep.result import DEFAULT_METRIC
from benchmarks._sweep.target import configure, find_target
from benchmarks.compiled import kept_programs
from benchmarks.engines._options import Options


def search_command(
    experiment: tyro.conf.Positional[str],
    /,
    over: Annotated[Repeated, tyro.conf.arg(metavar="FIELD=RANGE")],
    set: Annotated[Repeated, tyro.conf.arg(metavar="FIELD=VALUE")],
    trials: int = 100,
    seeds: int = 3,
    seed: int = 0,
    metric: str = DEFAULT_METRIC,
    batch: int = 16,
    reduction: int = 3,
    results: Path | None = None,
    storage: str | None = None,
    chunk: int | None = None,
    compilation_cache: bool = True,
    where: Options = Options(),
) -> None:
    """Look for the best setting of an experiment.

    Args:
        experiment: Name of an experiment, or my_file.py:function.
        over: What to look through, as low:high:log, low:high:lin or a comma-separated list; repeat for more fields.
        set: What else to change in the configuration; repeat for more fields.
        trials: How many settings to try.
        seeds: Number of seeds per setting.
        seed: The first of them.
        metric: What to make large or small, as it is declared; never a metric of the test set.
        batch: How many settings are proposed and run together.
        reduction: Of the settings of a batch, one in so many goes on after each rung of epochs; 1 prunes none.
        results: Folder of this search, where the same command goes on if it was interrupted;
            results/searches/NAME-HASH unless given.
        storage: Where the study is kept, such as sqlite:///study.db; a journal in the folder unless given.
        chunk: How many members side by side on a device, at most; what is fastest, unless given.
        compilation_cache: Compiled programs are kept in ~/.cache/credax/compiled for a week, so that the next run
            compiles nothing, unless this is given.
        where: Engine, and what it needs.
    """
    target = find_target(experiment)
    config = configure(target, set)
    settings = {"trials": trials, "seeds": seeds, "seed": seed, "metric": metric, "batch": batch, "storage": storage}
    settings |= {"reduction": reduction, "results": results, "chunk": chunk}
    folder = results or Path("results/searches")
    with told_of_interrupts(), kept_programs(compilation_cache), where.open(folder) as engine:
        found = search(target, config, over=dict(axes_of(over, set)), engine=engine, **settings)
    print(found.table())
    print(f"\nEverything is in {found.folder}")
