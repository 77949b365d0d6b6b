"""The searches that every calibration makes: what the chip is shown meanwhile, and what is read."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from hardware import observables
from hardware.bench import (
    ADDED,
    EVENT,
    HELD,
    MIDDLE,
    NEUTRAL,
    OFF,
    REVERSING,
    ROWS,
    SEARCHED,
    SETTLED,
    SIGN,
    Bench,
    Found,
    Shown,
    Stage,
    neutral,
)
from hardware.device import Measurement


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
    slow = jnp.round(300.0 * bench.capacitance)
    tau_mem = jnp.round(slow * NEUTRAL / (targets.tau_mem * 8.0**codes.leak_gear))
    found = {name: getattr(codes, name) for name in (*SEARCHED, *REVERSING, *ADDED)}
    found |= dict.fromkeys(("below", "at_onset"), codes.leak) | {"drive": codes.offset}
    found |= {"neutral": slow, "tau_mem": jnp.clip(tau_mem, 0, bench.limits.largest_code)}
    return found | {f"i_synin_gm_{end}": jnp.round(getattr(targets, f"i_synin_gm_{end}")) for end in ("exc", "inh")}


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
    """An event at one input, the other off; the leak high, where an input with the wrong reference leaves room.

    Inhibition lowers it, and must not come near the lower rail.
    """
    leak = bench.nominal(180.0 if end == "exc" else 215.0)
    return bench.shown(found, {"leak": leak} | neutral(found) | OFF | changed, end, weight)


def _synapse(bench: Bench, end: str) -> Stage:
    """tau_syn: a postsynaptic potential of a strong input."""
    name, strong = f"tau_syn_{end}", jnp.round(1000.0 * bench.capacitance)
    tau, weight = getattr(bench.targets, name), bench.weight(end)

    def show(found, code):
        return _input(bench, found, end, weight, {name: code, f"i_synin_gm_{end}": strong})

    def see(measurement, about, sign):
        return observables.synaptic_time(measurement, about, NEUTRAL, EVENT, sign)

    return Stage(name, False, tau, show, see, tau, SIGN[end])


def _spiking(bench: Bench) -> Stage:
    """The threshold: the leak is 50 LSB above it, the membrane fires over and over."""
    target = bench.targets.threshold
    drive = {"leak": bench.nominal(target + 50), "reset": bench.nominal(target - 50)}

    def show(found, code):
        return bench.shown(found, {"threshold": code} | drive | neutral(found) | OFF | HELD)

    return Stage("threshold", True, target, show, _threshold, target)


def _threshold(measurement: Measurement, about: Array, sign: Any) -> Array:
    return observables.threshold(measurement)


def _centred(bench: Bench) -> Stage:
    """A leak in the middle, with both inputs off."""

    def show(found, code):
        return bench.shown(found, {"leak": code} | neutral(found) | OFF)

    middle = bench.each(MIDDLE)
    return Stage("leak", True, middle, show, _rest, middle)


def _referring(bench: Bench, end: str) -> Stage:
    """The reference of an input: with the input on, the membrane rests where it rests without."""
    name, strength = f"synin_shift_{end}", f"i_synin_gm_{end}"

    def show(found, code):
        return bench.shown(found, neutral(found) | OFF | {name: code, strength: found[strength]})

    middle = bench.each(MIDDLE)
    return Stage(name, end == "exc", middle, show, _rest, middle)


def _strength(bench: Bench, end: str) -> Stage:
    """i_synin_gm: the slope that an event gives the membrane at first."""
    name, tau = f"i_synin_gm_{end}", getattr(bench.targets, f"tau_syn_{end}")
    weight = bench.weight(end, getattr(bench.targets, name))

    def show(found, code):
        return _input(bench, found, end, weight, {name: code})

    goal = ROWS * weight * getattr(bench.targets, name)

    def see(measurement, about, sign):
        return observables.strength(measurement, about, NEUTRAL, EVENT, sign)

    return Stage(name, True, goal, show, see, tau, SIGN[end], in_units=True)


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
