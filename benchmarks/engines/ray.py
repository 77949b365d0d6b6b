"""Tasks on a Ray cluster, or on a Ray that is started on this machine."""

import math
import os
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from benchmarks._memory import WORKERS
from benchmarks.engines._call import Answer, Surroundings, call, pack
from benchmarks.engines._engine import AbstractEngine, Stopped, WorkerDied, WrongWorker, last_line
from benchmarks.errors import CredaxError, InvalidInput, MissingPackage, count

OBJECT_STORE = 100 * 2**20
"""Bytes of a Ray of our own for objects: results are small, since states and networks go through the shared folder."""
PATIENCE = 5.0
"""Seconds to wait for a cluster to answer."""


class Unreachable(CredaxError, ConnectionError):
    """There is no Ray cluster at an address."""


class Ray(AbstractEngine):
    """Runs tasks on Ray (`pip install "credax[ray]"`).

    Each Ray worker keeps its compiled programs from task to task. Ray tries nothing again by itself.

    **Arguments:**

    - `address`: `host:port` of an existing cluster ("auto" for the one that this machine is part of). None uses the Ray
        that this process is connected to already, or starts one here for as long as the engine is open.
    - `workers`: how many tasks run at once; as many as there are processors (or accelerators) for, if None.
    - `cpus`, `gpus`: processors and accelerators of each task, as Ray counts them; fractions share one.
    - `memory`: bytes that Ray reserves for each task.
    - `runtime_env`: Ray's description of what the workers need, such as `{"working_dir": "."}`; only if this is what
        connects to Ray.

    **Raises:** `MissingPackage` without Ray, `Unreachable` (a `ConnectionError`) within seconds if nobody answers at
    the address, `InvalidInput` for counts below 0.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        workers: int | None = None,
        cpus: int | float = 1,
        gpus: int | float = 0,
        memory: int | float | None = None,
        runtime_env: dict[str, Any] | None = None,
    ):
        if workers is not None:
            count("workers", workers)
        if cpus < 0 or gpus < 0 or cpus + gpus == 0:
            raise InvalidInput(f"A task needs processors or accelerators, got cpus = {cpus}, gpus = {gpus}.")
        if address not in (None, "auto"):
            _knock(address)
        try:
            import ray
        except ImportError as error:
            raise MissingPackage('The engine "ray" needs Ray: pip install "credax[ray]".') from error
        self._ray: Any = ray
        self._workers = workers
        self._share = {name: need for name, need in (("CPU", cpus), ("GPU", gpus)) if need}
        if address is not None and ray.is_initialized():
            raise InvalidInput(f"This process is connected to Ray already: leave out the address, {address}.")
        self._owner = not ray.is_initialized()
        if self._owner:
            _connect(ray, address, None if workers is None else workers * cpus, runtime_env)
        # max_calls: a worker with a GPU would end after its first task. max_retries: `drive` tries again, by halves.
        options = {"num_cpus": cpus, "num_gpus": gpus, "memory": memory, "max_calls": 0, "max_retries": 0}
        room = max(node["Resources"].get("CPU", 0) for node in ray.nodes())
        self._sharing = str(max(1, int(room / cpus)) if cpus else 1)
        self._call = ray.remote(**options)(call)
        self._references: dict[Future, Any] = {}
        self._lock = threading.Lock()

    @property
    def in_flight(self) -> int:
        """Two for each task that the cluster has room for at this moment."""
        if self._workers is not None:
            return 2 * self._workers
        there = self._ray.cluster_resources()
        room = min(int(there.get(name, 0) / need) for name, need in self._share.items())
        return 2 * max(1, room)

    def submit(self, function: Callable[[Any], Any], task: Any, /) -> Future:
        """Has a Ray worker run `function(task)`."""
        future: Future = Future()
        future.set_running_or_notify_cancel()
        reference = self._call.remote(Surroundings.packed(**{WORKERS: self._sharing}), pack(function, task))
        with self._lock:
            self._references[future] = reference
        reference.future().add_done_callback(lambda answered: self._settle(future, answered))
        return future

    def stop(self) -> None:
        """Has Ray interrupt what runs and drop what waits."""
        with self._lock:
            references = list(self._references.values())
        for reference in references:
            self._ray.cancel(reference, force=False)

    def close(self) -> None:
        """Kills what runs; leaves the cluster, or ends it if it was started here."""
        with self._lock:
            references = list(self._references.values())
        for reference in references:
            self._ray.cancel(reference, force=True)
        if self._owner:
            self._ray.shutdown()

    def _settle(self, future: Future, answered: Future) -> None:
        with self._lock:
            del self._references[future]
        try:
            answer: Answer = answered.result()
        except self._ray.exceptions.TaskCancelledError:
            future.set_exception(Stopped("Ray has cancelled it."))
        except self._ray.exceptions.RayTaskError as error:  # `call` itself raises nothing
            future.set_exception(WrongWorker(f"A worker of Ray cannot run tasks of Credax: {last_line(error)}"))
        except Exception as error:
            future.set_exception(WorkerDied(_first_line(error)))
        else:
            answer.settle(future)


def _connect(ray: Any, address: str | None, cpus: int | float | None, runtime_env: dict[str, Any] | None) -> None:
    if address is None:  # workers on this machine import what this process does
        path = {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
        runtime_env = {**(runtime_env or {}), "env_vars": path | (runtime_env or {}).get("env_vars", {})}
    quiet = {"logging_level": "ERROR", "log_to_driver": False, "runtime_env": runtime_env}
    try:
        with warnings.catch_warnings():
            # Ray forks to start its processes, which JAX warns of; they are other programs at once.
            warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
            warnings.simplefilter("ignore", FutureWarning)  # what later versions of Ray will do
            if address is not None:
                ray.init(address, **quiet)
                return
            ray.init(
                "local",
                num_cpus=max(1, math.ceil(cpus or os.cpu_count() or 1)),
                object_store_memory=OBJECT_STORE,
                include_dashboard=False,
                _node_ip_address="127.0.0.1",
                **quiet,
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = "that was to be started here" if address is None else f"at {address}"
        raise Unreachable(f"The Ray cluster {where} cannot be used: {_first_line(error)}.") from error


def _knock(address: str) -> None:
    """Asks whether anybody listens, which Ray takes minutes to find out, to end the process then."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdecimal()):
        raise InvalidInput(f"address: must be host:port or auto, got {address!r}.")
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except OSError as error:
        raise Unreachable(
            f"Nobody answers at the Ray address {address} ({error}): start the cluster there (ray start --head), or "
            "correct the address. Nothing is lost: the same command goes on."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
