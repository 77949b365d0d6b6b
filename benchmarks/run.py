"""One run of an experiment as a folder: what it was, how it went, what came out."""

import contextlib
import dataclasses
import datetime
import json
import math
import os
import platform
import shutil
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.atomic import sync_folder, write_bytes
from benchmarks.errors import CredaxError, FileFault, InvalidInput
from benchmarks.libraries import versions


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
    file: str = "config.json"
    """The file that says what was run; a sweep's batches have another one."""

    @staticmethod
    def create(results: str | os.PathLike, experiment: str, config: Any, *, seed: int = 0, seeds: int = 1) -> "Run":
        """Makes the folder of a new run under `results/experiment`, named by time (UTC) and seeds.

        `config` is a dataclass or a dictionary of plain values. Raises `ValueError` if one of them is NaN, `OSError` if
        the folder cannot be made.
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
        directory = _make_folder(Path(results) / folder_name(experiment), f"{now:%Y-%m-%d_%H-%M-%S}_{span}")
        write_json(directory / "config.json", record)
        return Run(directory, record)

    @staticmethod
    def open(directory: Path) -> "Run":
        """The run in `directory`; raises `ValueError` if it has no readable config.json."""
        path = directory / "config.json"
        record = read_json(path, f"{directory} holds no run: its config.json")
        missing = [name for name in ("experiment", "config", "seeds", "started") if name not in record]
        if missing:
            raise InvalidInput(f"{directory} holds no run: its config.json lacks {', '.join(missing)}.")
        kinds = {"experiment": str, "config": dict, "seeds": list, "started": str}
        wrong = [f"{name} = {record[name]!r}" for name, kind in kinds.items() if not isinstance(record[name], kind)]
        if wrong or not all(type(seed) is int for seed in record["seeds"]):
            raise InvalidInput(f"{directory} holds no run: its config.json is damaged ({', '.join(wrong) or 'seeds'}).")
        return Run(directory, record)

    @staticmethod
    def find(results: str | os.PathLike, experiment: str, config: Any, *, seed: int = 0, seeds: int = 1) -> "Run":
        """The newest run of `experiment` with this configuration and these seeds, to be resumed.

        Raises `ValueError` if there is none, saying how the newest run differs. Warns if it was started with other
        versions or on another device, because then the outcome need not be the same to the last bit.
        """
        runs = all_runs(Path(results) / folder_name(experiment))
        wanted = {"seeds": list(range(seed, seed + seeds)), **plain(config)}
        for run in reversed(runs):
            if run._settings == wanted:
                if run.record.get("environment") != environment():
                    message = f"{run.directory} was started with other versions or on another device."
                    warnings.warn(message, stacklevel=2)
                return run
        if not runs:
            raise InvalidInput(f"There is no run of {experiment} under {results} to resume; leave out --resume.")
        newest = runs[-1]
        names = [name for name in wanted if newest._settings.get(name) != wanted[name]]
        difference = ", ".join(f"{name} = {newest._settings.get(name)} there, {wanted[name]} here" for name in names)
        raise InvalidInput(
            f"No run of {experiment} under {results} has these settings. The newest is {newest.directory.name}, with "
            f"{difference}: resume it with its own settings, or leave out --resume."
        )

    def append(self, row: dict[str, Any]) -> None:
        """Adds the line of one epoch to metrics.jsonl."""
        try:
            with open(self._metrics, "ab") as stream:
                stream.write(json.dumps(row, allow_nan=False).encode() + b"\n")
        except OSError as error:
            raise FileFault(
                f"The metrics of epoch {row['epoch']} could not be written to {self._metrics}. Make room on the disk "
                f"and resume the run. The cause: {error}"
            ) from error

    def sync(self) -> None:
        """Has the lines of metrics.jsonl survive a power cut, as the checkpoint does that is written after them."""
        with open(self._metrics, "ab") as stream:
            os.fsync(stream.fileno())
        sync_folder(self.directory)

    def rows(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, but for what is none, such as a last one that a kill cut off."""
        return [row for row, _ in self._lines()]

    def rewind(self, epochs: int, metrics: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Cuts metrics.jsonl back to the first `epochs` epochs and returns them; the later ones will be run again.

        The line of an epoch that is lost (in a power cut, say) is replaced, with a warning, by one that has null for
        each of `metrics`: the checkpoint knows the state, and the training is none the worse for it.
        """
        known = {row.get("epoch"): (row, line) for row, line in self._lines() if self._is_whole(row, metrics)}
        lost = [number for number in range(1, epochs + 1) if number not in known]
        for number in lost:
            row = {"epoch": number, "epoch_s": None, **{name: [None] * len(self.record["seeds"]) for name in metrics}}
            known[number] = row, json.dumps(row).encode() + b"\n"
        if lost:
            numbers = ", ".join(map(str, lost[:10])) + (", ..." if len(lost) > 10 else "")
            message = f"{self._metrics} has lost epoch {numbers}, which the checkpoint has: its metrics are null there."
            warnings.warn(message, stacklevel=2)
        kept = [known[number] for number in range(1, epochs + 1)]
        write_bytes(self._metrics, b"".join(line for _, line in kept))
        return [row for row, _ in kept]

    def discard_if_empty(self) -> bool:
        """Removes the folder if the run has left nothing in it, and says whether."""
        checkpoints = self.directory / "checkpoints"
        kept = {path.name for path in self.directory.iterdir()} - {
            "config.json",
            "running.json",
            "width.json",
            checkpoints.name,
        }
        if kept or (checkpoints.is_dir() and any(path.name.isdigit() for path in checkpoints.iterdir())):
            return False
        shutil.rmtree(self.directory)
        with contextlib.suppress(OSError):  # other runs are in it
            self.directory.parent.rmdir()
        return True

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
        subject = f"{path}, which resuming the run writes again,"
        content = read_json(path, subject)
        figures = [entry for name, entry in content.items() if name != "failed"]
        if not (
            isinstance(content.get("failed"), list)
            and all(isinstance(item, dict) and "seed" in item for item in content["failed"])
            and all(isinstance(entry, dict) and {"mean", "std", "n"} <= set(entry) for entry in figures)
        ):
            raise InvalidInput(f"{subject} is damaged (it lacks what a summary has).")
        return content

    def _lines(self) -> list[tuple[dict[str, Any], bytes]]:
        lines = self._metrics.read_bytes().splitlines(keepends=True) if self._metrics.exists() else []
        parsed = []
        for line in lines:
            with contextlib.suppress(ValueError, RecursionError):
                row = json.loads(line)
                if line.endswith(b"\n") and isinstance(row, dict):
                    parsed.append((row, line))
        return parsed

    def _is_whole(self, row: dict[str, Any], metrics: Sequence[str]) -> bool:
        values = [row.get(name) for name in metrics]
        whole = all(isinstance(value, list) and len(value) == len(self.record["seeds"]) for value in values)
        return whole and type(row.get("epoch")) is int

    @property
    def _metrics(self) -> Path:
        return self.directory / "metrics.jsonl"

    @property
    def _settings(self) -> dict[str, Any]:
        return {"seeds": self.record["seeds"], **self.record["config"]}


def all_runs(folder: Path) -> list[Run]:
    """The runs in `folder`, oldest first; a damaged one is passed over with a warning."""
    runs, damaged = look_through(folder)
    for reason in damaged:
        warnings.warn(reason, stacklevel=2)
    return runs


def look_through(folder: Path) -> tuple[list[Run], list[str]]:
    """The runs in `folder`, oldest first, and what is wrong with those that are damaged."""
    runs, damaged = [], []
    for path in sorted(folder.glob("*/config.json")):
        try:
            runs.append(Run.open(path.parent))
        except CredaxError as error:
            damaged.append(str(error))
    return sorted(runs, key=lambda run: (run.record["started"], run.directory.name)), damaged


def statistics(values: dict[int, float]) -> dict[str, Any]:
    """Mean, standard deviation (n - 1) and number of the values by seed; None where there is nothing to average."""
    numbers = np.array(list(values.values()))
    mean = float(numbers.mean()) if len(numbers) else None
    std = float(numbers.std(ddof=1)) if len(numbers) > 1 else (0.0 if len(numbers) else None)
    return {"mean": mean, "std": std, "n": len(numbers), "values": {str(seed): value for seed, value in values.items()}}


def plain(config: Any) -> dict[str, Any]:
    """A configuration as JSON knows it: tuples become lists, infinite numbers the texts "inf" and "-inf".

    Raises `ValueError` for NaN: no setting is that, and what it runs through would be too.
    """
    fields = dataclasses.asdict(config) if dataclasses.is_dataclass(config) else config  # pyright: ignore[reportArgumentType]

    def convert(value, name):
        if isinstance(value, list | tuple):
            return [convert(item, name) for item in value]
        if isinstance(value, float) and math.isnan(value):
            raise InvalidInput(f"{name} = {fields[name]} is not a number: give it a value.")
        return str(value) if isinstance(value, float) and not math.isfinite(value) else value

    return {name: convert(value, name) for name, value in fields.items()}


def environment() -> dict[str, Any]:
    """Versions of the libraries, device, and host."""
    device = jax.devices()[0]
    return {
        "versions": {"python": platform.python_version(), **versions()},
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


def folder_name(experiment: str) -> str:
    """The name of an experiment as that of a folder: `my_file-py-make` for `my_file.py:make`."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in experiment)


def write_json(path: Path, content: Any) -> None:
    """Replaces `path` by `content` as JSON, never half written."""
    write_bytes(path, json.dumps(content, indent=2, allow_nan=False).encode() + b"\n")


def finite(metrics: dict[str, Any]) -> dict[str, list[Any]]:
    """Metrics `[seeds]` as JSON knows them: lists, with None for what is not finite."""
    return {
        name: [value if math.isfinite(value) else None for value in np.asarray(values).tolist()]
        for name, values in metrics.items()
    }


def read_json(path: Path, subject: str) -> dict[str, Any]:
    """The object in a JSON file; `subject` is what an error says about it."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InvalidInput(f"{subject} is missing ({error}).") from error
    except OSError as error:
        raise FileFault(f"{subject} cannot be read ({error}).") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{subject} is damaged ({error}).") from error
    if not isinstance(content, dict):
        raise InvalidInput(f"{subject} is damaged (it is no JSON object).")
    return content


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
        except OSError as error:
            raise FileFault(
                f"The folder of the run cannot be made: {error}. Give a folder that can be written to with --results."
            ) from error
