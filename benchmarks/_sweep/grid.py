"""The members of a sweep, all settings times all seeds, in a fixed order."""

import dataclasses
import functools
import itertools
import re
from typing import Any

import numpy as np

from benchmarks._sweep.axes import Value
from benchmarks.errors import InvalidInput, count


@dataclasses.dataclass(frozen=True)
class Grid:
    """All settings (the product of the axes, the last axis fastest) times all seeds (faster still).

    Member m is setting m // len(seeds) with seed m % len(seeds): this number is how members are named on disk.
    """

    axes: dict[str, tuple[Value, ...]]
    seeds: tuple[int, ...]

    @functools.cached_property
    def settings(self) -> list[dict[str, Value]]:
        """The values of every axis, one dictionary per setting."""
        return [dict(zip(self.axes, values, strict=True)) for values in itertools.product(*self.axes.values())]

    @property
    def members(self) -> int:
        """The number of members."""
        return int(np.prod([len(values) for values in self.axes.values()])) * len(self.seeds)

    def shard(self, shard: tuple[int, int] | None) -> np.ndarray:
        """The members of one of n parts, which meets few values of the axes that cost a compilation: whole numbers,
        texts, truth values."""
        number, parts = shard or (1, 1)
        shape = [len(values) for values in self.axes.values()]
        places = dict(zip(self.axes, np.unravel_index(np.arange(self.members) // len(self.seeds), shape), strict=True))
        static = [places[name] for name, values in self.axes.items() if not isinstance(values[0], float)]
        order = np.lexsort((np.arange(self.members), *reversed(static)))  # the last key counts most
        return np.sort(np.array_split(order, parts)[number - 1])


def parse_shard(text: str) -> tuple[int, int]:
    """Reads "3/16", the third of sixteen parts, as (3, 16)."""
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if match is None:
        raise InvalidInput(f"shard: {text!r} is not of the form 3/16 (the third of sixteen parts).")
    return check_shard((int(match[1]), int(match[2])))


def check_shard(shard: tuple[int, int]) -> tuple[int, int]:
    """Refuses a part that does not exist; parts are counted from 1."""
    number, parts = shard
    if not 1 <= number <= parts:
        raise InvalidInput(f"shard: {number}/{parts} does not exist: parts run from 1/{parts} to {parts}/{parts}.")
    return shard


def check_seeds(seeds: Any, first: Any) -> tuple[int, ...]:
    """The seeds `first`, `first` + 1, ...; refuses none at all and what jax.random.key cannot tell apart."""
    seeds, first = count("seeds", seeds), count("seed", first, least=0)
    if first + seeds > 2**31:
        raise InvalidInput(f"seed: must lie between 0 and 2^31 - seeds, got {first}.")
    return tuple(range(first, first + seeds))


def group_by(grid: Grid, members: np.ndarray, static: list[str]) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Splits members into groups that share the values of the `static` axes: (shared values, members) each."""
    settings = grid.settings
    groups: dict[tuple[Value, ...], list[int]] = {}
    for member in members.tolist():
        setting = settings[member // len(grid.seeds)]
        groups.setdefault(tuple(setting[name] for name in static), []).append(member)
    return [(dict(zip(static, values, strict=True)), np.array(group)) for values, group in groups.items()]
