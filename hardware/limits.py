"""What a chip can hold, and how fast it is: plain numbers that all chips of a kind share."""

import dataclasses

import numpy as np

from eventprop.parameters import as_float, check_finite, check_positive, whole


@dataclasses.dataclass(frozen=True)
class Limits:
    """The static numbers of a chip; `BSS2` is BrainScaleS-2. Times in µs, potentials in LSB of the CADC.

    Structure: circuits = rows x columns, in `quadrants` of equal size (circuit c lies in row c // columns); each row of
    circuits has an array of synapses with `synapse_rows` rows, two per driver; driver d listens to bus d mod `buses`
    of its array. A row pair holds one signed input, so that a circuit has `fan_in` of them.
    """

    circuits: int = 512
    columns: int = 256
    quadrants: int = 4
    outputs: int = 8
    """Event outputs of the circuits; each serves the circuits of 256 / 8 columns, of all rows."""
    synapse_rows: int = 256
    """Rows of synapses per array."""
    buses: int = 4
    """Buses of synapse drivers per array; driver d listens to bus d mod 4."""
    addresses: int = 64
    """Sources that the synapses of one row can tell apart."""
    disabled: tuple[tuple[int, int], ...] = ()
    """Routes that must not be used, (crossbar input, bus): inputs 0-7 are the event outputs of circuits, 8-11 come from
    outside; bus 4 a + b is bus b of array a."""
    largest_weight: int = 63
    largest_code: int = 1022
    largest_capacitance: int = 63
    largest_sample: int = 255
    """Of the CADC."""
    cadc_period: float = 1.7
    madc_rate: float = 29.4
    """Samples per µs."""
    madc_largest_sample: int = 1023
    clock: float = 250.0
    """MHz."""
    stamp: float = 0.008
    """Resolution of time stamps, and the time of one event on a bus."""
    power: float = 0.175
    """W."""
    speedup: float = 1000.0
    """Times faster than biology."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            name = f"limits.{field.name}"
            if isinstance(field.default, int):
                whole(name, value, 1)
            elif isinstance(field.default, float):
                check_positive(name, as_float(name, value))
                check_finite(name, value)
        halves = self.columns, max(2, self.outputs)
        for total, part in ((self.circuits, self.columns), (self.circuits, self.quadrants), halves):
            if total % part:
                raise ValueError(
                    f"limits: {self.circuits} circuits in rows of {self.columns} columns, {self.quadrants} quadrants "
                    f"and {self.outputs} outputs do not fit: each must be a part of what it divides."
                )

    @property
    def arrays(self) -> int:
        """Rows of circuits, each with its array of synapses."""
        return self.circuits // self.columns

    @property
    def synapses(self) -> int:
        """Synapses of the whole chip."""
        return self.circuits * self.synapse_rows

    @property
    def fan_in(self) -> int:
        """Signed inputs of one circuit, each on a pair of rows."""
        return self.synapse_rows // 2

    def quadrant(self) -> np.ndarray:
        """The quadrant of each circuit [circuits]: halves of the rows, in order."""
        return np.arange(self.circuits) // (self.circuits // self.quadrants)

    def output(self) -> np.ndarray:
        """The event output of each circuit [circuits]; output k reaches the buses that are k mod 4 in their array."""
        return np.arange(self.circuits) % self.columns // (self.columns // self.outputs)


BSS2 = Limits()
"""BrainScaleS-2."""
