"""One batch of members in its folder: it goes on with what is there, and writes its outcome whole or not at all."""

import contextlib
import dataclasses
import functools
import io
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from benchmarks._loop import Store, go_on, interrupts, leave, run_epochs
from benchmarks._member import Member, assign
from benchmarks._programs import Batch, Programs
from benchmarks._sweep.target import Target, find_target, load_source, source_hash
from benchmarks.atomic import make_folder, write_bytes
from benchmarks.card import precision
from benchmarks.errors import CredaxError, FileFault, InvalidInput, said, unlogged_callbacks
from benchmarks.libraries import others
from benchmarks.results import reasons
from benchmarks.run import Run, plain, read_json, write_json
from benchmarks.serialise import load, save
from benchmarks.tasks import Outcome, Task

MEMBERS, OUTCOME, NETWORKS, STARTS = "members.json", "outcome.npz", "networks.eqx", "starts.jsonl"
RAISED = "Raised "
"""How the reason of a member begins that may do better next time: memory may have been short."""
TRIES = 2
"""How often a batch is started without getting anywhere before it is halved, or its only member given up."""
_KEPT = 2
"""The static configurations whose programs are kept."""
_members: dict[Any, tuple[Member, dict[int, Programs]]] = {}


def find(task: Task) -> Target:
    """The experiment of a task; raises `ValueError` if this worker is none for it."""
    if other := others(task.versions):
        raise InvalidInput(f"This worker has {other}: install the same versions everywhere.")
    return _found(task.target, task.source, task.source_hash)


@functools.lru_cache(maxsize=4)
def _found(text: str, source: str | None, digest: str) -> Target:
    """The experiment, of this source, of a task; from its text where this worker has none such."""
    path, _, name = text.rpartition(":")
    if source is None:
        target = find_target(text)
        if digest and source_hash(target) != digest:
            raise InvalidInput(f"This worker has another source of {text}: install the same version everywhere.")
        return target
    with contextlib.suppress(Exception):  # whatever this worker has by that name, if anything
        target = find_target(text)
        if source_hash(target) == digest:
            return target
    return load_source(source, path, name)


def configured(target: Target, base: Any, config: dict[str, Any]) -> Any:
    """The configuration of a task: `base`, or else the defaults, with the values that differ."""
    if base is None:
        base = target.defaults(config)
    usual = as_json(base)
    changed = {name: target.native(name, value) for name, value in config.items() if usual.get(name) != value}
    return dataclasses.replace(base, **changed)


def as_json(config: Any) -> dict[str, Any]:
    """A configuration as plain values; what JSON does not know goes by its name."""
    return json.loads(json.dumps(plain(config), default=_name))


def _name(value: Any) -> str:
    """Text for what JSON does not know. The repr of a function is an address, which changes between runs."""
    return f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else repr(value)


def member_of(target: Target, config: Any, traced: list[str]) -> Member:
    """The functions of a member, traced; kept until others are asked for."""
    key = target, json.dumps(as_json(assign(config, dict.fromkeys(traced, 0)))), tuple(traced), jnp.result_type(float)
    if key not in _members:
        while len(_members) >= _KEPT:
            del _members[next(iter(_members))]
        dtypes = {name: jnp.result_type(target.kind(name)) for name in traced}
        _members[key] = Member(lambda values: target.at(assign(config, values)), dtypes, np.dtype(np.int32)), {}
    return _members[key][0]


def programs_of(member: Member, width: int) -> Programs:
    """The programs of members, `width` side by side; kept as long as the member is."""
    kept = next((programs for known, programs in _members.values() if known is member), {})
    if width not in kept:
        kept[width] = Programs(member, width)
    return kept[width]


def forget() -> None:
    """Lets go of all programs, and of the data that they hold."""
    _members.clear()


def owner(task: Task) -> dict[str, str]:
    """Whose checkpoints those of a batch are."""
    return {"members": " ".join(task.addresses()), "width": str(task.width)}


