"""How many members are best run side by side: measured, where that pays."""

import time
from typing import Any

import jax

from benchmarks._memory import memory_budget, widest
from benchmarks._programs import Programs
from benchmarks._sweep.batch import batch_of, configured, member_of, programs_of
from benchmarks._sweep.target import Target
from benchmarks.card import precision
from benchmarks.errors import unlogged_callbacks
from benchmarks.tasks import Task

FIRST, LARGEST = 64, 1024
"""The width that is tried first, and the largest, at most."""
SHARE = 0.05
"""Of the work that is left: what trying another width may cost."""


def measured(task: Task, target: Target, base: Any = None) -> tuple[int, float, float]:
    """`benchmarks.tasks.measure` with the experiment at hand.

    What fits into memory is tried first, up to `FIRST` or `task.width`. Where a training lasts, an epoch of one member,
    of 8 and of as many as fit is timed too, if that costs less than `SHARE` of what is left.
    """
    with precision(target.double), unlogged_callbacks():
        member = member_of(target, configured(target, base, task.config), list(task.traced))
        devices = jax.local_devices()
        each = -(-len(task) // len(devices))
        budget = memory_budget(devices)

        def fitting(limit: int) -> Programs:
            return widest(lambda width: programs_of(member, width), each, limit, budget)

        first = fitting(min(task.width, FIRST))
        if task.chosen or not member.epochs:  # the width is given; or what is run in one piece is timed as it is run
            return first.width, 0.0, first.compile_s
        first.compile()
        started = time.perf_counter()
        best, least = first, _per_member(first, task)
        trial = (time.perf_counter() - started) / first.width
        for width in (8, 1, LARGEST):
            cost = first.compile_s + trial * min(width, each)
            if cost > SHARE * least * (member.epochs * each) or (width == LARGEST and first.width == each):
                continue
            other = fitting(min(width, task.width))
            other.compile()
            seconds = _per_member(other, task) if other.width != best.width else least
            if seconds < least:
                best, least = other, seconds
    return best.width, least / len(devices), first.compile_s


def _per_member(programs: Programs, task: Task) -> float:
    """Seconds that an epoch takes per member and device; a short one is repeated, so that the first call is not all."""
    batch = batch_of(task.part(slice(0, programs.size)), programs)
    current, spent = batch.start(), []
    while sum(spent) < 0.1 and len(spent) < 5:
        started = time.perf_counter()
        jax.block_until_ready(batch.epochs(current, 0, 1))
        spent.append(time.perf_counter() - started)
    return min(spent) / programs.width
