"""A race: contenders, each in a process of its own, take turns, so that the machine's noise hits all of them alike."""

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

CONTENDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "credax": ("credax", {"refire": False}),
    "credax, outputs refire": ("credax", {"refire": True}),
    "jaxsnn": ("jaxsnn", {"refire": False}),
    "jaxsnn, outputs refire": ("jaxsnn", {"refire": True}),
    "spyx": ("spyx", {}),
    "eventax": ("eventax", {}),
}
"""Module and options of each row of the table."""
TURNS = 15
BUDGET_S = 5.0
"""A contender leaves the race after so many turns, or when it has run for so long."""


@dataclass(frozen=True)
class Entry:
    """What a race tells about one contender; see `Contender` for the fields that are not explained here.

    - `durations`: of the timed steps, in seconds;
    - `compile_s`: tracing and compiling the step;
    - `loss`: of the first step;
    - `spikes_lost`: by the program that is timed, in its batch.
    """

    durations: list[float]
    compile_s: float
    loss: float
    bound: str
    hidden_spikes: float | None
    spikes_lost: int
    remark: str

    @property
    def median_ms(self) -> float:
        """Median duration of a step."""
        return 1e3 * statistics.median(self.durations)

    @property
    def best_ms(self) -> float:
        """Shortest duration of a step, which tells more than the median where other programs disturb the race."""
        return 1e3 * min(self.durations)


def reference(name: str) -> str:
    """The row of Credax that a row is compared with: the one that does the same."""
    return "credax, outputs refire" if name.endswith("outputs refire") else "credax"


def race(names: list[str], *, hidden: int, batch: int, cores: int) -> dict[str, Entry | str]:
    """Time the contenders on the same cores. A peer that is not installed is told by a text instead of an entry."""
    jobs = {name: {"name": module, "options": options} for name, (module, options) in CONTENDERS.items()}
    return race_of({name: jobs[name] for name in names}, hidden=hidden, batch=batch, cores=cores)


def race_of(jobs: dict[str, dict[str, Any]], *, hidden: int, batch: int, cores: int) -> dict[str, Entry | str]:
    """The same for any contenders: module, options and, where it has another name, the function that builds each."""
    problem = {"hidden": hidden, "batch": batch, "cores": cores}
    outcomes = compete("benchmarks.speed.worker", {name: {**job, **problem} for name, job in jobs.items()})
    return {
        name: ready["missing"] if "missing" in ready else Entry(durations, **ready)
        for name, (ready, durations) in outcomes.items()
    }


def compete(program: str, jobs: dict[str, dict[str, Any]]) -> dict[str, tuple[dict[str, Any], list[float]]]:
    """Start `program` once for each job, then let them take turns: what each said when it was ready, and durations."""
    workers: dict[str, _Worker] = {}
    try:
        # One after the other: compile times, too, are measured without company.
        for name, job in jobs.items():
            workers[name] = _Worker(program, job)
        durations: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(TURNS):
            for name, worker in workers.items():
                if "missing" not in worker.ready and sum(durations[name]) < BUDGET_S:
                    durations[name] += worker.turn()
    finally:
        for worker in workers.values():
            worker.close()
    return {name: (worker.ready, durations[name]) for name, worker in workers.items()}


class _Worker:
    """The process of one contender (see worker.py); `ready` is what it tells once its step is compiled."""

    ready: dict[str, Any]

    def __init__(self, program: str, job: dict[str, Any]):
        command = [sys.executable, "-m", program, json.dumps(job)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready = self._answer()

    def turn(self) -> list[float]:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args} ended with an error, see its output.")
        return json.loads(line)
