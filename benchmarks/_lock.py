"""One process at a time per run."""

import contextlib
import json
import os
import platform
import warnings
from pathlib import Path
from types import ModuleType

from benchmarks.errors import FileFault, RunIsBusy

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows, where runs are not locked
    fcntl = None


class RunLock:
    """The sole right to work on what is in a file's folder, until `close` or the end of the process, however it ends.

    The lock is the system's, on this file, such as a run's config.json, which nothing replaces. `running.json` is only
    a note that tells others who has it; what a killed process left there means nothing.

    **Raises:** `RunIsBusy`, an `OSError`, if another process or another thread of this one has it.
    """

    def __init__(self, file: Path):
        directory = file.parent
        self._note = directory / "running.json"
        self._stream = None
        if fcntl is None:
            return
        try:
            stream = open(file, "r+b")  # noqa: SIM115 - open for as long as the lock is held
        except OSError as error:
            raise FileFault(
                error.errno, f"The run cannot be gone on with ({error.strerror})", str(directory)
            ) from error
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.close()
            raise RunIsBusy(
                f"{directory} is being run by {self._holder()}: wait until that has ended, or stop it, and resume then"
            ) from error
        except OSError as error:
            warnings.warn(f"{directory} cannot be locked ({error}): do not run it twice at once.", stacklevel=2)
        self._stream = stream
        content = {"process": os.getpid(), "host": platform.node()}
        try:
            self._note.write_text(json.dumps(content) + "\n")
        except OSError:
            stream.close()
            raise

    def close(self) -> None:
        """Lets others go on with the run."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._note.unlink()
            self._stream.close()
            self._stream = None

    def _holder(self) -> str:
        try:
            note = json.loads(self._note.read_bytes())
            return f"process {note['process']} on {note['host']}"
        except (OSError, ValueError, KeyError, TypeError):  # it has only just begun
            return "another process"
