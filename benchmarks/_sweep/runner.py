"""`sweep`: plans the members, cuts them into batches, runs one after another."""

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from benchmarks._fit import headline
from benchmarks._loop import EVERY
from benchmarks._sweep.axes import Axis, expand
from benchmarks._sweep.batch import RAISED, forget, reached, run_batch, write_members, write_outcome
from benchmarks._sweep.folder import addresses, claim, describe, task_of
from benchmarks._sweep.grid import Grid, check_seeds, check_shard, group_by
from benchmarks._sweep.records import Records
from benchmarks._sweep.result import DEFAULT_METRIC, SweepResult, collect, show
from benchmarks._sweep.target import Target, as_target, refuse_scripts
from benchmarks._sweep.tracing import traced_axes
from benchmarks._sweep.width import measured
from benchmarks._sweep.work import measure, run
from benchmarks._width import LARGEST, SHARE
from benchmarks.card import Card, precision
from benchmarks.drive import Failure, Submits, drive
from benchmarks.engines import Local
from benchmarks.errors import InvalidInput, count
from benchmarks.metric import refuse_test_metric
from benchmarks.tasks import Outcome, Task

BATCH_S = 2.0
"""Seconds that a batch should take, per epoch or in one piece, where that is known: what a kill may cost."""


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
    chunk: int | None = None,
    progress: bool = True,
    checkpoint_every: float = EVERY,
    engine: Submits | None = None,
) -> SweepResult:
    """Runs an experiment at every combination of the values in `over`, `seeds` times each.

    Float fields, and whole numbers that are `traced`, are arguments of the compiled program; int, str and bool fields,
    and floats that the experiment needs as Python numbers, cost one compilation per combination of values. A member
    that fails is listed in the result and disturbs no other.

    **Arguments:**

    - `experiment`: a `Card`; a function `(config, key) -> (metrics, network, result)`; or a function `config ->
        Training`, or a class that is one: what these take first is annotated with a frozen dataclass.
    - `config`: what is not swept; the configuration's defaults if None.
    - `over`: field name to `LogRange`, `LinearRange`, a sequence of values, or text such as "1e-4:1e-2:log8".
    - `seeds`, `seed`: each setting is run with the keys jax.random.key(seed), ..., jax.random.key(seed + seeds - 1).
    - `results`: a folder that keeps curves, checkpoints, outcomes and networks. The same sweep given again goes on
        where it stopped, and one with other values, seeds or epochs finds what is there. Without it nothing is written.
    - `shard`: (3, 16) runs the third of sixteen independent parts; all may share the folder.
    - `metric`: what settings are ranked by; not a metric of the test set.
    - `chunk`: how many members run side by side on each device, at most; fewer if memory requires. None finds what is
        fastest, by timing 1, 8 and as many as fit where that pays.
    - `progress`: whether to show a progress bar.
    - `checkpoint_every`: seconds between the checkpoints of a training.
    - `engine`: where the batches are run: one of `benchmarks.engines`, or an executor of `concurrent.futures`; in this
        process, one after another, if None. Its workers must see the folder `results`. Outcomes are the same to the
        last bit on the same kind of processor.

    **Returns:** a `SweepResult` of all members that are known: those of this call and those in the folder.

    **Raises:** ValueError for an unknown field, an unsuitable axis or function, a folder that holds another sweep.
    If no member can be run at all, the experiment's own error. With `results`, Ctrl-C and SIGTERM wait for the epoch,
    and for a checkpoint.
    """
    refuse_scripts()
    target = as_target(experiment)
    config = target.config() if config is None else config
    if not isinstance(config, target.config):
        raise InvalidInput(f"config: must be a {target.config.__name__}, got {config!r}.")
    chunk = None if chunk is None else count("chunk", chunk)
    refuse_test_metric(target.metrics, metric)
    grid = Grid(expand(target.config, over), check_seeds(seeds, seed))
    part = check_shard(shard or (1, 1))
    folder = Path(results).absolute() if results is not None else None
    if engine is not None and not target.text:
        raise InvalidInput(f"{target.name}: workers find what stands at the top of a file, and nothing in a notebook.")
    try:
        with precision(target.double):
            traced = traced_axes(target, config, grid, metric)
            plan = describe(target, config, grid)
        if folder is not None:
            claim(folder, plan, metric)
        records = Records(addresses(plan, grid), folder)
        _Run(target, config, plan, grid, traced, records, part, chunk, checkpoint_every, engine).run(progress)
    finally:
        forget()
    result = collect(grid, records, metric, target.metrics)
    if folder is not None and result.missing:  # other parts may have finished meanwhile
        result = collect(grid, Records(records.addresses, folder), metric, target.metrics)
    if folder is not None and result.missing == 0:
        result.write(folder)
    return result


