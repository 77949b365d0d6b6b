"""The measurements that calibration makes: what the chip is shown while a code is searched for, and what is read."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from hardware import observables
from hardware.codes import Codes
from hardware.device import Measurement
from hardware.limits import Limits
from hardware.targets import Targets

NEUTRAL = 10.0
"""µs: tau_mem while synaptic inputs are measured, whatever its target is."""
MIDDLE = 120.0
"""LSB: where the references of the inputs are compared, far from both ends of the CADC."""
EVENT = 6.0
"""µs before the event of a postsynaptic potential, for its base line."""
WEIGHT = 15.0
"""Of such an event, if tau_syn is 10 µs or longer: the inhibitory input is still linear."""
HELD = {"refractory_counter": 250.0, "refractory_clock": 0.0}
"""2 µs at the reset potential."""
BRIEFLY = {"refractory_counter": 1.0, "refractory_clock": 0.0}
OFF = {"i_synin_gm_exc": 0.0, "i_synin_gm_inh": 0.0}

Found = dict[str, Array]
"""Codes by their names [circuits], besides `neutral`, that of tau_mem 10 µs, and `unit`, the strength per code."""


class Shown(NamedTuple):
    """One measurement: the codes, when an event comes to either input (`inf`: none), and its weight."""

    codes: Codes
    times: tuple[Float[Array, "1"], Float[Array, "1"]]
    weight: Float[Array, " circuits"]


class Stage(NamedTuple):
    """A code to search for: `see` shall be `goal` for what is shown with it; rising: whether it rises with the code."""

    name: str
    rising: bool
    goal: Callable[[Found], Array]
    show: Callable[[Found, Array], Shown]
    see: Callable[[Measurement], Array]


class Bench(NamedTuple):
    """What all measurements of one calibration share. codes: those that need no search; duration: µs, of each."""

    codes: Codes
    targets: Targets
    limits: Limits
    duration: float

    def relative_capacitance(self) -> Array:
        """What a capacitance nominally is, relative to the largest: with parasitics."""
        return 0.08 + 0.92 * self.targets.membrane_capacitance / self.limits.largest_capacitance

    def nominal(self, potential: Any) -> Array:
        """The codes of a potential on average, 22 + 2.4 V: they need not be right."""
        return jnp.clip(jnp.round(22.0 + 2.4 * potential), 0, self.limits.largest_code)

    def shown(self, found: Found, event: str | None = None, **changed: Any) -> Shown:
        """A measurement with an event at the input `exc` or `inh`. The threshold is out of the way if not changed."""
        given = {name: code for name, code in found.items() if name not in ("neutral", "unit")}
        given |= {"threshold": self.limits.largest_code, "holdoff_time": 15.0} | BRIEFLY | changed
        like = self.codes.leak
        codes = dataclasses.replace(
            self.codes, **{name: jnp.broadcast_to(jnp.asarray(x, like.dtype), like.shape) for name, x in given.items()}
        )
        times = tuple(jnp.full(1, EVENT if event == end else jnp.inf, like.dtype) for end in ("exc", "inh"))
        return Shown(codes, (times[0], times[1]), self.weight(event or "exc"))

    def weight(self, end: str) -> Array:
        """Of an event, larger for short time constants."""
        tau = getattr(self.targets, f"tau_syn_{end}")
        return jnp.clip(jnp.round(WEIGHT * NEUTRAL / tau), WEIGHT, self.limits.largest_weight)


def searches(bench: Bench) -> tuple[list[Stage], list[Stage]]:
    """All searches in their order; in front of the second list the strength of one code has to be known."""
    first = [
        _relaxing(bench, "neutral", neutral=True),
        _synapse(bench, "tau_syn_exc"),
        _synapse(bench, "tau_syn_inh"),
        _spiking(bench),
        _resting(bench, "leak", MIDDLE, **OFF),
        _referring(bench, "exc"),
        _referring(bench, "inh"),
    ]
    second = [
        _strength(bench, "exc"),
        _strength(bench, "inh"),
        _resting(bench, "leak", bench.targets.leak),
        _relaxing(bench, "tau_mem"),
        _clamped(bench),
        _resting(bench, "leak", bench.targets.leak),
    ]
    return first, second


def targeted(bench: Bench) -> list[Stage]:
    """Every code that has a target of its own, once."""
    first, second = searches(bench)
    chosen = {stage.name: stage for stage in (*first, *second)}
    return [stage for name, stage in chosen.items() if hasattr(bench.targets, name)]


def start(bench: Bench) -> Found:
    """What stands in for codes that are not found yet."""
    targets, codes = bench.targets, bench.codes
    neutral = jnp.round(300.0 * bench.relative_capacitance())
    tau_mem = neutral * NEUTRAL / (targets.tau_mem * 8.0**codes.leak_gear)
    shifts = {f"synin_shift_{end}": getattr(codes, f"synin_shift_{end}") for end in ("exc", "inh")}
    strengths = {f"i_synin_gm_{end}": jnp.round(getattr(targets, f"i_synin_gm_{end}")) for end in ("exc", "inh")}
    others = {name: getattr(codes, name) for name in ("tau_syn_exc", "tau_syn_inh", "threshold", "leak", "reset")}
    whole = {"neutral": neutral, "tau_mem": jnp.clip(jnp.round(tau_mem), 0, bench.limits.largest_code)}
    return whole | shifts | strengths | others | {"unit": jnp.ones_like(neutral)}


def _fixed(goal: Any, bench: Bench) -> Callable[[Found], Array]:
    return lambda found: jnp.broadcast_to(jnp.asarray(goal, bench.codes.leak.dtype), bench.codes.leak.shape)


def _neutral(found: Found) -> dict[str, Any]:
    return {"tau_mem": found["neutral"], "leak_gear": 0.0}


def _relaxing(bench: Bench, name: str, neutral: bool = False) -> Stage:
    """tau_mem: clamped at 50 LSB for 2 µs, membranes rise to about 130."""
    goal = _fixed(NEUTRAL if neutral else bench.targets.tau_mem, bench)

    def show(found, code):
        changed = {"tau_mem": code} | ({"leak_gear": 0.0} if neutral else {})
        return bench.shown(found, leak=bench.nominal(130.0), reset=bench.nominal(50.0), **changed, **OFF, **HELD)

    return Stage(name, False, goal, show, lambda m: observables.membrane_time(m, goal({}), 2.1))


def _input(bench: Bench, found: Found, end: str, **changed: Any) -> Shown:
    """An event at one input, the other off; the leak high, where an input with the wrong reference leaves room."""
    return bench.shown(found, end, **_neutral(found), leak=bench.nominal(180.0), **(OFF | changed))


def _synapse(bench: Bench, name: str) -> Stage:
    """tau_syn: a postsynaptic potential of a strong input."""
    end, tau = name[-3:], getattr(bench.targets, name)
    strong = jnp.round(1000.0 * bench.relative_capacitance())

    def show(found, code):
        return _input(bench, found, end, **{name: code, f"i_synin_gm_{end}": strong})

    see = partial(observables.synaptic_time, guess=tau, tau_mem=NEUTRAL, begin=EVENT, sign=_sign(end))
    return Stage(name, False, _fixed(tau, bench), show, see)


def _spiking(bench: Bench) -> Stage:
    """The threshold: the leak is 50 LSB above it, the membrane fires over and over."""
    target = bench.targets.threshold

    def show(found, code):
        drive = {"leak": bench.nominal(target + 50), "reset": bench.nominal(target - 50)}
        return bench.shown(found, threshold=code, **drive, **_neutral(found), **OFF, **HELD)

    return Stage("threshold", True, _fixed(target, bench), show, observables.threshold)


def _resting(bench: Bench, name: str, goal: Any, **changed: Any) -> Stage:
    """The leak: where membranes rest."""
    middle = bool(changed)

    def show(found, code):
        return bench.shown(found, leak=code, **changed, **(_neutral(found) if middle else {}))

    return Stage(name, True, _fixed(goal, bench), show, _rest(bench))


def _rest(bench: Bench) -> Callable[[Measurement], Array]:
    return partial(observables.mean_sample, begin=bench.duration / 4)


def _referring(bench: Bench, end: str) -> Stage:
    """The reference of an input: with the input on, the membrane rests where it rests without."""
    name, strength = f"synin_shift_{end}", f"i_synin_gm_{end}"

    def show(found, code):
        return bench.shown(found, **_neutral(found), **(OFF | {name: code, strength: found[strength]}))

    return Stage(name, end == "exc", _fixed(MIDDLE, bench), show, _rest(bench))


def _strength(bench: Bench, end: str) -> Stage:
    """i_synin_gm: the slope that an event gives the membrane, per weight."""
    name, tau = f"i_synin_gm_{end}", getattr(bench.targets, f"tau_syn_{end}")

    def show(found, code):
        return _input(bench, found, end, **{name: code})

    def see(measurement):
        return observables.strength(measurement, tau, NEUTRAL, EVENT, _sign(end)) / bench.weight(end)

    return Stage(name, True, lambda found: found["unit"] * getattr(bench.targets, name), show, see)


def _clamped(bench: Bench) -> Stage:
    """The reset: membranes are held there, against the leak."""
    clock = bench.limits.clock
    slowest = jnp.ceil(jnp.log2(bench.duration * clock / 255)) - 1

    def show(found, code):
        return bench.shown(found, reset=code, refractory_counter=255.0, refractory_clock=slowest)

    return Stage("reset", True, _fixed(bench.targets.reset, bench), show, partial(observables.mean_sample, begin=5.0))


def _sign(end: str) -> int:
    return 1 if end == "exc" else -1
