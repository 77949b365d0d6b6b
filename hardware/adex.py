"""The searches for what makes a circuit an AdEx neuron: exponential, adaptation, a constant current."""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from hardware import observables
from hardware.bench import HELD, NEUTRAL, OFF, SETTLED, Bench, Found, Shown, Stage, Wanted, neutral
from hardware.device import Features, Measurement
from hardware.targets import Targets
from hardware.units import CODES_PER_LSB

MARGIN = 12.0
"""LSB that the membrane rests below the threshold while adaptation is measured."""
RAISED = 60.0
"""LSB by which a constant current then lifts it."""
EVENTS = (16.0, 16.25, 16.5, 16.75)
"""µs: when events come, the first of which lets every circuit spike once."""
CLAMP = {"refractory_counter": 250.0, "refractory_clock": 1.0}
"""4 µs at the reset potential: the events are over then."""
PERIOD = 0.016
"""µs, of this clock: the clamp opens one period early."""
CLAMPED = 250 * PERIOD - PERIOD
SLOW = 50.0
"""µs after which a membrane with adaptation rests."""
FALL = 30.0
"""LSB below its onset: where a circuit with an exponential is reset."""
LEAST = {"adaptation_a": 0.005, "adaptation_b": 0.1, "offset": 0.1}
"""Residuals of a success beyond 20 %: 1/µs, LSB/µs."""
ONSET = 5.0
"""Largest residual of the onset in a success, LSB."""
RELATIVE = 0.2
CROSSED = 1.36
"""In tau_mem: a membrane whose leak is at its onset passes that so long before its spike, whatever the sharpness."""
AROUND = (CROSSED * NEUTRAL - 1.0, CROSSED * NEUTRAL + 1.0)
"""µs before spikes: where the onset is seen."""
LATE, EARLY = (0.5, 1.5), (3.5, 8.0)
"""µs before spikes: between which the sharpness is seen."""


def wanted(targets: Targets) -> dict[str, Wanted]:
    """What these circuits shall be, by the names of their codes; nothing if no circuit has any of it.

    Signs are set, not measured: the values of adaptation are without.
    """
    found = {}
    if targets.onset is not None and targets.sharpness is not None:
        where = ~jnp.isnan(targets.onset) & ~jnp.isnan(targets.sharpness)
        onset = jnp.where(where, targets.onset, jnp.maximum(targets.threshold - 20, 45))
        sharpness = jnp.where(where, targets.sharpness, 4.0)
        found |= {
            "onset": Wanted("onset", onset, where, onset, ONSET),
            "sharpness": Wanted("sharpness", sharpness, where, sharpness, RELATIVE * sharpness),
        }
    if targets.adaptation_a is not None and targets.adaptation_b is not None and targets.tau_adaptation is not None:
        where = ~jnp.isnan(targets.adaptation_a) & ~jnp.isnan(targets.adaptation_b) & ~jnp.isnan(targets.tau_adaptation)
        tau = jnp.where(where, targets.tau_adaptation, 100.0)
        for name, other, about in (("adaptation_a", 0.02, 1 / NEUTRAL), ("adaptation_b", 0.5, 1.0)):
            size = _size(jnp.where(where, getattr(targets, name), other))
            found[name] = Wanted(name, size, where, about + size, RELATIVE * size + LEAST[name])
        found["tau_adaptation"] = Wanted("tau_adaptation", tau, where, tau, RELATIVE * tau)
    if targets.offset is not None:
        where = ~jnp.isnan(targets.offset)
        offset, below = jnp.where(where, targets.offset, 0.0), targets.threshold - MARGIN
        scale = below / NEUTRAL + offset
        found["offset"] = Wanted("offset", offset, where, scale, RELATIVE * offset + LEAST["offset"])
    return found


def _size(value: Array) -> Array:
    """Of a signed number, with a derivative at 0."""
    return jnp.where(value < 0, -value, value)


