"""How many members of a sweep are best run side by side."""

import functools
from typing import Any

from benchmarks._programs import Batch, Programs
from benchmarks._sweep.batch import batch_of, configured, member_of, programs_of
from benchmarks._sweep.target import Target
from benchmarks._width import FIRST, fastest, fitting
from benchmarks.card import precision
from benchmarks.errors import unlogged_callbacks
from benchmarks.tasks import Task


def measured(task: Task, target: Target, base: Any = None) -> tuple[int, float, float]:
    """`benchmarks._sweep.work.measure` with the experiment at hand."""

    def begin(programs: Programs) -> Batch:
        return batch_of(task.part(slice(0, programs.size)), programs)

    with precision(target.double), unlogged_callbacks():
        member = member_of(target, configured(target, base, task.config), list(task.traced))
        programs, members = functools.partial(programs_of, member), max(task.members, len(task))
        if task.chosen or not member.epochs:  # the width is given; or what is run in one piece is timed as it is run
            limit = task.width if task.chosen else min(task.width, FIRST)
            found, seconds = fitting(programs, members, limit), 0.0
        else:
            found, seconds = fastest(programs, members, task.width, begin)
    return found.width, seconds, found.compile_s