def batch_of(task: Task, programs: Programs) -> Batch:
    """The members of a task."""
    values = {name: np.array([*map(float, task.traced[name])], dtype) for name, dtype in programs.member.traced.items()}
    return Batch(programs, values, np.array(task.seeds, np.int32))


def run_batch(
    task: Task,
    target: Target,
    base: Any = None,
    watch: Callable[[int, dict[str, np.ndarray]], None] | None = None,
    errors: list[Exception] | None = None,
) -> Outcome:
    """`benchmarks._sweep.work.run` with the experiment at hand; `errors` are told what became reasons."""
    folder = Path(task.folder) if task.folder else None
    if folder is not None:
        if not folder.parent.is_dir():
            raise InvalidInput(f"This worker does not see {folder.parent}: all machines must share --results.")
        write_members(task)
        if (folder / OUTCOME).exists():
            return read_outcome(folder, len(task))
    with precision(target.double), unlogged_callbacks():
        try:
            config = configured(target, base, task.config)
            programs = programs_of(member_of(target, config, list(task.traced)), task.width)
            programs.compile()
        except Exception as error:  # whatever is wrong with this setting, others can still be run
            return _failed(task, error, errors)
        try:
            return _run(task, programs, watch or (lambda epochs, metrics: None))
        except CredaxError:
            raise
        except RuntimeError as error:
            if len(task) > 1:
                raise
            return _failed(task, error, errors)


def _failed(task: Task, error: Exception, errors: list[Exception] | None) -> Outcome:
    if errors is not None:
        errors.append(error)
    outcome = Outcome({}, [f"{RAISED}{type(error).__name__}: {said(error)}"] * len(task), task.folder)
    if task.folder:
        write_outcome(outcome)
    return outcome


def _run(task: Task, programs: Programs, watch: Callable[[int, dict[str, np.ndarray]], None]) -> Outcome:
    run = Run(Path(task.folder), {"seeds": task.seeds}, MEMBERS) if task.folder else None
    batch = batch_of(task, programs)
    every = task.checkpoint_every if run is None or not starts(run.directory) else 0.0  # it may be ended again
    total = programs.member.epochs
    stop = total if task.epochs is None else min(task.epochs[1], total)
    with contextlib.closing(Store(run, owner(task), every)) as store, interrupts(enabled=run is not None) as asked:
        current, rows = go_on(store, batch, demanded=False)
        if run is not None:
            _note_start(run.directory, len(rows))
        started = time.perf_counter()
        try:
            current = run_epochs(batch, current, rows, store, asked, stop=stop, last=stop < total, watch=watch)
            if stop < total:
                metrics = {name: np.asarray(values, float)[: len(task)] for name, values in batch.last(current).items()}
                seconds = time.perf_counter() - started
                return Outcome(metrics, _unsound(metrics, len(task)), task.folder, seconds)
            metrics, network, result, _ = jax.block_until_ready(batch.finish(current))
        except (KeyboardInterrupt, SystemExit):
            if run is not None:
                (run.directory / STARTS).unlink(missing_ok=True)  # it was asked to end
            raise
        seconds = time.perf_counter() - started
        metrics = {name: values.astype(float) for name, values in metrics.items()}  # holds every metric's value
        outcome = Outcome(metrics, reasons(result, metrics), task.folder, seconds)
        if run is not None:
            _save_networks(run.directory, network)
            write_outcome(outcome)
    if run is not None:
        shutil.rmtree(run.directory / "checkpoints", ignore_errors=True)
    if asked:
        leave(asked)
    return outcome


def _unsound(metrics: dict[str, np.ndarray], members: int) -> list[str]:
    names = [[name for name, values in metrics.items() if not np.isfinite(values[i])] for i in range(members)]
    return [f"Not finite: {', '.join(bad)}." if bad else "" for bad in names]


