"""Tasks on this machine: in this process, or in processes of their own."""

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from benchmarks._memory import WORKERS
from benchmarks.engines._call import Answer, Surroundings, pack
from benchmarks.engines._engine import AbstractEngine, Stopped, WorkerDied
from benchmarks.engines._process import Message
from benchmarks.errors import InvalidInput


class Local(AbstractEngine):
    """Runs tasks on this machine.

    **Arguments:**

    - `workers`: 0 runs one task after another in this process. With 1 or more, as many processes run one task each; one
        that dies is replaced, and the driver lives on. Each keeps its compiled programs from task to task. They have
        the settings of JAX, the data and the import path of the driver, and end with it, however it ends.

    **Raises:** `InvalidInput` if `workers` is negative.
    """

    def __init__(self, workers: int = 0):
        if workers < 0:
            raise InvalidInput(f"workers: must be 0 (in this process) or more, got {workers}.")
        self.workers = workers
        self._threads = ThreadPoolExecutor(workers, "worker") if workers else None
        self._all = [_Worker(workers) for _ in range(workers)]
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        for worker in self._all:
            self._idle.put(worker)
        self._lock = threading.Lock()
        self._stops = 0

    @property
    def in_flight(self) -> int:
        """Two for each worker; one in this process."""
        return max(1, 2 * self.workers)

    def submit(self, function: Callable[[Any], Any], task: Any, /) -> Future:
        """Runs `function(task)` in a worker; without workers here and now, and the future is done."""
        future: Future = Future()
        future.set_running_or_notify_cancel()
        if self._threads is None:
            try:
                future.set_result(function(task))
            except Exception as error:
                future.set_exception(error)
        else:
            self._threads.submit(self._run, future, (self._stops, Surroundings.packed(), pack(function, task)))
        return future

    def stop(self) -> None:
        """Sends SIGTERM to the workers that are at work."""
        with self._lock:
            self._stops += 1
            for worker in self._all:
                worker.stop()

    def close(self) -> None:
        """Kills the workers."""
        with self._lock:
            self._stops += 1
            for worker in self._all:
                worker.kill()
        if self._threads is not None:
            self._threads.shutdown()

    def _run(self, future: Future, message: Message) -> None:
        worker = self._idle.get()
        try:
            with self._lock:
                if message[0] != self._stops:
                    raise Stopped("It was stopped before it began.")
                worker.begin()
            worker.ask(message).settle(future)
        except Exception as error:
            future.set_exception(error)
        finally:
            self._idle.put(worker)


class _Worker:
    """A process that answers calls, one after another; another one if that has died."""

    def __init__(self, workers: int):
        self._workers = workers
        self._process: subprocess.Popen | None = None
        self._busy = False

    def begin(self) -> None:
        """Has a process; from here to the answer it can be stopped."""
        if self._process is None:
            path = os.pathsep.join(map(os.path.abspath, sys.path))
            self._process = subprocess.Popen(
                # -P: what lies in the working directory hides nothing, unless it does so in the driver.
                [sys.executable, "-P", "-c", "from benchmarks.engines._process import main; main()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": path, WORKERS: str(self._workers)},
            )
        self._busy = True

    def ask(self, message: Message) -> Answer:
        """What the process answers; raises `WorkerDied` if it ends instead."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        try:
            pickle.dump(message, process.stdin)
            process.stdin.flush()
            return pickle.load(process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            process.kill()
            raise WorkerDied(_ending(process.wait())) from error
        finally:
            self._busy = False
            if process.returncode is not None:
                self._process = None
                _close(process)

    def stop(self) -> None:
        """Asks the process, if it is at work, to write what it has."""
        if self._process is not None and self._busy:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the process."""
        if self._process is None:
            return
        self._process.kill()
        if not self._busy:  # else whoever waits for its answer finds out
            self._process.wait()
            _close(self._process)


def _close(process: subprocess.Popen) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):  # what could not be sent any more
                stream.close()


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name
    return f"{name}, as the system sends it when memory runs out" if name == "SIGKILL" else name