def features(goals: dict[str, Wanted]) -> Features:
    """Of the circuits while they are measured."""
    return Features(exponential="onset" in goals, adaptation="adaptation_a" in goals)


def longest(tau_adaptation: float | None) -> float:
    """µs that measurements take: three intervals of exponential ones, and what tells the longest time constant."""
    return max(100.0, 0.0 if tau_adaptation is None else min(EVENTS[0] + 5.0 + 5 * tau_adaptation, 150.0))


def searches(bench: Bench, goals: dict[str, Wanted]) -> list[Stage]:
    """Where membranes rest for it, and then the codes themselves."""
    stages = []
    if "onset" in goals:
        stages += [_resting(bench, "at_onset", goals["onset"].value), *_exponential(bench, goals)]
    if "adaptation_a" in goals or "offset" in goals:
        stages.append(_resting(bench, "below", bench.targets.threshold - MARGIN))
    if "adaptation_a" in goals:
        stages.append(_driven(bench, "drive", bench.each(RAISED / NEUTRAL)))
        stages += [_coupled(bench, goals["adaptation_a"].value), *_triggered(bench, goals)]
    if "offset" in goals:
        stages.append(_driven(bench, "offset", goals["offset"].value))
    return stages


def _shown(bench: Bench, found: Found, changed: dict[str, Any], spikes: bool = False) -> Shown:
    """A measurement with tau_mem 10 µs, of what is not changed all switched off; spikes: with the events."""
    bare = {"onset": bench.limits.largest_code, "adaptation_a": 0, "adaptation_b": 0, "offset": 0} | OFF
    bare |= {"sign_a": 1, "sign_b": 1}
    shown = bench.shown(found, neutral(found) | bare | changed, weight=float(bench.limits.largest_weight))
    never = jnp.full(len(EVENTS), jnp.inf, shown.times[0].dtype)
    times = jnp.asarray(EVENTS, never.dtype) if spikes else never
    return shown._replace(times=(times, never))


def _resting(bench: Bench, name: str, potential: Array) -> Stage:
    """A leak at which the membrane rests at this potential."""

    def show(found, code):
        return _shown(bench, found, {"leak": code})

    return Stage(name, True, potential, show, _rest, potential)


def _driven(bench: Bench, name: str, current: Array) -> Stage:
    """A constant current: tau_mem times as much lifts the membrane."""

    def show(found, code):
        return _shown(bench, found, {"leak": found["below"], "offset": code})

    goal = bench.targets.threshold - MARGIN + NEUTRAL * current
    return Stage(name, True, goal, show, _rest, goal)


def _rest(measurement: Measurement, about: Array, sign: Any) -> Array:
    return observables.mean_potential(measurement, SETTLED)


def _exponential(bench: Bench, goals: dict[str, Wanted]) -> list[Stage]:
    """Onset and sharpness of a circuit that fires, its leak being at the onset: potentials before its spikes.

    With tau_mem before a spike as the unit of time, that potential is V_T + D x(s), x' = x - exp(x) backwards in time
    from the threshold on. It passes the onset at s = 1.36 whatever the sharpness, which then tells the onset; how far
    it goes afterwards tells the sharpness, whatever the onset.
    """
    onset, sharpness, peak = goals["onset"].value, goals["sharpness"].value, bench.targets.threshold
    course = _upstroke((peak - onset) / sharpness, 1 / (NEUTRAL * bench.limits.madc_rate))

    def mean(window):
        first, last = (round(each * bench.limits.madc_rate) for each in window)
        return onset + sharpness * jnp.mean(course[first:last], axis=0)

    def show(name, together=False):
        def shown(found, code):
            farther = code - found["onset"] if together else 0.0
            leak = jnp.clip(found["at_onset"] + farther, 0, bench.limits.largest_code)
            drive = {"leak": leak, "reset": bench.nominal(onset - FALL)} | HELD
            on = {"threshold": found["threshold"], "onset": found["onset"], "sharpness": found["sharpness"]}
            return _shown(bench, found, drive | on | {name: code})

        return shown

    found = Stage("onset", True, mean(AROUND), show("onset"), _onset, onset)
    return [
        found,
        Stage("sharpness", True, mean(LATE) - mean(EARLY), show("sharpness"), _sharpness, sharpness),
        # How potentials follow the onset shows where the leak follows, too: with one of them circuits fall silent.
        found._replace(show=show("onset", together=True), judged=True),
    ]


