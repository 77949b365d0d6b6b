"""Where speed measurements go."""

import json
from pathlib import Path
from typing import Any

from benchmarks.atomic import write_bytes
from benchmarks.run import environment, git_revision

RESULTS = Path("results/speed")


def write(name: str, **measured: Any) -> Path:
    """Writes results/speed/NAME.json: what was measured, on which machine, with which versions and revision."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    content = {"environment": environment(), "git": git_revision(), **measured}
    path = RESULTS / f"{name}.json"
    write_bytes(path, json.dumps(content, indent=2).encode() + b"\n")
    return path
