"""The user's folder for what can be made again: downloaded data sets and compiled programs."""

import os
from pathlib import Path


def cache_folder() -> Path | None:
    """`$XDG_CACHE_HOME/credax`, or `~/.cache/credax` where that is not set; None for a user without a home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "credax"
    except RuntimeError:  # what pathlib raises
        return None


def drop_old_files(folder: Path, before: float) -> None:
    """Removes the files of a folder that were last written before a moment; another run may do the same meanwhile."""
    for file in folder.iterdir():
        try:
            if file.is_file() and file.stat().st_mtime < before:
                file.unlink()
        except FileNotFoundError:
            continue