@dataclasses.dataclass(frozen=True)
class _Run:
    """The members of one part, as tasks, and what became of them."""

    target: Target
    config: Any
    plan: dict[str, Any]
    grid: Grid
    traced: list[str]
    records: Records
    shard: tuple[int, int]
    chunk: int | None
    checkpoint_every: float
    engine: Submits | None
    errors: list[Exception] = dataclasses.field(default_factory=list)
    bar: tqdm = dataclasses.field(default_factory=lambda: tqdm(disable=True))

    def run(self, progress: bool) -> None:
        mine = self.grid.shard(self.shard)
        todo = self.records.pending(mine)
        bar = tqdm(total=len(mine), initial=len(mine) - len(todo), unit="member", disable=not progress)
        with bar, _ticking(bar):
            one = dataclasses.replace(self, bar=bar)
            one._run_all(one._tasks(todo))
        known = [reason for reason in self.records.reasons if reason is not None]
        if self.errors and all(reason.startswith(RAISED) for reason in known):
            raise self.errors[0]

    @property
    def _workers(self) -> int:
        """How many tasks run at once, about."""
        return max(getattr(self.engine, "in_flight", 2) // 2, 1)

    def _run_all(self, tasks: Iterable[Task], tell: Callable[[Task, Outcome], None] = lambda task, outcome: None):
        """Runs tasks, and tells what each of them, or each of its halves if it raised, ended with."""

        def done(task: Task, outcome: Outcome | Failure) -> None:
            if isinstance(outcome, Failure):
                outcome = self._failed(task, outcome)
            self.bar.update(len(self.records.take(task, outcome)))
            tell(task, outcome)

        if self.engine is None:
            drive(Local(), self._run, tasks, done)
        else:
            drive(self.engine, run, tasks, done, reached)

    def _failed(self, task: Task, failure: Failure) -> Outcome:
        """The outcome of a member that an engine could not run to its end."""
        if failure.raised:
            reason = f"{RAISED}{failure.reason}"
            self.errors.append(RuntimeError(failure.reason))
        else:
            reason = f"{failure.reason} Delete {task.folder} to have it run again." if task.folder else failure.reason
        outcome = Outcome({}, [reason], task.folder)
        if task.folder:
            write_members(task)
            write_outcome(outcome)
        return outcome

    def _seconds(self, task: Task) -> float:
        """Runs a task, and returns the seconds per member; infinitely many if it had to be halved."""
        took: list[float] = []
        self._run_all([task], lambda part, outcome: took.append(outcome.seconds / len(part)))
        return took[0] if len(took) == 1 else np.inf

    def _run(self, task: Task) -> Outcome:
        def watch(epochs: int, metrics: dict[str, np.ndarray]) -> None:
            self.bar.set_postfix_str(f"{len(task)} running, epoch {epochs}, {headline(metrics)}", refresh=False)

        self.bar.set_description(
            ", ".join(f"{name} = {show(task.config[name])}" for name in self.grid.axes if name in task.config)
        )
        self.bar.set_postfix_str(f"{len(task)} running")
        return run_batch(task, self.target, self.config, watch, self.errors)

    def _tasks(self, todo: np.ndarray) -> Iterator[Task]:
        """What is left to do, batch by batch: first what has begun."""
        self.records.reopen(todo)
        begun = self.records.go_on(todo)
        for task in begun:
            todo = np.setdiff1d(todo, self.records.positions(task))
        yield from begun
        static = [name for name in self.grid.axes if name not in self.traced]
        for _, members in group_by(self.grid, self.grid.shard(self.shard), static):
            pending = np.intersect1d(members, self.records.pending(todo))
            if len(pending):
                yield from self._group(self._task(pending, len(members)))

    def _task(self, members: np.ndarray, of: int) -> Task:
        """All of these members, which are left of as many that share what is static, as one task."""
        count = len(self.grid.seeds)
        return task_of(
            self.plan,
            self.target,
            self.traced,
            [self.grid.settings[m // count] for m in members],
            [self.grid.seeds[m % count] for m in members],
            shipped=self.engine is not None,
            width=self.chunk or min(LARGEST, -(-of // self._workers)),
            members=of,
            checkpoint_every=self.checkpoint_every,
            chosen=self.chunk is not None,
            shard=self.shard,
        )

    def _group(self, group: Task) -> Iterator[Task]:
        """The batches of a group, laid out before the first of them runs."""
        noted = self.records.width(group.config) if self.chunk is None else None
        group, seconds = (dataclasses.replace(group, width=noted), 0.0) if noted else self._measured(group)
        size = group.width * jax.local_device_count()
        if seconds:
            most = min(LARGEST, -(-len(group) // self._workers))  # no worker shall wait for another one
            size *= int(np.clip(BATCH_S / (seconds * size), 1, max(most // size, 1)))
        group = dataclasses.replace(group, chosen=True)
        yield from self.records.lay_out([group.part(slice(i, i + size)) for i in range(0, len(group), size)])

    def _measured(self, group: Task) -> tuple[Task, float]:
        """What is left of a group, with its width, and the seconds per member; 0 if they are unknown."""
        try:
            width, seconds, compile_s = self._measure(group)
        except Exception:  # that of its batches, when they are run, becomes the reason that is listed
            return dataclasses.replace(group, width=min(group.width, len(group))), 0.0
        group = dataclasses.replace(group, width=width)
        return (group, seconds) if seconds or self.chunk is not None else self._one_piece(group, compile_s)

    def _measure(self, group: Task) -> tuple[int, float, float]:
        """`measure` where the batches will be run."""
        if self.engine is None:
            return measured(group, self.target, self.config)
        found: list[Any] = []
        drive(self.engine, measure, [group], lambda task, outcome: found.append(outcome))
        return next((outcome for outcome in found if not isinstance(outcome, Failure)), (1, 0.0, 0.0))

    def _one_piece(self, group: Task, compile_s: float) -> tuple[Task, float]:
        """Runs the first members of a group in one piece at several widths, as long as another one may pay."""
        spent: dict[int, float] = {}
        for width in (group.width, 8, 1, LARGEST):
            if not len(group) or np.inf in spent.values():
                break
            if spent and (width in spent or compile_s > SHARE * min(spent.values()) * len(group)):
                continue
            if width == LARGEST:
                width = self._measure(dataclasses.replace(group, width=width, chosen=True))[0]
            size = width * jax.local_device_count()
            if size <= len(group) or not spent:
                (first,) = self.records.lay_out([dataclasses.replace(group, width=width).part(slice(0, size))])
                group = group.part(slice(size, None))
                spent[width] = self._seconds(first)
        best = min(spent, key=spent.__getitem__)
        return dataclasses.replace(group, width=best), 0.0 if np.isinf(spent[best]) else spent[best]


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
