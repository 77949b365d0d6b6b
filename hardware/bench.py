"""What all searches of a calibration share: its bench, what it shows to the chip, and what it looks for."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hardware.codes import Codes
from hardware.device import Measurement
from hardware.limits import Limits
from hardware.targets import Targets
from hardware.units import nominal_code, relative_capacitance

NEUTRAL = 10.0
"""µs: tau_mem while synaptic inputs are measured, whatever its target is."""
MIDDLE = 120.0
"""LSB: where the references of the inputs are compared, far from both ends of the CADC."""
EVENT = 6.0
"""µs before the event of a postsynaptic potential, for its base line."""
ROWS = 8
"""Of synapses that such an event reaches, so that their own pattern plays a small part."""
LONG, SHORT = 2.0, 36.0
"""Weight of such an event per row, for long tau_syn and for the shortest: PSPs are known to be linear so far."""
HELD = {"refractory_counter": 250.0, "refractory_clock": 0.0}
"""2 µs at the reset potential."""
BRIEFLY = {"refractory_counter": 1.0, "refractory_clock": 0.0}
"""8 ns there: hardly anything."""
SETTLED = 10.0
"""µs after which resting membranes are read."""
SIGN = {"exc": 1, "inh": -1}
OFF = {"i_synin_gm_exc": 0.0, "i_synin_gm_inh": 0.0}

Found = dict[str, Array]
"""Codes by their names, [circuits]: those of `NAMES`."""
SEARCHED: tuple[str, ...] = (
    "tau_syn_exc",
    "tau_syn_inh",
    "threshold",
    "synin_shift_exc",
    "synin_shift_inh",
    "i_synin_gm_exc",
    "i_synin_gm_inh",
    "leak",
    "tau_mem",
    "reset",
)
"""The codes that are searched for."""
REVERSING: tuple[str, ...] = ("e_reference_exc", "e_reference_inh", "e_reversal_exc", "e_reversal_inh")
"""The codes of COBA inputs, which are searched for where there are any."""
ADDED: tuple[str, ...] = ("onset", "sharpness", "adaptation_a", "tau_adaptation", "adaptation_b", "offset")
"""The codes of exponential and adaptation and of the constant current, which are searched for where there are any."""
NAMES: tuple[str, ...] = ("neutral", "below", "at_onset", "drive", *SEARCHED, *REVERSING, *ADDED)
"""Some are never set in the end, `neutral`, the code of tau_mem at which it is 10 µs, leaks at which the membrane rests
`below` the threshold and `at_onset`, and `drive`, the constant current that adaptation is measured with."""


class Shown(NamedTuple):
    """One measurement: the codes, when an event comes to either input (`inf`: none), and its weight."""

    codes: Codes
    times: tuple[Float[Array, " events"], Float[Array, " events"]]
    weight: Float[Array, " circuits"]


class Stage(NamedTuple):
    """A code to search for, so that what is seen is `goal`.

    rising: whether that rises with the code. in_units: the goal is a code of a strength, to be multiplied by the
    strength of one code. show: what to measure with codes found and the one that is tried. see: of a measurement, with
    `about`, the number around which it looks, and `sign`, that of the response. judged: whether the code is only
    measured here, not searched for.
    """

    name: str
    rising: bool
    goal: Float[Array, " circuits"]
    show: Callable[[Found, Array], Shown]
    see: Callable[[Measurement, Array, Any], Array]
    about: Float[Array, " circuits"]
    sign: int = 1
    in_units: bool = False
    judged: bool = False


class Wanted(NamedTuple):
    """A target that only some circuits have, `where`; the others are measured as if, and keep their codes.

    name: of the target. value: of it. scale: how much more of it there is where what is seen has doubled, to first
    order. tolerance: the largest residual of a success.
    """

    name: str
    value: Float[Array, " circuits"]
    where: Bool[Array, " circuits"]
    scale: Float[Array, " circuits"]
    tolerance: Float[Array, " circuits"] | float


class Bench(NamedTuple):
    """What all measurements of one calibration share. codes: those that need no search; duration: µs, of each."""

    codes: Codes
    targets: Targets
    limits: Limits
    duration: float

    @property
    def capacitance(self) -> Array:
        """What a capacitance nominally is, relative to the largest."""
        return relative_capacitance(jnp.round(self.targets.membrane_capacitance), self.limits)

    @property
    def period(self) -> Array:
        """Of the refractory clock, µs."""
        return 2 ** (self.codes.refractory_clock + 1) / self.limits.clock

    def nominal(self, potential: Any) -> Array:
        """The codes of a potential on average: they need not be right."""
        return jnp.clip(jnp.round(nominal_code(potential)), 0, self.limits.largest_code)

    def shown(
        self, found: Found, changed: dict[str, Any], event: str | None = None, weight: Array | float = 0.0
    ) -> Shown:
        """A measurement with an event at the input `exc` or `inh`. The threshold is out of the way if not changed."""
        given = {name: found[name] for name in (*SEARCHED, *REVERSING)}
        given |= {"threshold": self.limits.largest_code, "holdoff_time": 15.0} | BRIEFLY | changed
        codes = dataclasses.replace(self.codes, **{name: self.each(code) for name, code in given.items()})
        times = tuple(jnp.full(1, EVENT if event == end else jnp.inf, codes.leak.dtype) for end in ("exc", "inh"))
        return Shown(codes, (times[0], times[1]), self.each(weight))

    def each(self, x: Any) -> Array:
        """One number per circuit."""
        like = self.codes.leak
        return jnp.broadcast_to(jnp.asarray(x, like.dtype), like.shape)

    def weight(self, end: str, code: Array | float = 500.0) -> Array:
        """Of an event, per row: `LONG` if tau_syn is 10 µs or longer, more if it is shorter.

        And more for weak synapse DACs, and for a weak input. code: its strength, i_synin_gm.
        """
        shorter = jnp.clip(NEUTRAL / getattr(self.targets, f"tau_syn_{end}"), 1, SHORT / LONG)
        weaker = 600.0 / self.targets.synapse_dac_bias * 500.0 / jnp.maximum(code, 30.0)
        return jnp.clip(jnp.round(LONG * shorter * weaker), 1, self.limits.largest_weight)


def neutral(found: Found) -> dict[str, Any]:
    """tau_mem 10 µs."""
    return {"tau_mem": found["neutral"], "leak_gear": 0.0}
