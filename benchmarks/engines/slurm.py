"""Tasks as jobs of Slurm, by submitit."""

import re
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from benchmarks.engines._call import Surroundings, call, pack
from benchmarks.engines._engine import AbstractEngine, Stopped, WorkerDied, WrongWorker, last_line
from benchmarks.errors import InvalidInput, MissingPackage

POLL = 0.5
"""Seconds between two looks at the jobs' files (submitit asks Slurm itself far less often)."""
GRACE = 10.0
"""Seconds that the answer of a job which has ended may take to arrive on this machine."""


class Slurm(AbstractEngine):
    """Runs every task as a job of Slurm (`pip install "credax[slurm]"`).

    A job that is asked to leave, by `scancel` or since its time is nearly up, writes what it has, and the task goes on
    in another job. Programs are compiled anew in every job, unless JAX keeps them in a folder
    (`JAX_COMPILATION_CACHE_DIR`): give tasks that take minutes.

    **Arguments:**

    - `folder`: for the jobs' scripts, logs and results; all machines must share it.
    - `workers`: how many jobs to keep in Slurm's queue, waiting or running.
    - `partition`, `account`: Slurm's; its defaults if None.
    - `time`: of a job, as Slurm writes it: minutes, "hours:minutes:seconds" or "days-hours:minutes:seconds".
    - `cpus`, `gpus`, `memory`: of a job; `memory` in bytes, the partition's default if None.
    - `cluster`: "slurm"; "local" runs the jobs as processes of this machine, to try things out without Slurm.

    **Raises:** `MissingPackage` without submitit; `InvalidInput` without Slurm and for values that it cannot have.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        workers: int = 16,
        partition: str | None = None,
        account: str | None = None,
        time: str | int = 60,
        cpus: int = 1,
        gpus: int = 0,
        memory: int | float | None = None,
        cluster: str = "slurm",
    ):
        if workers < 1 or cpus < 1 or gpus < 0:
            given = f"workers = {workers}, cpus = {cpus}, gpus = {gpus}"
            raise InvalidInput(f"There must be workers >= 1, and cpus >= 1 and gpus >= 0 for a job, got {given}.")
        minutes = _minutes(time)
        try:
            import submitit
        except ImportError as error:
            raise MissingPackage('The engine "slurm" needs submitit: pip install "credax[slurm]".') from error
        if cluster not in ("slurm", "local"):
            raise InvalidInput(f'cluster: must be "slurm" or "local", got {cluster!r}.')
        if cluster == "slurm" and shutil.which("sbatch") is None:
            raise InvalidInput("There is no sbatch here: run the command on a machine that can submit jobs to Slurm.")
        self.workers = workers
        self._executor = submitit.AutoExecutor(Path(folder).absolute(), cluster=cluster)
        self._executor.update_parameters(
            name="credax",
            timeout_min=minutes,
            cpus_per_task=cpus,
            gpus_per_node=gpus,
            slurm_partition=partition,
            slurm_account=account,
            mem_gb=None if memory is None else memory / 2**30,
        )
        self._jobs: dict[Future, _Job] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watch = threading.Thread(target=self._poll, daemon=True)
        self._watch.start()

    @property
    def in_flight(self) -> int:
        """As many as there shall be jobs."""
        return self.workers

    def submit(self, function: Callable[[Any], Any], task: Any, /) -> Future:
        """Submits a job that runs `function(task)`."""
        future: Future = Future()
        future.set_running_or_notify_cancel()
        job = _Job(self._executor.submit(call, Surroundings.packed(), pack(function, task)))
        with self._lock:
            self._jobs[future] = job
        return future

    def stop(self) -> None:
        """Cancels the jobs: Slurm sends them SIGTERM, and kills them half a minute later, or what KillWait says."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()

    def close(self) -> None:
        """Cancels the jobs and waits for none."""
        self.stop()
        self._closed.set()
        self._watch.join()

    def _poll(self) -> None:
        while not self._closed.wait(POLL):
            with self._lock:
                jobs = dict(self._jobs)
            for future, job in jobs.items():
                if job.ended():
                    with self._lock:
                        del self._jobs[future]
                    job.settle(future)


class _Job:
    """A job of submitit, whose `result()` would sit and wait for an answer that never comes."""

    def __init__(self, job: Any):
        self._job = job
        self._cancelled = False
        self._ended: float | None = None

    def cancel(self) -> None:
        self._cancelled = True
        self._job.cancel(check=False)

    def ended(self) -> bool:
        """Whether there is an answer, or will not be one."""
        if self._has_answer():
            return True
        if self._ended is None and self._job.done():
            self._ended = time.monotonic()
        return self._ended is not None and time.monotonic() - self._ended >= GRACE

    def settle(self, future: Future) -> None:
        """Ends a future by what became of the job."""
        name, log = f"job {self._job.job_id}", self._job.paths.stderr
        if not self._has_answer():
            how = f"{name} is {self._job.state}, see {log}"
            future.set_exception(Stopped(f"It was cancelled: {how}.") if self._cancelled else WorkerDied(how))
            return
        try:
            self._job.result().settle(future)
        except Exception as error:
            future.set_exception(WrongWorker(f"{name} cannot run tasks of Credax, see {log}: {last_line(error)}"))
        self._job.paths.result_pickle.unlink(missing_ok=True)
        self._job.paths.submitted_pickle.unlink(missing_ok=True)

    def _has_answer(self) -> bool:
        return self._job.paths.result_pickle.exists()


def _minutes(time: str | int) -> int:
    """Slurm's notations of a time, in minutes."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", str(time))
    if match is None:
        raise InvalidInput(f"time: write minutes, hours:minutes:seconds or days-hours:minutes:seconds, got {time!r}.")
    days, *rest = match.groups()
    numbers = [int(number) for number in rest if number is not None]
    if days is not None:  # days-hours[:minutes[:seconds]]
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:  # minutes[:seconds]
        hours, (minutes, seconds) = 0, (*numbers, 0)[:2]
    whole = 1440 * int(days or 0) + 60 * hours + minutes + (seconds > 0)
    if whole < 1:
        raise InvalidInput(f"time: must be a minute or more, got {time!r}.")
    return whole
