"""Finding the codes that make a chip's circuits what they shall be, from noisy measurements alone."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PRNGKeyArray

from eventprop.parameters import check_type, is_concrete
from hardware.calibration import Calibration
from hardware.codes import Codes
from hardware.device import AbstractDevice, Features, Measurement, Stimulus
from hardware.observables import mean_sample, membrane_time, strength, synaptic_time, threshold
from hardware.search import averaged, search
from hardware.targets import Targets

QUIET = Features(spiking=False)
TOLERANCE = {
    "leak": 5.0,
    "reset": 5.0,
    "threshold": 5.0,
    "tau_mem": 0.2,
    "tau_syn_exc": 0.2,
    "tau_syn_inh": 0.2,
    "i_synin_gm_exc": 0.2,
    "i_synin_gm_inh": 0.2,
}
"""Largest residuals of a success: LSB, or relative."""
EVENT = 6.0
"""µs before an event of a stimulus, for the base line."""
WEIGHT = 25.0
"""Of such an event: the inhibitory input is still linear."""
NOMINAL_ZERO, NOMINAL_SLOPE = 22.0, 2.4
"""The code of a potential, on average: 22 + 2.4 V."""


class _Bench(NamedTuple):
    """The device, what its circuits shall be, and how long measurements last (Python numbers)."""

    device: AbstractDevice
    targets: Targets
    longest_mem: float
    longest_syn: float


def calibrate(device: AbstractDevice, targets: Targets, key: PRNGKeyArray) -> Calibration:
    """Codes at which the chip's circuits hit their targets, all 512 at once.

    Binary searches on measurements (`device.measure`), in this order: CADC, synaptic time constants, synapse DAC bias,
    threshold, synaptic strengths and references, leak, membrane time constant, reset, leak again; refractory times by
    the clock. Then everything is measured once more: `Calibration.residuals` and `success`.

    Strengths: the target 500 means the median of all circuits' inputs at the code 500; excitation matches inhibition.

    Derivatives: the codes of potentials, time constants and strengths move with their targets as measured,
    d code / d target = 1 / (d measured / d code); measured numbers have none. jit and `lax.map` over chips work; with
    traced targets measurements take as long as the longest time constants that there are.
    """
    check_type("device", device, AbstractDevice)
    check_type("targets", targets, Targets)
    longest_syn = max(_longest(targets.tau_syn_exc, 30), _longest(targets.tau_syn_inh, 30))
    return _calibrate(device, targets, key, _longest(targets.tau_mem, 60), longest_syn)


def _longest(value: Array, most: float) -> float:
    return float(np.max(np.asarray(value))) if is_concrete(value) else float(most)


@eqx.filter_jit
def _calibrate(
    device: AbstractDevice, targets: Targets, key: PRNGKeyArray, longest_mem: float, longest_syn: float
) -> Calibration:
    fixed = lax.stop_gradient(targets)
    bench = _Bench(lax.stop_gradient(device), fixed, longest_mem, longest_syn)
    keys = iter(jax.random.split(key, 16))
    codes = _digital(Codes.default(device.limits), fixed, device)
    codes = _cadc(bench, codes, next(keys))
    tau_mem = averaged(_observer(bench, codes, "tau_mem", None), codes.tau_mem, next(keys), 2)
    for name in ("tau_syn_exc", "tau_syn_inh", "threshold"):
        codes = _found(bench, codes, name, tau_mem, next(keys))
    codes, unit = _strengths(bench, codes, tau_mem, next(keys))
    for name in ("leak", "tau_mem", "reset", "leak"):
        codes = _found(bench, codes, name, tau_mem, next(keys))
    residuals, slopes = _judged(bench, codes, unit, next(keys))
    good = jnp.ones_like(targets.spiking)
    for name, residual in residuals.items():
        ok = jnp.abs(residual) <= TOLERANCE[name]
        good &= ok | ~targets.spiking if name == "threshold" else ok
    moving = {name: _following(getattr(codes, name), getattr(targets, name), slopes[name]) for name in slopes}
    return Calibration(dataclasses.replace(codes, **moving), residuals, good, jnp.asarray(device.identity))


def _following(code: Array, target: Array, slope: Array) -> Array:
    """The code, which moves with its target by the inverse of what has been measured."""
    return lax.stop_gradient(code) + (target - lax.stop_gradient(target)) / lax.stop_gradient(slope)


def _digital(codes: Codes, targets: Targets, device: AbstractDevice) -> Codes:
    """What needs no measurement: clocks, capacitances, gears, the bias of the synapse DACs."""
    clock = device.limits.clock
    exponent = jnp.ceil(jnp.log2(jnp.maximum(targets.refractory_time * clock / 255, 2)))
    period = 2**exponent / clock
    counter = jnp.clip(jnp.round(targets.refractory_time / period), 1, 255)
    holdoff = 15 - jnp.clip(jnp.round((targets.holdoff_time / period - 1) / 2), 0, 15)
    capacitance = jnp.round(targets.membrane_capacitance)
    # Small time constants lie beyond the leak's codes, unless its current is multiplied.
    fast = targets.tau_mem < 4.0 * (0.1 + 0.9 * capacitance / device.limits.largest_capacitance)
    bias = jnp.broadcast_to(jnp.round(targets.synapse_dac_bias), codes.synapse_dac_bias.shape)
    return dataclasses.replace(
        codes,
        refractory_counter=counter,
        refractory_clock=exponent - 1,
        holdoff_time=holdoff,
        membrane_capacitance=capacitance,
        leak_gear=fast.astype(codes.leak_gear.dtype),
        synapse_dac_bias=bias,
    )


def _cadc(bench: _Bench, codes: Codes, key: PRNGKeyArray) -> Codes:
    """The ramp of each quadrant from two reference potentials, then the offset of each channel at a third one."""
    first, second = jax.random.split(key)
    quadrant = bench.device.limits.quadrant()
    count = bench.device.limits.quadrants

    def read(codes, potential, k):
        return mean_sample(bench.device.measure(codes, Stimulus(34.0, reference=potential, features=QUIET), k))

    def span(slope, k):
        trial = dataclasses.replace(codes, cadc_slope=slope)
        low, high = lax.map(lambda at: read(trial, at[0], at[1]), (jnp.asarray([60.0, 180.0]), jax.random.split(k)))
        return jax.ops.segment_sum(high - low, quadrant, count) / (quadrant.size // count)

    slope, _ = search(span, jnp.full(count, 120.0), first, rising=False)
    codes = dataclasses.replace(codes, cadc_slope=slope)
    seen = averaged(lambda _, k: read(codes, jnp.asarray(120.0), k), codes.leak, second, 4)
    return dataclasses.replace(codes, cadc_offset=jnp.clip(jnp.round(120 - seen), -128, 127))


def _found(bench: _Bench, codes: Codes, name: str, tau_mem: Array, key: PRNGKeyArray) -> Codes:
    """The codes with one of them searched for."""
    rising = not name.startswith("tau")
    code, _ = search(_observer(bench, codes, name, tau_mem), getattr(bench.targets, name), key, rising)
    return dataclasses.replace(codes, **{name: code})


def _strengths(bench: _Bench, codes: Codes, tau_mem: Array, key: PRNGKeyArray) -> tuple[Codes, Array]:
    """References and strengths of both inputs; and the strength that one code of the target stands for."""
    keys = jax.random.split(key, 5)
    ends = ("exc", "inh")
    off = dataclasses.replace(codes, **{f"i_synin_gm_{end}": jnp.zeros_like(codes.leak) for end in ends})
    rest = averaged(_observer(bench, off, "leak", None), off.leak, keys[0], 4)
    # At first at the code of the target; what moves the membrane is proportional to it.
    for end, k in zip(ends, keys[1:3], strict=True):

        def shifted(code, k, end=end):
            on = {f"synin_shift_{end}": code, f"i_synin_gm_{end}": codes.i_synin_gm_exc}
            return _observer(bench, dataclasses.replace(off, **on), "leak", None)(off.leak, k)

        found, _ = search(shifted, rest, k, rising=end == "exc")
        codes = dataclasses.replace(codes, **{f"synin_shift_{end}": found})
    full = jnp.full_like(codes.leak, 500.0)
    heights = [
        averaged(_observer(bench, codes, f"i_synin_gm_{end}", tau_mem), full, k, 2)
        for end, k in zip(ends, jax.random.split(keys[3]), strict=True)
    ]
    unit = jnp.median(jnp.stack(heights)) / 500
    for end, k in zip(ends, jax.random.split(keys[4]), strict=True):
        name = f"i_synin_gm_{end}"
        goal = unit * getattr(bench.targets, name)
        code, _ = search(_observer(bench, codes, name, tau_mem), goal, k)
        codes = dataclasses.replace(codes, **{name: code})
    return codes, unit


def _judged(bench: _Bench, codes: Codes, unit: Array, key: PRNGKeyArray) -> tuple[dict[str, Array], dict[str, Array]]:
    """Residuals and slopes (in units of the target per code), by the target's name."""
    residuals, slopes = {}, {}
    again = averaged(_observer(bench, codes, "tau_mem", None), codes.tau_mem, key, 2)
    for number, name in enumerate(TOLERANCE):
        observe, code = _observer(bench, codes, name, again), getattr(codes, name)
        goal, scale = getattr(bench.targets, name), unit if name.startswith("i_synin") else 1.0
        apart = jnp.minimum(24.0, code / 4)
        tried = jnp.stack([code, jnp.clip(code - apart, 0, 1022), jnp.clip(code + apart, 0, 1022)])
        keys = jax.random.split(jax.random.fold_in(key, number), 3)
        here, below, above = lax.map(lambda each, observe=observe: averaged(observe, *each, 2), (tried, keys)) / scale
        residuals[name] = (here - goal) if TOLERANCE[name] > 1 else here / goal - 1
        slope = (above - below) / jnp.maximum(tried[2] - tried[1], 1)
        slopes[name] = jnp.where(jnp.isfinite(slope) & (slope != 0), slope, jnp.inf)
    return residuals, slopes


