"""How many members are best run side by side: measured, where that pays."""

import time
from collections.abc import Callable

import jax

from benchmarks._memory import memory_budget, widest
from benchmarks._programs import Batch, Programs

FIRST, LARGEST = 64, 1024
"""The width that is tried first, and the largest, at most."""
SHARE = 0.05
"""Of the work that is left: what trying another width may cost."""


def fitting(programs: Callable[[int], Programs], members: int, limit: int) -> Programs:
    """The programs of so many members, as wide as `limit` and the memory allow."""
    devices = jax.local_devices()
    return widest(programs, -(-members // len(devices)), limit, memory_budget(devices))


def fastest(
    programs: Callable[[int], Programs], members: int, limit: int, begin: Callable[[Programs], Batch]
) -> tuple[Programs, float]:
    """The fastest programs of `members` of a training, no wider than `limit`, and the seconds per member and epoch.

    What fits into memory is tried first, up to `FIRST`. An epoch of one member, of 8 and of as many as fit is timed
    too, if that costs less than `SHARE` of the work. `begin` makes a batch of the first members.
    """
    first = fitting(programs, members, min(limit, FIRST))
    first.compile()
    started = time.perf_counter()
    best, least = first, _per_member(begin(first))
    trial = (time.perf_counter() - started) / first.size
    work = least * first.member.epochs * members
    for width in (8, 1, LARGEST):
        if first.compile_s + trial * min(width, members) > SHARE * work:
            continue
        other = fitting(programs, members, min(width, limit))
        if other.width not in (first.width, best.width):
            other.compile()
            seconds = _per_member(begin(other))
            if seconds < least:
                best, least = other, seconds
    return best, least


def _per_member(batch: Batch) -> float:
    """Seconds that an epoch takes per member; a short one is repeated, so that the first call is not all."""
    current, spent = batch.start(), []
    while sum(spent) < 0.1 and len(spent) < 5:
        started = time.perf_counter()
        jax.block_until_ready(batch.epochs(current, 0, 1))
        spent.append(time.perf_counter() - started)
    return min(spent) / batch.programs.size
