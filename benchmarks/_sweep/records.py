"""What is known about every member so far, in memory and, chunk by chunk, on disk."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._sweep.grid import check_shard
from benchmarks.atomic import make_folder, write_bytes
from benchmarks.errors import FileFault, InvalidInput

RAISED = "Raised "  # how the reason of a member begins that may do better next time: memory may have been short


class Records:
    """The outcome of each member: its metrics, and why it failed ("" if it did not, None if it was not run yet).

    With a folder, each finished chunk is also a file there, and members found there are not run again, except those
    that raised an error.
    """

    def __init__(self, members: int, folder: Path | None) -> None:
        self.metrics: dict[str, np.ndarray] = {}
        self.reasons = np.full(members, None, dtype=object)
        self.shards: set[tuple[int, int]] = set()
        self._folder = folder / "chunks" if folder is not None else None
        if self._folder is not None:
            for path in sorted(self._folder.glob("*.npz")):
                self._load(path)

    def pending(self, members: np.ndarray) -> np.ndarray:
        """Those of the members that have still to be run."""
        return members[[_is_open(reason) for reason in self.reasons[members]]]

    def add(
        self, members: np.ndarray, metrics: dict[str, np.ndarray], reasons: Sequence[str], shard: tuple[int, int]
    ) -> None:
        """Takes in a finished chunk and, if there is a folder, writes it."""
        self._insert(members, metrics, reasons, shard)
        if self._folder is None:
            return
        # In double precision, which holds every metric's value, and which NumPy writes without pickling.
        arrays: dict[str, Any] = {f"metrics/{name}": values.astype(float) for name, values in metrics.items()}
        arrays |= {"members": members, "reasons": np.array(reasons), "shard": np.array(shard)}
        # The hash keeps apart two chunks with the same first member.
        digest = hashlib.sha256(members.astype(np.int64).tobytes()).hexdigest()[:8]
        content = io.BytesIO()
        np.savez(content, **arrays)
        make_folder(self._folder)
        write_bytes(self._folder / f"{members[0]:08d}-{digest}.npz", content.getvalue())

    def _load(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise FileFault(error.errno, f"The chunk cannot be read ({error.strerror})", str(path)) from error
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            metrics = {name.removeprefix("metrics/"): values for name, values in arrays.items() if "/" in name}
            number, parts = arrays["shard"].tolist()
            members = arrays["members"]
            if members.dtype.kind != "i" or np.any((members < 0) | (members >= len(self.reasons))):
                raise ValueError("it is about members that this sweep does not have")
            self._insert(members, metrics, arrays["reasons"].tolist(), check_shard((number, parts)))
        except Exception as error:  # whatever NumPy raises for what is no archive, is cut short, or lacks a part
            raise InvalidInput(f"{path} is damaged ({error}): delete it, and its members are run again.") from error

    def _insert(
        self, members: np.ndarray, metrics: dict[str, np.ndarray], reasons: Sequence[str], shard: tuple[int, int]
    ) -> None:
        # A member that raised and was run again is in two files, in any order: the one without an error counts.
        new = np.array([_is_open(reason) for reason in self.reasons[members]])
        for name, values in metrics.items():
            column = self.metrics.setdefault(name, np.full(len(self.reasons), np.nan))
            column[members[new]] = values[new]
        self.reasons[members[new]] = np.array(reasons, dtype=object)[new]
        self.shards.add(shard)


def _is_open(reason: str | None) -> bool:
    return reason is None or reason.startswith(RAISED)
