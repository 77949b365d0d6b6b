"""The measurements that calibration makes: what the chip is shown while a code is searched for, and what is read."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from hardware import observables
from hardware.codes import Codes
from hardware.device import Measurement
from hardware.limits import Limits
from hardware.targets import Targets
from hardware.units import nominal_code

NEUTRAL = 10.0
"""µs: tau_mem while synaptic inputs are measured, whatever its target is."""
MIDDLE = 120.0
"""LSB: where the references of the inputs are compared, far from both ends of the CADC."""
EVENT = 6.0
"""µs before the event of a postsynaptic potential, for its base line."""
ROWS = 8
"""Of synapses that such an event reaches, so that their own pattern plays a small part."""
LONG = {"exc": 2.0, "inh": 1.0}
"""Weight of such an event per row, for the strength at long tau_syn: inhibition has to be linear still."""
LARGEST = {"exc": 8.0, "inh": 4.0}
"""Weight of such an event per row, for the shortest tau_syn: inhibition saturates."""
HELD = {"refractory_counter": 250.0, "refractory_clock": 0.0}
"""2 µs at the reset potential."""
BRIEFLY = {"refractory_counter": 1.0, "refractory_clock": 0.0}
"""8 ns there: hardly anything."""
HIGH = 200.0
"""LSB: where COBA inputs differ clearly from what they are at their reference."""
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
NAMES: tuple[str, ...] = ("neutral", *SEARCHED, *REVERSING)
"""`neutral`: the code of tau_mem at which it is 10 µs."""


class Shown(NamedTuple):
    """One measurement: the codes, when an event comes to either input (`inf`: none), and its weight."""

    codes: Codes
    times: tuple[Float[Array, "1"], Float[Array, "1"]]
    weight: Float[Array, " circuits"]


class Stage(NamedTuple):
    """A code to search for, so that what is seen is `goal`.

    rising: whether that rises with the code. in_units: the goal is a code of a strength, to be multiplied by the
    strength of one code. show: what to measure with codes found and the one that is tried. see: of a measurement, with
    `about`, the number around which it looks, and `sign`, that of the response.
    """

    name: str
    rising: bool
    goal: Float[Array, " circuits"]
    show: Callable[[Found, Array], Shown]
    see: Callable[[Measurement, Array, Any], Array]
    about: Float[Array, " circuits"]
    sign: int = 1
    in_units: bool = False


class Bench(NamedTuple):
    """What all measurements of one calibration share. codes: those that need no search; duration: µs, of each."""

    codes: Codes
    targets: Targets
    limits: Limits
    duration: float

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

    def weight(self, end: str, long: float, code: Array | float = 500.0) -> Array:
        """Of an event, per row: `long` if tau_syn is 10 µs or longer, more if it is shorter.

        And more for weak synapse DACs, and for a weak input that does not saturate. code: its strength, i_synin_gm.
        """
        shorter = jnp.clip(NEUTRAL / getattr(self.targets, f"tau_syn_{end}"), 1, LARGEST[end] / long)
        weaker = 600.0 / self.targets.synapse_dac_bias * 500.0 / jnp.maximum(code, 30.0 if end == "exc" else 250.0)
        return jnp.clip(jnp.round(long * shorter * weaker), 1, self.limits.largest_weight)


def relative_capacitance(targets: Targets, limits: Limits) -> Array:
    """What a capacitance nominally is, relative to the largest: with parasitics."""
    return 0.08 + 0.92 * jnp.round(targets.membrane_capacitance) / limits.largest_capacitance


def searches(bench: Bench) -> tuple[list[Stage], list[Stage]]:
    """All searches in their order; before the second list the strength of one code has to be known."""
    leak = _resting(bench)
    first = [
        _relaxing(bench, "neutral"),
        _synapse(bench, "exc"),
        _synapse(bench, "inh"),
        _spiking(bench),
        _centred(bench),
        _referring(bench, "exc"),
        _referring(bench, "inh"),
    ]
    return first, [
        _strength(bench, "exc"),
        _strength(bench, "inh"),
        leak,
        _relaxing(bench, "tau_mem"),
        _clamped(bench),
        leak,
    ]


def start(bench: Bench) -> Found:
    """What stands in for codes that are not found yet."""
    targets, codes = bench.targets, bench.codes
    neutral = jnp.round(300.0 * relative_capacitance(bench.targets, bench.limits))
    tau_mem = jnp.round(neutral * NEUTRAL / (targets.tau_mem * 8.0**codes.leak_gear))
    found = {name: getattr(codes, name) for name in (*SEARCHED, *REVERSING)}
    found |= {"neutral": neutral, "tau_mem": jnp.clip(tau_mem, 0, bench.limits.largest_code)}
    return found | {f"i_synin_gm_{end}": jnp.round(getattr(targets, f"i_synin_gm_{end}")) for end in ("exc", "inh")}


def _neutral(found: Found) -> dict[str, Any]:
    return {"tau_mem": found["neutral"], "leak_gear": 0.0}


def _relaxing(bench: Bench, name: str) -> Stage:
    """tau_mem: clamped at 50 LSB for 2 µs, membranes rise to about 130."""
    ends = {"leak": bench.nominal(130.0), "reset": bench.nominal(50.0)}
    gear = {"leak_gear": 0.0} if name == "neutral" else {}
    goal = bench.each(NEUTRAL if name == "neutral" else bench.targets.tau_mem)

    def show(found, code):
        return bench.shown(found, {"tau_mem": code} | gear | ends | OFF | HELD)

    return Stage(name, False, goal, show, _relaxation, goal)


def _relaxation(measurement: Measurement, about: Array, sign: Any) -> Array:
    return observables.membrane_time(measurement, about, 2.1)


def _input(bench: Bench, found: Found, end: str, weight: Array, changed: dict[str, Any]) -> Shown:
    """An event at one input, the other off; the leak high, where an input with the wrong reference leaves room."""
    return bench.shown(found, {"leak": bench.nominal(180.0)} | _neutral(found) | OFF | changed, end, weight)


def _synapse(bench: Bench, end: str) -> Stage:
    """tau_syn: a postsynaptic potential of a strong input."""
    name, strong = f"tau_syn_{end}", jnp.round(1000.0 * relative_capacitance(bench.targets, bench.limits))
    tau, weight = getattr(bench.targets, name), bench.weight(end, 2.0)

    def show(found, code):
        return _input(bench, found, end, weight, {name: code, f"i_synin_gm_{end}": strong})

    return Stage(name, False, tau, show, _synaptic_time, tau, SIGN[end])


def _synaptic_time(measurement: Measurement, about: Array, sign: Any) -> Array:
    return observables.synaptic_time(measurement, about, NEUTRAL, EVENT, sign)


def _spiking(bench: Bench) -> Stage:
    """The threshold: the leak is 50 LSB above it, the membrane fires over and over."""
    target = bench.targets.threshold
    drive = {"leak": bench.nominal(target + 50), "reset": bench.nominal(target - 50)}

    def show(found, code):
        return bench.shown(found, {"threshold": code} | drive | _neutral(found) | OFF | HELD)

    return Stage("threshold", True, target, show, _threshold, target)


def _threshold(measurement: Measurement, about: Array, sign: Any) -> Array:
    return observables.threshold(measurement)


def _centred(bench: Bench) -> Stage:
    """A leak in the middle, with both inputs off."""

    def show(found, code):
        return bench.shown(found, {"leak": code} | _neutral(found) | OFF)

    middle = bench.each(MIDDLE)
    return Stage("leak", True, middle, show, _rest, middle)


def _referring(bench: Bench, end: str) -> Stage:
    """The reference of an input: with the input on, the membrane rests where it rests without."""
    name, strength = f"synin_shift_{end}", f"i_synin_gm_{end}"

    def show(found, code):
        return bench.shown(found, _neutral(found) | OFF | {name: code, strength: found[strength]})

    middle = bench.each(MIDDLE)
    return Stage(name, end == "exc", middle, show, _rest, middle)


def _strength(bench: Bench, end: str) -> Stage:
    """i_synin_gm: the slope that an event gives the membrane at first."""
    name, tau = f"i_synin_gm_{end}", getattr(bench.targets, f"tau_syn_{end}")
    weight = bench.weight(end, LONG[end], getattr(bench.targets, name))

    def show(found, code):
        return _input(bench, found, end, weight, {name: code})

    goal = ROWS * weight * getattr(bench.targets, name)
    return Stage(name, True, goal, show, _slope, tau, SIGN[end], in_units=True)


def _slope(measurement: Measurement, about: Array, sign: Any) -> Array:
    return observables.strength(measurement, about, NEUTRAL, EVENT, sign)


class Coba(NamedTuple):
    """What COBA inputs shall be, LSB [circuits]. where: whether a circuit has any; if not, it is measured as if."""

    potentials: dict[str, Array]
    where: Array

    @classmethod
    def of(cls, targets: Targets) -> "Coba | None":
        """None if no circuit has any. potentials: by the names of their codes."""
        exc, inh = targets.e_coba_reversal_exc, targets.e_coba_reversal_inh
        if exc is None or inh is None:
            return None
        middle = (targets.leak + targets.threshold) / 2
        wanted = {
            "e_reversal_exc": (exc, 300.0),
            "e_reversal_inh": (inh, 30.0),
            "e_reference_exc": (targets.e_coba_reference_exc, middle),
            "e_reference_inh": (targets.e_coba_reference_inh, middle),
        }
        potentials = {
            name: jnp.asarray(other) if given is None else jnp.where(jnp.isnan(given), other, given)
            for name, (given, other) in wanted.items()
        }
        return cls(potentials, ~jnp.isnan(exc) & ~jnp.isnan(inh))

    def of_end(self, end: str) -> tuple[Array, Array]:
        """Reversal potential and reference of an input."""
        return self.potentials[f"e_reversal_{end}"], self.potentials[f"e_reference_{end}"]

    def scales(self) -> dict[str, Array]:
        """Of each potential, LSB per relative change of the strength that tells it."""
        found = {}
        for end in ("exc", "inh"):
            reversal, reference = self.of_end(end)
            distance = reversal - reference
            found[f"e_reference_{end}"] = distance
            found[f"e_reversal_{end}"] = 1 / (1 / (reversal - HIGH) - 1 / distance)
        return found


def coba_searches(bench: Bench, coba: Coba) -> list[Stage]:
    """References and reversal potentials of COBA inputs, the strengths of CUBA ones being known."""
    return [stage for end in ("exc", "inh") for stage in _reversing(bench, coba, end)]


def _reversing(bench: Bench, coba: Coba, end: str) -> tuple[Stage, Stage]:
    """How strong an event is, over what it shall be where the membrane is.

    Near the reference this tells the reference, whatever the reversal potential; far from it, then, the reversal.
    """
    tau, code = getattr(bench.targets, f"tau_syn_{end}"), getattr(bench.targets, f"i_synin_gm_{end}")
    weight = bench.weight(end, LONG[end], code)
    goal = ROWS * weight * code
    reversal, reference = coba.of_end(end)
    # An inhibitory reversal potential above the reference would look like one below it.
    highest = bench.limits.largest_code if end == "exc" else bench.nominal((reversal + reference) / 2)

    def see(measurement, about, sign):
        return observables.relative_strength(measurement, about, NEUTRAL, EVENT, sign, reversal, reference)

    def stage(name, rising, leak, most):
        def show(found, code):
            on = f"i_synin_gm_{end}"
            changed = {name: jnp.minimum(code, most), "leak": bench.nominal(leak), on: found[on]}
            return bench.shown(found, _neutral(found) | OFF | changed, end, weight)

        return Stage(name, rising, goal, show, see, tau, SIGN[end], in_units=True)

    at_reference = stage(f"e_reference_{end}", end == "exc", reference, bench.limits.largest_code)
    return at_reference, stage(f"e_reversal_{end}", True, HIGH, highest)


def _resting(bench: Bench) -> Stage:
    """The leak: where membranes rest."""
    target = bench.targets.leak
    return Stage("leak", True, target, lambda found, code: bench.shown(found, {"leak": code}), _rest, target)


def _clamped(bench: Bench) -> Stage:
    """The reset: membranes are held there, against the leak."""
    slowest = jnp.ceil(jnp.log2(bench.duration * bench.limits.clock / 255)) - 1
    held = {"refractory_counter": 255.0, "refractory_clock": slowest}

    def show(found, code):
        return bench.shown(found, {"reset": code} | held)

    return Stage("reset", True, bench.targets.reset, show, _rest, bench.targets.reset)


def _rest(measurement: Measurement, about: Array, sign: Any) -> Array:
    return observables.mean_sample(measurement, SETTLED)
