"""Compiled programs that the command line keeps from one run to the next (JAX's persistent compilation cache)."""

import contextlib
import hashlib
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

from benchmarks.cache import cache_folder, drop_old_files

OLDEST = 7 * 24 * 3600.0
"""Seconds after which a compiled program is dropped."""
SETTINGS = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,  # a run has a hundred small programs
    "jax_persistent_cache_min_entry_size_bytes": -1,
}


@contextlib.contextmanager
def kept_programs(enabled: bool = True) -> Iterator[Path | None]:
    """Has JAX look for compiled programs in the user's cache folder and keep new ones there, within this context.

    It yields the folder, `credax/compiled/MACHINE` in `$XDG_CACHE_HOME` or `~/.cache`, or None where nothing is
    changed: if not `enabled`, if the user has told JAX of a folder already (JAX_COMPILATION_CACHE_DIR), and if there is
    no home or it cannot be written to. JAX's settings are as before in the end.

    Programs that call back into Python, as those with `eqx.error_if` do, are not kept: the calls are addresses in this
    process.
    """
    if not enabled or jax.config.jax_compilation_cache_dir or (folder := _folder()) is None:  # pyright: ignore[reportAttributeAccessIssue]
        yield None
        return
    settings = {**SETTINGS, "jax_compilation_cache_dir": str(folder)}
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    try:
        yield folder
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()  # or JAX would go on with the folder that it has opened


def _folder() -> Path | None:
    """The folder, emptied of what is old; None where it cannot be used."""
    cache = cache_folder()
    if cache is None:
        return None
    folder = cache / "compiled" / _machine()
    try:
        # Whoever can write there can have this user run programs of theirs.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for machine in folder.parent.iterdir():
            if machine.is_dir():
                drop_old_files(machine, time.time() - OLDEST)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def _machine() -> str:
    """A name for the processor: a home shared by a cluster's nodes must not give one the instructions of another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # no Linux
        lines = []
    kinds = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    description = repr((platform.machine(), kinds or platform.processor()))
    return hashlib.sha256(description.encode()).hexdigest()[:12]
