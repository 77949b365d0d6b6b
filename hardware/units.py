"""From other programs' units to ours: µs, and LSB of the CADC."""

from typing import Any

from hardware.limits import Limits

CODES_PER_LSB = 2.4
CODE_OF_ZERO = 22.0
"""The code of 0 LSB: codes 70 to 550 are read as 20 to 220 LSB."""
RAIL, RAIL_WIDTH = 53.0, 16.0
"""LSB: where inhibitory currents are half of what they should be, and over how much they fail; fitted to measured
responses."""
PARASITIC = 0.08
"""Of the largest membrane capacitance, what is there at code 0."""


def nominal_code(potential: Any) -> Any:
    """The code of a potential (LSB) on a chip without mismatch, 22 + 2.4 V, not rounded."""
    return CODE_OF_ZERO + CODES_PER_LSB * potential


def relative_capacitance(code: Any, limits: Limits) -> Any:
    """What a membrane capacitance is on a chip without mismatch, relative to the largest: with parasitics."""
    return PARASITIC + (1 - PARASITIC) * code / limits.largest_capacitance


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