def _upstroke(height: Array, step: float) -> Array:
    """x backwards in time from `height` on, 0.5, 1.5, ... steps before the spike, for 15 µs: by Runge-Kutta."""

    def rate(u):
        return 1 + u * jnp.log(u)

    def move(u, h):
        one = rate(u)
        two = rate(u + h / 2 * one)
        three = rate(u + h / 2 * two)
        return u + h / 6 * (one + 2 * two + 2 * three + rate(u + h * three))

    def go(u, _):
        return move(u, step), -jnp.log(u)

    first = move(jnp.exp(-jnp.minimum(height, 60.0)), step / 2)
    return lax.scan(go, first, length=round(1.5 / step))[1]


def _onset(measurement: Measurement, about: Array, sign: Any) -> Array:
    """Without spikes it is too high; if they come too early, too low."""
    potential, number = observables.potential_before(measurement, AROUND, AROUND[1] + 3.0)
    assert measurement.spikes is not None
    fires = measurement.spikes.times[:, 0] < jnp.inf
    return jnp.where(fires, jnp.where(number > 0, potential, 0), jnp.inf)


def _sharpness(measurement: Measurement, about: Array, sign: Any) -> Array:
    late, early = (observables.potential_before(measurement, each, EARLY[1] + 3.0)[0] for each in (LATE, EARLY))
    return late - early


def _coupled(bench: Bench, size: Array) -> Stage:
    """The conductance of adaptation: with it a constant current lifts the membrane by 1 + a tau_mem less."""
    below = bench.targets.threshold - MARGIN

    def show(found, code):
        fast = {"tau_adaptation": bench.limits.largest_code}
        return _shown(bench, found, {"leak": found["below"], "offset": found["drive"], "adaptation_a": code} | fast)

    def see(measurement, about, sign):
        return RAISED / jnp.maximum(observables.mean_potential(measurement, SLOW) - below, 0.5)

    return Stage("adaptation_a", True, 1 + NEUTRAL * size, show, see, size)


def _triggered(bench: Bench, goals: dict[str, Wanted]) -> list[Stage]:
    """Time constant and increment of adaptation, by the current that follows a single spike."""
    tau, size = goals["tau_adaptation"].value, goals["adaptation_b"].value

    def show(name):
        def shown(found, code):
            # Where membranes are held is known for the target of the reset; from there it is as far as it is nominally.
            farther = jnp.round(CODES_PER_LSB * (bench.targets.threshold - MARGIN - bench.targets.reset))
            held = jnp.clip(found["reset"] + farther, 0, bench.limits.largest_code)
            at = {"leak": found["below"], "reset": held}
            at |= {"threshold": found["threshold"], "tau_adaptation": found["tau_adaptation"]} | CLAMP
            at |= {"adaptation_b": jnp.round(700.0 * bench.capacitance)}
            event = {"i_synin_gm_exc": jnp.round(1000.0 * bench.capacitance), "tau_syn_exc": bench.limits.largest_code}
            return _shown(bench, found, at | event | {name: code}, spikes=True)

        return shown

    def time(measurement, about, sign):
        return observables.adaptation_time(measurement, about, NEUTRAL, EVENTS[0], CLAMPED)

    def increment(measurement, about, sign):
        return 1 + observables.adaptation_strength(measurement, about, NEUTRAL, EVENTS[0], CLAMPED)

    return [
        Stage("tau_adaptation", False, tau, show("tau_adaptation"), time, tau),
        Stage("adaptation_b", True, 1 + size, show("adaptation_b"), increment, tau),
    ]
