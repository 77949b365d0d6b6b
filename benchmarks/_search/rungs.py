"""Rungs of successive halving: how many epochs, and members that go on in another batch."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from benchmarks._loop import Rows, Store, go_on
from benchmarks._programs import Batch, Programs
from benchmarks._sweep.batch import MEMBERS, batch_of, configured, member_of, owner, programs_of
from benchmarks._sweep.target import Target
from benchmarks.card import precision
from benchmarks.run import Run
from benchmarks.tasks import Task


def stops(epochs: int, trials: int, reduction: int) -> list[int]:
    """After how many epochs trials are compared, the last time at the end.

    epochs / reduction^k, rounded up, for k = s, ..., 0, where s = floor(log(trials) / log(reduction)), so that one of
    the trials is left at the end, and at least one epoch is run.
    """
    count = math.floor(math.log(max(trials, 1), reduction) + 1e-9) if reduction > 1 else 0
    return sorted({math.ceil(epochs / reduction**k) for k in range(count + 1)} if epochs else {0})


def gather(parts: Sequence[Task], whole: Task, target: Target, base: Any, epochs: int) -> None:
    """Writes a checkpoint of `whole` after so many epochs, with the members of it that batches `parts` have run so far.

    What these keep of members besides is of no use any more: their checkpoints are deleted by `forget`.
    """
    with precision(target.double):
        programs = programs_of(
            member_of(target, configured(target, base, whole.config), list(whole.traced)), whole.width
        )
        found: dict[str, tuple[Any, list[dict[str, Any]]]] = {}
        for task in parts:
            arrays, rows = _members(task, programs)
            for position, address in enumerate(task.addresses()):
                mine = [_row(row, position) for row in rows]
                found[address] = jax.tree.map(lambda x, i=position: x[i], arrays), mine
        members = [found[address] for address in whole.addresses()]
        run = Run(Path(whole.folder), {"seeds": whole.seeds}, MEMBERS)
        store = Store(run, owner(whole), 0.0)
        try:
            store.append([_join([mine[n] for _, mine in members]) for n in range(epochs)])
            store.save(epochs, _current(batch_of(whole, programs), [arrays for arrays, _ in members]), at_once=True)
        finally:
            store.close()


def forget(task: Task) -> None:
    """Deletes the checkpoints of a batch whose members go on elsewhere, or nowhere."""
    shutil.rmtree(Path(task.folder) / "checkpoints", ignore_errors=True)


def _members(task: Task, programs: Programs) -> tuple[Any, Rows]:
    """The arrays of all members of a batch, [n, ...], and the metrics of its epochs."""
    store = Store(Run(Path(task.folder), {"seeds": task.seeds}, MEMBERS), owner(task), 0.0)
    try:
        current, rows = go_on(store, batch_of(task, programs), demanded=True)
    finally:
        store.close()
    slices = [eqx.filter(one, eqx.is_array) for one in current]
    return jax.tree.map(lambda *x: jnp.concatenate(x)[: len(task)], *slices), rows


def _current(batch: Batch, members: list[Any]) -> list[Any]:
    """Members as a batch has them: in slices, the last one padded with its last member."""
    size, start = batch.programs.size, batch.start()
    padded = members + [members[-1]] * (len(start) * size - len(members))
    return [
        eqx.combine(jax.tree.map(lambda *x: jnp.stack(x), *padded[k * size : (k + 1) * size]), one)
        for k, one in enumerate(start)
    ]


def _row(row: dict[str, Any], position: int) -> dict[str, Any]:
    return {name: value[position] if isinstance(value, list) else value for name, value in row.items()}


def _join(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A line of metrics.jsonl of members from those of each."""
    whole = ("epoch", "epoch_s")
    return {name: value if name in whole else [row[name] for row in rows] for name, value in rows[0].items()}
