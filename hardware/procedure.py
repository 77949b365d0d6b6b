"""Finding the codes that make a chip's circuits what they shall be, from noisy measurements alone."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PRNGKeyArray

from eventprop.parameters import check_type, constant, is_concrete
from hardware import adex, coba
from hardware.bench import EVENT, NAMES, NEUTRAL, SEARCHED, Bench, Stage, Wanted
from hardware.calibration import Calibration
from hardware.codes import Codes
from hardware.device import AbstractDevice, Features, Stimulus
from hardware.experiment import check_device
from hardware.search import JUDGE, SEARCH, UNIT, State, rows_of, scanned
from hardware.stages import searches, start
from hardware.targets import Targets
from hardware.units import relative_capacitance

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
CLOCKS = {"refractory_time": 1.1, "holdoff_time": 2.1}
"""The same in periods of the refractory clock."""


def calibrate(device: AbstractDevice, targets: Targets, key: PRNGKeyArray) -> Calibration:
    """Codes at which the chip's circuits hit their targets, all circuits at once.

    Noisy binary searches over 10 bits, from a random start within +-5 codes, and then the best of the code and its
    neighbours. Nothing but `device.measure` is asked, in this order: CADC (ramps and offsets), tau_syn, threshold,
    references of the synaptic inputs, i_synin_gm, leak, tau_mem, reset, leak again. Capacitances, gears, synapse DACs,
    refractory and hold-off times are set, not measured. At last everything is measured once more:
    `Calibration.residuals` (LSB; relative for time constants and strengths; µs for refractory and hold-off times) and
    `success` (within 5 LSB, 20 %, 1.1 and 2.1 periods of the clock; a threshold only counts where it is on).

    COBA inputs, if there are targets for any, come after: how strong an event is tells the reference if the membrane is
    near it, and then, at 200 LSB, the reversal potential (success: within 30 LSB). Then, if there are targets for it,
    onset and sharpness of the exponential, from potentials before spikes (5 LSB, 20 %); adaptation's a, from how much
    less a constant current lifts the membrane, its tau and b, from what follows a single spike (20 %, or 0.005 1/µs,
    0.1 LSB/µs), their signs being set; the constant current itself. Without such targets nothing is measured of it.

    i_synin_gm: a target is the median strength that the chip's excitatory inputs have at this code; inhibition is
    made to match.

    Derivatives: the codes of potentials, time constants and strengths move with their targets as measured,
    d code / d target = 1 / (d measured / d code); measured numbers have none. The whole is one program: under
    `jax.lax.map` over fabricated chips, too (`jax.vmap` takes memory). Measurements last as long as the longest
    time constants ask for; with traced targets, as the longest that there are.

    Limit: tau_syn of 0.5 µs is found with an error of 1 % (exc) to 8 % (inh), since single events leave few samples;
    0.3 µs is beyond the last code of a third of the circuits.
    Raises ValueError for what is no device or no targets, and for targets of another number of circuits.
    """
    check_device(device)
    check_type("targets", targets, Targets)
    size, needed = targets.leak.shape[-1], device.limits.circuits
    if size != needed:
        raise ValueError(f"targets are those of {size} circuits, but the device has {needed}: give its limits.")
    synapses = max(_longest(targets.tau_syn_exc, 30.0), _longest(targets.tau_syn_inh, 30.0))
    duration = max(EVENT + 5 * synapses, 2.2 + 4.2 * max(NEUTRAL, _longest(targets.tau_mem, 60.0)))
    adapting = targets.tau_adaptation
    longer = adex.longest(None if adapting is None else _longest(adapting, 300.0))
    return _calibrate(device, targets, key, float(np.ceil(duration)), float(np.ceil(longer)))


def _longest(value: Array, most: float) -> float:
    return float(np.nanmax(np.asarray(value))) if is_concrete(value) else most


@eqx.filter_jit
def _calibrate(
    device: AbstractDevice, targets: Targets, key: PRNGKeyArray, duration: float, longer: float
) -> Calibration:
    fixed = lax.stop_gradient(targets)
    device = constant(device)
    for_cadc, for_searches = jax.random.split(key)
    codes = _cadc(device, _digital(device, fixed), for_cadc)
    bench = Bench(codes, fixed, device.limits, duration)
    state = _measured(device, bench, for_searches)
    added: dict[str, Wanted] = {}
    for number, (part, long) in enumerate(((coba, duration), (adex, longer))):
        wanted = part.wanted(fixed)
        if wanted:
            stages, key = part.searches(bench, wanted), jax.random.fold_in(for_searches, number)
            state = _measured_too(
                device, bench._replace(duration=long), stages, wanted, part.features(wanted), state, key
            )
        added |= wanted
    found, missed, slopes = (dict(zip(NAMES, x, strict=True)) for x in (state.found, state.residuals, state.slopes))
    residuals = {name: missed[name] * (getattr(fixed, name) if most > 1 else 1) for name, most in TOLERANCE.items()}
    timing = _timing(bench)
    good = jnp.ones_like(targets.spiking)
    for name, most in TOLERANCE.items():
        good &= (jnp.abs(residuals[name]) <= most) | ((name == "threshold") & ~targets.spiking)
    for name, periods in CLOCKS.items():
        good &= jnp.abs(timing[name]) <= periods * bench.period
    for name in TOLERANCE:
        change = getattr(targets, name) - getattr(fixed, name)  # 0, with a derivative
        found[name] += change / getattr(fixed, name) / slopes[name]
    codes = dataclasses.replace(codes, **{name: found[name] for name in SEARCHED})
    moved = coba.wanted(targets) | adex.wanted(targets)
    for name, each in added.items():
        change = moved[name].value - each.value
        code = jnp.where(each.where, found[name] + change / each.scale / slopes[name], getattr(codes, name))
        codes = dataclasses.replace(codes, **{name: code})
        off = jnp.where(each.where, missed[name] * each.scale, 0)
        residuals[each.name] = off
        good &= jnp.abs(off) <= each.tolerance
    return Calibration(codes, residuals | timing, good, jnp.asarray(device.identity))


def _digital(device: AbstractDevice, targets: Targets) -> Codes:
    """What needs no measurement: clocks, capacitances, gears, the bias of the synapse DACs."""
    codes, limits = Codes.default(device.limits), device.limits
    longest = jnp.maximum(targets.refractory_time / 255, targets.holdoff_time / 31)  # of a period of the clock
    exponent = jnp.ceil(jnp.log2(jnp.maximum(longest * limits.clock, 2)))
    period = 2**exponent / limits.clock
    # Beyond the leak's codes its current has to be multiplied, or divided.
    per_capacitance = targets.tau_mem / relative_capacitance(jnp.round(targets.membrane_capacitance), limits)
    gear = jnp.where(per_capacitance < 5, 1.0, jnp.where(per_capacitance > 40, -1.0, 0.0))
    return dataclasses.replace(
        codes,
        refractory_counter=jnp.clip(jnp.round(targets.refractory_time / period), 1, 255),
        refractory_clock=exponent - 1,
        holdoff_time=15 - jnp.clip(jnp.round((targets.holdoff_time / period - 1) / 2), 0, 15),
        membrane_capacitance=jnp.round(targets.membrane_capacitance),
        leak_gear=gear.astype(codes.leak_gear.dtype),
        sign_a=_sign(targets.adaptation_a, codes.sign_a),
        sign_b=_sign(targets.adaptation_b, codes.sign_b),
        synapse_dac_bias=jnp.broadcast_to(jnp.round(targets.synapse_dac_bias), codes.synapse_dac_bias.shape),
    )


def _sign(target: Array | None, code: Array) -> Array:
    return code if target is None else jnp.where(target < 0, -1.0, 1.0).astype(code.dtype)


def _timing(bench: Bench) -> dict[str, Array]:
    """How far refractory and hold-off times are off, µs: they are counted, not measured."""
    codes, targets, period = bench.codes, bench.targets, bench.period
    return {
        "refractory_time": codes.refractory_counter * period - targets.refractory_time,
        "holdoff_time": (2 * (15 - codes.holdoff_time) + 1) * period - targets.holdoff_time,
    }


def _cadc(device: AbstractDevice, codes: Codes, key: PRNGKeyArray) -> Codes:
    """Ramps of the quadrants and offsets of the channels: three potentials are read, and corrected for, three times."""
    quadrant, count = device.limits.quadrant(), device.limits.quadrants
    potentials = jnp.asarray([60.0, 120.0, 180.0], codes.leak.dtype)

    def read(codes, potential, k):
        stimulus = Stimulus(34.0, reference=potential, features=Features(spiking=False))
        return jnp.mean(device.measure(codes, stimulus, k).cadc, axis=0)

    def correct(codes, k):
        now = codes
        low, middle, high = lax.map(lambda at: read(now, *at), (potentials, jax.random.split(k, 3)))
        gain = jax.ops.segment_sum(high - low, quadrant, count) / (120.0 * (quadrant.size // count))
        slope = jnp.clip(jnp.round(codes.cadc_slope * gain), 1, device.limits.largest_code)
        offset = jnp.clip(jnp.round(codes.cadc_offset + 120.0 - middle), -128, 127)
        return dataclasses.replace(codes, cadc_slope=slope, cadc_offset=offset), None

    return lax.scan(correct, codes, jax.random.split(key, 3))[0]


def _measured(device: AbstractDevice, bench: Bench, key: PRNGKeyArray) -> State:
    """All tasks that every circuit has."""
    before, after = searches(bench)
    stages = before + after
    rows = [row for number in range(len(before)) for row in rows_of(number, SEARCH)]
    rows += rows_of(len(before), UNIT)
    rows += [row for number in range(len(before), len(stages)) for row in rows_of(number, SEARCH)]
    last = {stage.name: number for number, stage in enumerate(stages)}
    rows += [row for name in TOLERANCE for row in rows_of(last[name], JUDGE)]
    found = start(bench)
    codes = jnp.stack([found[name] for name in NAMES])
    none = jnp.zeros_like(codes)
    state = State(codes, none, none, jnp.ones((), codes.dtype), codes[0], none[:3])
    return scanned(device, bench, stages, rows, state, Features(), key)


def _measured_too(
    device: AbstractDevice,
    bench: Bench,
    stages: list[Stage],
    wanted: dict[str, Wanted],
    features: Features,
    state: State,
    key: PRNGKeyArray,
) -> State:
    """The tasks of those that have more targets, after all others: all codes are found, then the wanted ones judged."""
    rows = [row for number, stage in enumerate(stages) if not stage.judged for row in rows_of(number, SEARCH)]
    last = {stage.name: number for number, stage in enumerate(stages)}
    rows += [row for name in wanted for row in rows_of(last[name], JUDGE)]
    return scanned(device, bench, stages, rows, state, features, key)
