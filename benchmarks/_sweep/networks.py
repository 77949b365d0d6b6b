"""The networks that a sweep has kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from benchmarks._programs import joined
from benchmarks._sweep.batch import read_networks
from benchmarks._sweep.folder import read_plan
from benchmarks._sweep.records import Records
from benchmarks._sweep.target import as_target, find_target


def read_members(folder: Path, addresses: Sequence[str], experiment: Any = None) -> PyTree:
    """The networks of members of a sweep, by their names."""
    target = find_target(read_plan(folder)["target"]) if experiment is None else as_target(experiment)
    records = Records(addresses, folder)
    found: dict[int, PyTree] = {}
    for task in records.finished:
        positions = enumerate(records.positions(task).tolist())
        inside = {m: i for i, m in positions if m >= 0 and m not in found}
        if inside:
            networks = read_networks(task, target)
            for m, i in inside.items():
                found[m] = jax.tree.map(lambda x, i=i: x[i : i + 1] if eqx.is_array(x) else x, networks)
    return jax.tree.map(joined(len(found)), *(found[m] for m in sorted(found)))
