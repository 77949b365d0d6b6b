"""Tasks as jobs of Slurm, by submitit."""

import re
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from benchmarks.engines._call import Surroundings, call, pack
from benchmarks.engines._engine import AbstractEngine, Stopped, WorkerDied
from benchmarks.errors import InvalidInput, MissingPackage

POLL = 0.5
"""Seconds between two looks at the jobs' files (submitit asks Slurm itself far less often)."""


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
        memory: float | None = None,
        cluster: str = "slurm",
    ):
        if workers < 1 or cpus < 1 or gpus < 0:
            raise InvalidInput(
                f"A job needs workers >= 1, cpus >= 1 and gpus >= 0, got workers = {workers}, cpus = {cpus}, gpus = {gpus}."
            )
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
            **({} if memory is None else {"mem_gb": memory / 2**30}),
        )
        self._jobs: dict[Future, Any] = {}
        self._stopped: set[Future] = set()
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
        job = self._executor.submit(call, Surroundings.packed(), pack(function, task))
        with self._lock:
            self._jobs[future] = job
        return future

    def stop(self) -> None:
        """Cancels the jobs: Slurm sends them SIGTERM, and kills them half a minute later, or what KillWait says."""
        with self._lock:
            jobs = dict(self._jobs)
            self._stopped.update(jobs)
        for job in jobs.values():
            job.cancel(check=False)

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
                if job.done():
                    self._settle(future, job)

    def _settle(self, future: Future, job: Any) -> None:
        with self._lock:
            del self._jobs[future]
            stopped = future in self._stopped
            self._stopped.discard(future)
        try:
            job.result().settle(future)
        except Exception as error:
            line = (str(error).strip() or type(error).__name__).splitlines()[0]
            kind = Stopped if stopped else WorkerDied
            future.set_exception(kind(f"Job {job.job_id} has ended without an answer: {line}"))


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
