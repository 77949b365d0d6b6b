"""The flags of the command line that say where the batches of a sweep are run."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Literal

from benchmarks.engines._engine import AbstractEngine
from benchmarks.engines.local import Local
from benchmarks.engines.ray import Ray
from benchmarks.engines.slurm import Slurm
from benchmarks.errors import InvalidInput

_FOR = {
    "local": ("workers",),
    "ray": ("workers", "address", "cpus", "gpus"),
    "slurm": ("workers", "partition", "account", "time", "cpus", "gpus"),
}
"""Which flags an engine has."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Where the batches are run."""

    engine: Literal["local", "ray", "slurm"] = "local"
    """This machine; a Ray cluster, or a Ray that is started here; jobs of Slurm. All machines share --results."""
    workers: int | None = None
    """Batches that run at once, each in a process of its own; with slurm the jobs to keep in its queue, or else 16.
    Otherwise local runs one after another in this process, and ray as many as there are --cpus and --gpus for."""
    address: str | None = None
    """host:port of the Ray cluster, or auto."""
    partition: str | None = None
    """Slurm's partition."""
    account: str | None = None
    """Slurm's account."""
    time: str | None = None
    """Of a job of Slurm: minutes (60 unless given) or HH:MM:SS. What runs longer goes on in another job."""
    cpus: int | None = None
    """Processors per batch, with ray and slurm; 1 unless given."""
    gpus: int | None = None
    """Accelerators per batch, with ray and slurm; none unless given."""

    def open(self, folder: Path) -> contextlib.AbstractContextManager[AbstractEngine | None]:
        """The engine, which ends with the context; None for this process. `folder` is that of the sweep."""
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)[1:]}
        given = {name: value for name, value in given.items() if value is not None}
        for name in given:
            if name not in _FOR[self.engine]:
                fitting = " or ".join(engine for engine, names in _FOR.items() if name in names)
                raise InvalidInput(f"--{name}: is for --engine {fitting}, not {self.engine}.")
        if self.engine == "ray":
            return Ray(**given)
        if self.engine == "slurm":
            return Slurm(folder / "jobs", **given)
        return Local(**given) if given else contextlib.nullcontext()
