"""How much chips differ, and circuits of one chip."""

import dataclasses
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from eventprop.parameters import check_not_negative, check_type
from hardware.limits import Limits


class Spread(NamedTuple):
    """Standard deviations of circuits within a quadrant, and of the quadrants' means on a chip."""

    circuit: float
    quadrant: float = 0.0


@dataclasses.dataclass(frozen=True)
class Mismatch:
    """The fixed pattern of a chip before calibration, as the spread of what one code does.

    Potentials (leak, reset, threshold, and the others as `potential`), synin_shift: in codes that reach one potential.
    The others: natural logarithms. The numbers are those of three measured chips where these are known: the spread of
    the codes that a calibration has found for one common target; tau_syn's code has 1 / 1.17 of the spread of the
    circuit, whose rate rises faster than the code. Unknown, and chosen: capacitance, tau_reset, all of the AdEx part.

    correlated_potentials: correlation of leak and reset; correlated_strengths: of both inputs' strengths.
    cadc_offset: LSB; cadc_gain: logarithm; cadc_slope: codes of the ramp that reach a gain of 1 in each quadrant.
    synapse, driver: of the charge of single synapses, and of the pulses of single rows.

    Raises ValueError for negative spreads, and for correlations beyond -1 and 1.
    """

    leak: Spread = Spread(28.0, 9.0)
    reset: Spread = Spread(26.0, 9.0)
    threshold: Spread = Spread(13.0, 9.0)
    potential: Spread = Spread(26.0, 9.0)
    tau_mem: Spread = Spread(0.115, 0.035)
    tau_syn: Spread = Spread(0.215, 0.2)
    i_synin_gm: Spread = Spread(0.05, 0.2)
    synin_shift: Spread = Spread(105.0, 10.0)
    capacitance: Spread = Spread(0.02)
    tau_reset: Spread = Spread(0.1)
    adaptation: Spread = Spread(0.1, 0.05)
    sharpness: Spread = Spread(0.1, 0.05)
    offset: Spread = Spread(0.1, 0.05)
    cadc_offset: Spread = Spread(9.6)
    cadc_gain: Spread = Spread(0.01)
    cadc_slope: Spread = Spread(0.0, 33.0)
    synapse: float = 0.04
    driver: float = 0.03
    correlated_potentials: float = 0.61
    correlated_strengths: float = 0.42

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, Spread):
                check_type(field.name, value, Spread)
            if not field.name.startswith("correlated"):
                for number in value if isinstance(value, Spread) else (value,):
                    check_not_negative(field.name, number)
            elif not -1 <= value <= 1:
                raise ValueError(f"{field.name} must be a correlation, -1 to 1, but is {value}.")


MEASURED = Mismatch()
"""Chips as they are."""
CALIBRATED = Mismatch(
    leak=Spread(9.0),
    reset=Spread(5.5),
    threshold=Spread(4.5),
    tau_mem=Spread(0.05),
    tau_syn=Spread(0.04),
    i_synin_gm=Spread(0.03),
    synin_shift=Spread(5.0),
    cadc_offset=Spread(2.5),
    cadc_slope=Spread(0.0),
)
"""The most that calix lets a calibration leave, as if it were the fixed pattern: with its default codes, a quick
stand-in for a calibrated chip."""
_NOTHING: dict[str, Any] = {
    field.name: Spread(0.0) if isinstance(field.default, Spread) else 0.0
    for field in dataclasses.fields(Mismatch)
    if not field.name.startswith("correlated")
}
NONE = Mismatch(**_NOTHING)
"""A chip without a fixed pattern."""


def draw(key: PRNGKeyArray, spread: Spread, limits: Limits) -> Float[Array, " circuits"]:
    """Deviations of all circuits: those of their quadrants, and their own."""
    one, other = jax.random.split(key)
    quadrants = spread.quadrant * jax.random.normal(one, (limits.quadrants,))
    return quadrants[limits.quadrant()] + spread.circuit * jax.random.normal(other, (limits.circuits,))


def draw_two(
    key: PRNGKeyArray, spreads: tuple[Spread, Spread], correlation: float, limits: Limits
) -> tuple[Float[Array, " circuits"], Float[Array, " circuits"]]:
    """Deviations of two parameters that are correlated between the circuits of a quadrant, and between quadrants."""
    one, other = jax.random.split(key)
    unit = Spread(1.0, 0.0), Spread(0.0, 1.0)
    first, second = ([draw(k, part, limits) for part in unit] for k in (one, other))
    rest = (1 - correlation**2) ** 0.5
    second = [correlation * a + rest * b for a, b in zip(first, second, strict=True)]

    def scaled(parts, spread):
        return spread.circuit * parts[0] + spread.quadrant * parts[1]

    return scaled(first, spreads[0]), scaled(second, spreads[1])