def _observer(bench: _Bench, codes: Codes, name: str, tau_mem: Array | None) -> Callable[[Array, PRNGKeyArray], Array]:
    """What is measured of a target, as a function of its own code, all other codes given."""
    device, targets = bench.device, bench.targets

    def seen(stimulus: Stimulus, k: PRNGKeyArray, **changed: Any) -> Measurement:
        return device.measure(dataclasses.replace(codes, **changed), stimulus, k)

    def all_at(potential: Any) -> Array:
        """Nominal codes of a potential: they need not be right."""
        return jnp.broadcast_to(jnp.round(NOMINAL_ZERO + NOMINAL_SLOPE * jnp.asarray(potential)), codes.leak.shape)

    never = jnp.full_like(codes.leak, 1022.0)

    def leak(code, k):
        return mean_sample(seen(Stimulus(34.0, features=QUIET), k, leak=code))

    def reset(code, k):
        held = {"refractory_counter": jnp.full_like(code, 255.0), "refractory_clock": jnp.full_like(code, 4.0)}
        return mean_sample(seen(Stimulus(30.0, force_reset=True), k, reset=code, threshold=never, **held), begin=5.0)

    def spiking(code, k):
        stimulus = Stimulus(40.0, madc=True, max_spikes=16)
        drive = all_at(jnp.minimum(targets.threshold + 50, 300.0))
        timing = {"refractory_counter": jnp.full_like(code, 250.0), "refractory_clock": jnp.zeros_like(code)}
        return threshold(seen(stimulus, k, threshold=code, leak=drive, reset=all_at(targets.threshold - 50), **timing))

    def membrane(code, k):
        stimulus = Stimulus(_tenths(2.2 + 4.2 * bench.longest_mem), force_reset=True, madc=True)
        timing = {"refractory_counter": jnp.full_like(code, 250.0), "refractory_clock": jnp.zeros_like(code)}
        changed = {"leak": all_at(130.0), "reset": all_at(50.0), "threshold": never, **timing}
        found = seen(stimulus, k, tau_mem=code, **changed)
        nominal = 10 * (0.1 + 0.9 * codes.membrane_capacitance / 63) / 8**codes.leak_gear
        guess = nominal if tau_mem is None else targets.tau_mem
        return membrane_time(found, guess, jnp.full_like(code, 2.1))

    def event(end: str, k: PRNGKeyArray, **changed: Any) -> Measurement:
        times = tuple(np.asarray([EVENT]) if end == e else np.zeros(0) for e in ("exc", "inh"))
        duration = _tenths(EVENT + 5 * bench.longest_syn)
        return seen(Stimulus(duration, times, WEIGHT, madc=True, features=QUIET), k, **changed)

    end = name[-3:]

    def synapse(code, k):
        return synaptic_time(event(end, k, **{name: code}), getattr(targets, f"tau_syn_{end}"), tau_mem, EVENT)

    def input_strength(code, k):
        found = strength(event(end, k, **{name: code}), getattr(targets, f"tau_syn_{end}"), tau_mem, EVENT)
        return (found if end == "exc" else -found) / WEIGHT

    return {
        "leak": leak,
        "reset": reset,
        "threshold": spiking,
        "tau_mem": membrane,
        f"tau_syn_{end}": synapse,
        f"i_synin_gm_{end}": input_strength,
    }[name]


def _tenths(duration: float) -> float:
    """A whole number of tenths of a µs."""
    return float(np.ceil(duration * 10) / 10)
