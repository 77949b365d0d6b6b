"""How many members fit into memory side by side."""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Shares of what there is; the rest is for the data, for other processes, and for the model being a model.
_DEVICE_SHARE = 0.7
_HOST_SHARE = 0.5
WORKERS = "CREDAX_WORKERS"
"""The variable of the environment by which an engine tells its workers how many of them share a machine's memory."""


def widest(compile_for: Callable[[int], Any], members: int, limit: int, budget: int) -> Any:
    """The programs of the largest width, at most `limit`, whose memory, `bytes_per_device()`, stays within `budget`.

    One compilation if everything fits. Otherwise the programs for one and two members give a linear model,
    bytes(n) = bytes(1) + (n - 1) (bytes(2) - bytes(1)), and the width that it predicts is compiled and checked. A
    single member is run whatever it needs: the budget is cautious, and there is nothing smaller.
    """
    width = even_chunk(members, limit)
    program = compile_for(width)
    if width > 1 and program.bytes_per_device() > budget:
        one, two = (compile_for(n).bytes_per_device() for n in (1, 2))
        width = even_chunk(members, min(width - 1, chunk_size(one, two, budget)))
        while (program := compile_for(width)).bytes_per_device() > budget and width > 1:
            width //= 2
    return program


def chunk_size(bytes_one: int, bytes_two: int, budget: int) -> int:
    """The largest n, at least 1, with bytes_one + (n - 1) (bytes_two - bytes_one) <= budget."""
    if bytes_one >= budget:
        return 1
    slope = max(bytes_two - bytes_one, 1)
    return 1 + (budget - bytes_one) // slope


def even_chunk(members: int, limit: int) -> int:
    """The smallest chunk that needs no more chunks of `members` than `limit` does: 80 under 64 gives 40."""
    return math.ceil(members / math.ceil(members / limit))


def memory_budget(devices: Sequence[Any]) -> int:
    """Bytes that a program may take on each device."""
    stats = devices[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return int(_DEVICE_SHARE * (stats["bytes_limit"] - stats.get("bytes_in_use", 0)))
    return int(_HOST_SHARE * host_memory() / len(devices) / int(os.environ.get(WORKERS, "1")))


def host_memory() -> int:
    """Bytes of memory that this process may use: what the machine has, or less if a control group says so."""
    limits = [_physical_memory()]
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        groups = []
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if controllers == "":
            root, name = Path("/sys/fs/cgroup"), "memory.max"
        elif "memory" in controllers.split(","):
            root, name = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
        else:
            continue
        folder = root / path.lstrip("/")
        for level in (folder, *folder.parents):
            limit = level / name
            if limit.is_file() and (text := limit.read_text().strip()).isdigit():
                limits.append(int(text))
    return min(limits)


def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # not a POSIX system
        return 8 * 2**30
