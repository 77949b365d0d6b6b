"""Sizes of arrays that users set: one for all populations, or one for each."""

from typing import Any

import numpy as np


def bound(value: Any) -> Any:
    """Bounds of any integer type, and lists of them, as what jit can take for a part of the program."""
    if isinstance(value, list | tuple):
        return tuple(bound(x) for x in value)
    return int(value) if isinstance(value, np.integer) else value


def per_population(name: str, value: int | tuple[int, ...] | None, populations: list[int]) -> dict[int, Any]:
    """The bound of each of these populations. Raises ValueError unless there is one for all or one for each."""
    values = value if isinstance(value, tuple) else (value,) * len(populations)
    if len(values) != len(populations):
        raise ValueError(
            f"{name} = {value} must be one number or one for each of the {len(populations)} layers concerned."
        )
    return dict(zip(populations, values, strict=True))
