"""From other programs' units to ours: µs, and LSB of the CADC."""

from typing import Any


def from_seconds(time: Any) -> Any:
    """µs: 1e6 time. Numbers, or arrays of them."""
    return time * 1e6


def from_biology(time: Any, speedup: float = 1000.0) -> Any:
    """µs on the chip of a biological time in ms: a chip that is 1000 times faster makes 1 µs of 1 ms.

    Raises ValueError for a speed-up that is not positive.
    """
    if not speedup > 0:
        raise ValueError(f"speedup must be positive, but is {speedup}.")
    return time * (1000.0 / speedup)


def hxtorch_targets() -> dict[str, float]:
    """The targets of hxtorch's LIF neurons where they differ from ours (calix'): reset 80 LSB, refractory 1 µs."""
    return {"reset": 80.0, "refractory_time": 1.0}
