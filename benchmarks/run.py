"""One run of an experiment as a folder: what it was, how it went, what came out."""

import dataclasses
import datetime
import json
import math
import os
import platform
import subprocess
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.atomic import write_bytes

LIBRARIES = ("credax", "jax", "jaxlib", "equinox", "optax", "diffrax", "numpy")


@dataclasses.dataclass(frozen=True)
class Run:
    """The folder `results/EXPERIMENT/RUN/` of one run.

    - `config.json`: experiment, configuration, seeds, versions, device, git revision; written first;
    - `metrics.jsonl`: one line per epoch, each metric a list over seeds, null where it is not finite;
    - `checkpoints/`: the newest states of the training;
    - `summary.json`: `{metric: {mean, std, n, values}, ..., "failed": [...]}`; written last;
    - whatever else the experiment leaves there (`network.eqx`, figures).
    """

    directory: Path
    """The folder."""
    record: dict[str, Any]
    """The content of config.json."""

    @staticmethod
    def create(results: str | os.PathLike, experiment: str, config: Any, *, seed: int = 0, seeds: int = 1) -> "Run":
        """Makes the folder of a new run under `results/experiment`, named by time (UTC) and seeds.

        `config` is a dataclass or a dictionary of plain values.
        """
        now = datetime.datetime.now(datetime.UTC)
        record = {
            "experiment": experiment,
            "config": plain(config),
            "seeds": list(range(seed, seed + seeds)),
            "started": now.isoformat(timespec="microseconds"),
            "environment": environment(),
            "git": git_revision(),
        }
        span = f"seed{seed}" if seeds == 1 else f"seeds{seed}-{seed + seeds - 1}"
        directory = _make_folder(Path(results) / experiment, f"{now:%Y-%m-%d_%H-%M-%S}_{span}")
        write_json(directory / "config.json", record)
        return Run(directory, record)

    @staticmethod
    def open(directory: Path) -> "Run":
        """The run in `directory`; raises `ValueError` if it has no readable config.json."""
        path = directory / "config.json"
        try:
            record = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ValueError(f"{directory} holds no run: its config.json is missing or damaged ({error}).") from error
        missing = [name for name in ("experiment", "config", "seeds", "started") if name not in record]
        if missing:
            raise ValueError(f"{directory} holds no run: its config.json lacks {', '.join(missing)}.")
        return Run(directory, record)

    @staticmethod
    def find(results: str | os.PathLike, experiment: str, config: Any, *, seed: int = 0, seeds: int = 1) -> "Run":
        """The newest run of `experiment` with this configuration and these seeds, to be resumed.

        Raises `ValueError` if there is none, saying how the newest run differs. Warns if it was started with other
        versions or on another device, because then the outcome need not be the same to the last bit.
        """
        runs = all_runs(Path(results) / experiment)
        wanted = {"seeds": list(range(seed, seed + seeds)), **plain(config)}
        for run in reversed(runs):
            if run._settings == wanted:
                if run.record.get("environment") != environment():
                    message = f"{run.directory} was started with other versions or on another device."
                    warnings.warn(message, stacklevel=2)
                return run
        if not runs:
            raise ValueError(f"There is no run of {experiment} under {results} to resume; leave out --resume.")
        newest = runs[-1]
        names = [name for name in wanted if newest._settings.get(name) != wanted[name]]
        difference = ", ".join(f"{name} = {newest._settings.get(name)} there, {wanted[name]} here" for name in names)
        raise ValueError(
            f"No run of {experiment} under {results} has these settings. The newest is {newest.directory.name}, with "
            f"{difference}: resume it with its own settings, or leave out --resume."
        )

    def append(self, row: dict[str, Any]) -> None:
        """Adds the line of one epoch to metrics.jsonl."""
        try:
            with open(self._metrics, "ab") as stream:
                stream.write(json.dumps(row, allow_nan=False).encode() + b"\n")
        except OSError as error:
            raise OSError(
                f"The metrics of epoch {row['epoch']} could not be written to {self._metrics}. Make room on the disk "
                f"and resume the run. The cause: {error}"
            ) from error

    def rows(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, up to the first that is incomplete, as one that a kill cut off."""
        rows = []
        lines = self._metrics.read_bytes().splitlines(keepends=True) if self._metrics.exists() else []
        for line in lines:
            if not line.endswith(b"\n"):
                break
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
        return rows

    def rewind(self, epochs: int) -> list[dict[str, Any]]:
        """Cuts metrics.jsonl back to the first `epochs` epochs and returns them; the later ones will be run again."""
        rows = self.rows()[:epochs]
        if [row.get("epoch") for row in rows] != list(range(1, epochs + 1)):
            raise ValueError(f"{self._metrics} is damaged: it does not hold the {epochs} epochs of the checkpoint.")
        lines = self._metrics.read_bytes().splitlines(keepends=True)[:epochs] if epochs else []
        write_bytes(self._metrics, b"".join(lines))
        return rows

    def summarise(self, metrics: dict[str, np.ndarray], failures: dict[int, str], **once: float | None) -> None:
        """Writes summary.json.

        **Arguments:**

        - `metrics`: each `[seeds]`. Mean and standard deviation (of a sample, n - 1; 0 for a single seed) are over
            the seeds that did not fail, and `values` gives each of them.
        - `failures`: position of each failed seed, and why.
        - `once`: figures that the run has once for all seeds, such as `step_ms`; None where it has none.
        """
        seeds = self.record["seeds"]
        good = [position for position in range(len(seeds)) if position not in failures]
        summary: dict[str, Any] = {}
        for name, values in metrics.items():
            summary[name] = statistics({seeds[position]: float(values[position]) for position in good})
        for name, value in once.items():
            if value is not None:
                summary[name] = {"mean": value, "std": 0.0, "n": 1}
        summary["failed"] = [{"seed": seeds[position], "reason": reason} for position, reason in failures.items()]
        write_json(self.directory / "summary.json", summary)

    def summary(self) -> dict[str, Any] | None:
        """The content of summary.json, or None while the run is not finished."""
        path = self.directory / "summary.json"
        if not path.exists():
            return None
        try:
            return json.loads(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}); resume the run to write it again.") from error

    @property
    def _metrics(self) -> Path:
        return self.directory / "metrics.jsonl"

    @property
    def _settings(self) -> dict[str, Any]:
        return {"seeds": self.record["seeds"], **self.record["config"]}


def all_runs(folder: Path) -> list[Run]:
    """The runs in `folder`, oldest first; a damaged one is passed over with a warning."""
    runs = []
    for path in folder.glob("*/config.json"):
        try:
            runs.append(Run.open(path.parent))
        except ValueError as error:
            warnings.warn(str(error), stacklevel=2)
    return sorted(runs, key=lambda run: (run.record["started"], run.directory.name))


def statistics(values: dict[int, float]) -> dict[str, Any]:
    """Mean, standard deviation (n - 1) and number of the values by seed; None where there is nothing to average."""
    numbers = np.array(list(values.values()))
    mean = float(numbers.mean()) if len(numbers) else None
    std = float(numbers.std(ddof=1)) if len(numbers) > 1 else (0.0 if len(numbers) else None)
    return {"mean": mean, "std": std, "n": len(numbers), "values": {str(seed): value for seed, value in values.items()}}


def plain(config: Any) -> dict[str, Any]:
    """A configuration as JSON knows it: tuples become lists, infinite numbers the texts "inf" and "-inf"."""
    fields = dataclasses.asdict(config) if dataclasses.is_dataclass(config) else config  # pyright: ignore[reportArgumentType]

    def convert(value):
        if isinstance(value, list | tuple):
            return [convert(item) for item in value]
        return str(value) if isinstance(value, float) and not math.isfinite(value) else value

    return {name: convert(value) for name, value in fields.items()}


def environment() -> dict[str, Any]:
    """Versions of the libraries, device, and host."""
    device = jax.devices()[0]
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in LIBRARIES}},
        "device": {"platform": device.platform, "kind": device.device_kind, "count": jax.device_count()},
        "host": {"system": platform.system(), "machine": platform.machine(), "cpus": os.cpu_count()},
        "x64": bool(jax.config.jax_enable_x64),  # pyright: ignore[reportAttributeAccessIssue]
    }


def git_revision() -> dict[str, Any] | None:
    """Revision of the checkout that this package is in, and whether files were changed since; None if it is in none."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        # Installed into an environment inside somebody's repository, the package is not that repository's.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return {"revision": git("rev-parse", "HEAD"), "modified": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


def write_json(path: Path, content: Any) -> None:
    """Replaces `path` by `content` as JSON, never half written."""
    write_bytes(path, json.dumps(content, indent=2, allow_nan=False).encode() + b"\n")


def finite(metrics: dict[str, Any]) -> dict[str, list[Any]]:
    """Metrics `[seeds]` as JSON knows them: lists, with None for what is not finite."""
    return {
        name: [value if math.isfinite(value) else None for value in np.asarray(values).tolist()]
        for name, values in metrics.items()
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # running from a checkout
        return None


def _make_folder(parent: Path, name: str) -> Path:
    """Makes `parent/name`; where that exists, `name-2`, `name-3`, ..."""
    number = 1
    while True:
        directory = parent / (name if number == 1 else f"{name}-{number}")
        try:
            directory.mkdir(parents=True)
            return directory
        except FileExistsError:
            number += 1
