"""What a worker does with a task."""

from benchmarks._sweep.batch import find, run_batch
from benchmarks._sweep.width import measured
from benchmarks.tasks import Outcome, Task


def run(task: Task) -> Outcome:
    """Runs a task to its end; can be imported by a worker, and be given to any `concurrent.futures` executor.

    What a checkpoint in its folder has is not run again, and neither is anything if its outcome is there. An error of a
    single member, and one of tracing or compiling, is in the outcome, as a reason; what the program of several members
    raises is raised: halves may do better. What no halving helps against is a `CredaxError`: a full disk, another
    process at work in the folder, other versions of the libraries.
    """
    return run_batch(task, find(task))


def measure(task: Task) -> tuple[int, float, float]:
    """The width at which the members of a task are run fastest, if `task.width` bounds it.

    Returns it with the seconds that an epoch, or a function in one piece, takes per member (0 if that was not tried, or
    raised: so will `run`, which says why) and the seconds of compiling.
    """
    target = find(task)
    try:
        return measured(task, target)
    except Exception:
        return min(task.width, len(task)), 0.0, 0.0
