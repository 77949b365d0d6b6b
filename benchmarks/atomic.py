"""Files that are either old or new, never half written."""

import os
from pathlib import Path


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces `path` by a file with this content, durably.

    The content goes to a neighbour first, which then takes the name, so a full disk or a kill leaves the old file as it
    was.

    **Raises:** `OSError` if it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(draft, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        error.add_note(f"{path} could not be written and is as it was before")
        raise
