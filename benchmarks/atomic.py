"""Files that are either old or new, never half written."""

import contextlib
import os
import uuid
from pathlib import Path

from benchmarks.errors import FileFault


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces `path` by a file with this content, durably.

    The content goes to a neighbour first, which then takes the name, so a full disk, a kill or another writer of the
    same file, be it a thread, leaves a whole file.

    **Raises:** `FileFault`, an `OSError`, if it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(draft, "xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, path)
    except OSError as error:
        reason = f"{error.strerror or error}; the file is as it was before"
        raise FileFault(error.errno, reason, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, unless they are there.

    **Raises:** `FileFault`, an `OSError`, if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileFault(error.errno, f"The folder cannot be made ({error.strerror})", str(folder)) from error


def sync_folder(folder: Path) -> None:
    """Has the names in a folder survive a power cut, where the system can do that."""
    with contextlib.suppress(OSError):  # not every system opens folders, or syncs them
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