def _save_networks(folder: Path, network: PyTree) -> None:
    try:
        save(folder / NETWORKS, network, {})
    except InvalidInput as error:  # a function may call anything its network
        (folder / NETWORKS).with_suffix(".txt").write_text(f"{error}\n")


def read_networks(task: Task, target: Target) -> PyTree:
    """The networks that a finished batch has left, with a leading axis of members on every array."""
    folder = Path(task.folder)
    if not (folder / NETWORKS).exists():
        note = (folder / NETWORKS).with_suffix(".txt")
        raise InvalidInput(f"{folder} has no networks: {note.read_text() if note.exists() else 'they are gone'}")

    with precision(target.double):
        member = member_of(target, configured(target, None, task.config), list(task.traced))

        def make() -> PyTree:
            zeros = jax.tree.map(lambda x: jnp.zeros((len(task), *x.shape), x.dtype), member.finish.shape[1])
            return eqx.combine(zeros, member.finish.rest[1])

        return load(folder / NETWORKS, make)


def write_members(task: Task) -> None:
    """Notes what a batch is, before it starts; what is there already is left as it is."""
    path = Path(task.folder) / MEMBERS
    if not path.exists():
        make_folder(path.parent)
        content = dataclasses.asdict(task)
        write_json(path, {name: value for name, value in content.items() if name not in ("folder", "source")})


def read_task(folder: Path) -> Task:
    """The task of a batch; raises `ValueError` if its members.json is damaged."""
    path = folder / MEMBERS
    content = read_json(path, str(path))
    try:
        shard, epochs = tuple(content.pop("shard")), content.pop("epochs")
        task = Task(folder=str(folder), shard=shard, epochs=epochs and tuple(epochs), **content)
        if any(len(values) != len(task) for values in task.traced.values()):
            raise ValueError("its lists are not of one length")
        number, parts = task.shard
        if not 1 <= number <= parts:
            raise ValueError(f"there is no part {number}/{parts}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(f"{path} is damaged ({error}): delete its folder, and its members are run again.") from error
    return task


def write_outcome(outcome: Outcome) -> None:
    """Writes what a batch ended with, in double precision, which NumPy writes without pickling."""
    arrays: dict[str, Any] = {f"metrics/{name}": values for name, values in outcome.metrics.items()}
    content = io.BytesIO()
    np.savez(content, **arrays, reasons=np.array(outcome.reasons), seconds=np.array(outcome.seconds))
    write_bytes(Path(outcome.folder) / OUTCOME, content.getvalue())


def read_outcome(folder: Path, members: int) -> Outcome:
    """What a batch ended with; raises `ValueError` if its file is damaged."""
    path = folder / OUTCOME
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileFault(error.errno, f"The outcome cannot be read ({error.strerror})", str(path)) from error
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        metrics = {name.removeprefix("metrics/"): values for name, values in arrays.items() if "/" in name}
        outcome = Outcome(metrics, arrays["reasons"].tolist(), str(folder), float(arrays["seconds"]))
        if any(len(values) != members for values in (outcome.reasons, *metrics.values())):
            raise ValueError(f"it is not about {members} members")
    except Exception as error:  # whatever NumPy raises for what is no archive, is cut short, or lacks a part
        raise InvalidInput(f"{path} is damaged ({error}): delete it, and its members are run again.") from error
    return outcome


def starts(folder: Path) -> int:
    """How often a batch was started from where it is now, without getting on and without being asked to end."""
    try:
        lines = (folder / STARTS).read_text().split()
    except OSError:
        return 0
    return lines.count(str(_saved(folder)))


def reached(task: Task) -> int:
    """The epochs of a batch that it need not run again."""
    return _saved(Path(task.folder)) if task.folder else 0


def _saved(folder: Path) -> int:
    return max((int(path.name) for path in (folder / "checkpoints").glob("*") if path.name.isdigit()), default=0)


def _note_start(folder: Path, epochs: int) -> None:
    with open(folder / STARTS, "a") as stream:
        stream.write(f"{epochs}\n")
