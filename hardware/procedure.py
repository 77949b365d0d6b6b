"""Finding the codes that make a chip's circuits what they shall be, from noisy measurements alone."""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from eventprop.parameters import check_type, is_concrete
from hardware.calibration import Calibration
from hardware.codes import Codes
from hardware.device import AbstractDevice, Features, Stimulus
from hardware.experiment import check_device
from hardware.stages import (
    EVENT,
    NAMES,
    NEUTRAL,
    ROWS,
    SEARCHED,
    Bench,
    Coba,
    Stage,
    coba_searches,
    relative_capacitance,
    searches,
    start,
)
from hardware.targets import Targets

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
COBA_TOLERANCE = 30.0
"""The same of reversal potentials and references, LSB."""
CLOCKS = {"refractory_time": 1.1, "holdoff_time": 2.1}
"""The same in periods of the refractory clock."""
BITS = 10
BEGIN = 5
"""Searches begin up to so many codes off, at random, so that circuits do not all move together."""
REPEATS = 2
"""Measurements of the code that a search has found, and of either neighbour."""
APART = 8.0
"""Slopes are taken between codes that are an eighth away on either side, 4 to 24."""


def calibrate(device: AbstractDevice, targets: Targets, key: PRNGKeyArray) -> Calibration:
    """Codes at which the chip's circuits hit their targets, all circuits at once.

    Noisy binary searches over 10 bits, from a random start within +-5 codes, and then the best of the code and its
    neighbours. Nothing but `device.measure` is asked, in this order: CADC (ramps and offsets), tau_syn, threshold,
    references of the synaptic inputs, i_synin_gm, leak, tau_mem, reset, leak again. Capacitances, gears, synapse DACs,
    refractory and hold-off times are set, not measured. At last everything is measured once more:
    `Calibration.residuals` (LSB; relative for time constants and strengths; µs for refractory and hold-off times) and
    `success` (within 5 LSB, 20 %, 1.1 and 2.1 periods of the clock; a threshold only counts where it is on).

    COBA inputs, if there are targets for any, come last: how strong an event is tells the reference if the membrane is
    near it, and then, at 200 LSB, the reversal potential (success: within 30 LSB). Without them nothing is measured.

    i_synin_gm: a target is the median strength that the chip's excitatory inputs have at this code; inhibition is
    made to match.

    Derivatives: the codes of potentials, time constants and strengths move with their targets as measured,
    d code / d target = 1 / (d measured / d code); measured numbers have none. The whole is one program: under
    `jax.lax.map` over fabricated chips, too (`jax.vmap` takes memory). Measurements last as long as the longest
    time constants ask for; with traced targets, as the longest that there are.

    Limit: tau_syn below 1 µs is found with an error of some 5 %, at 0.3 µs of 20 %: single events leave few samples.
    Raises ValueError for what is no device or no targets, and for targets of another number of circuits.
    """
    check_device(device)
    check_type("targets", targets, Targets)
    size, needed = targets.leak.shape[-1], device.limits.circuits
    if size != needed:
        raise ValueError(f"targets are those of {size} circuits, but the device has {needed}: give its limits.")
    synapses = max(_longest(targets.tau_syn_exc, 30.0), _longest(targets.tau_syn_inh, 30.0))
    duration = max(EVENT + 5 * synapses, 2.2 + 4.2 * max(NEUTRAL, _longest(targets.tau_mem, 60.0)))
    return _calibrate(device, targets, key, float(np.ceil(duration)))


def _longest(value: Array, most: float) -> float:
    return float(np.max(np.asarray(value))) if is_concrete(value) else most


@eqx.filter_jit
def _calibrate(device: AbstractDevice, targets: Targets, key: PRNGKeyArray, duration: float) -> Calibration:
    fixed = lax.stop_gradient(targets)
    device = jax.tree.map(lambda x: lax.stop_gradient(x) if eqx.is_inexact_array(x) else x, device)
    for_cadc, for_searches = jax.random.split(key)
    codes = _cadc(device, _digital(device, fixed), for_cadc)
    bench, coba = Bench(codes, fixed, device.limits, duration), Coba.of(fixed)
    state = _measured(device, bench, for_searches)
    if coba is not None:
        state = _reversed(device, bench, coba, state, jax.random.fold_in(for_searches, 0))
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
    if coba is not None:
        moved = Coba.of(targets)
        assert moved is not None
        for name, scale in coba.scales().items():
            change = moved.potentials[name] - coba.potentials[name]
            code = jnp.where(coba.where, found[name] + change / scale / slopes[name], getattr(codes, name))
            codes = dataclasses.replace(codes, **{name: code})
            off = jnp.where(coba.where, missed[name] * scale, 0)
            residuals[name.replace("e_", "e_coba_", 1)] = off
            good &= jnp.abs(off) <= COBA_TOLERANCE
    return Calibration(codes, residuals | timing, good, jnp.asarray(device.identity))


def _digital(device: AbstractDevice, targets: Targets) -> Codes:
    """What needs no measurement: clocks, capacitances, gears, the bias of the synapse DACs."""
    codes, limits = Codes.default(device.limits), device.limits
    exponent = jnp.ceil(jnp.log2(jnp.maximum(targets.refractory_time * limits.clock / 255, 2)))
    period = 2**exponent / limits.clock
    # Beyond the leak's codes its current has to be multiplied, or divided.
    per_capacitance = targets.tau_mem / relative_capacitance(targets, limits)
    gear = jnp.where(per_capacitance < 5, 1.0, jnp.where(per_capacitance > 40, -1.0, 0.0))
    return dataclasses.replace(
        codes,
        refractory_counter=jnp.clip(jnp.round(targets.refractory_time / period), 1, 255),
        refractory_clock=exponent - 1,
        holdoff_time=15 - jnp.clip(jnp.round((targets.holdoff_time / period - 1) / 2), 0, 15),
        membrane_capacitance=jnp.round(targets.membrane_capacitance),
        leak_gear=gear.astype(codes.leak_gear.dtype),
        synapse_dac_bias=jnp.broadcast_to(jnp.round(targets.synapse_dac_bias), codes.synapse_dac_bias.shape),
    )


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


class _State(NamedTuple):
    """What is known, and where the present task stands.

    Of all `NAMES`: found, the codes so far; residuals, relative to the goal; slopes, of what is measured relative to
    the goal, per code. unit: the strength of one code. code, sums: of the present task its code, and sums of what has
    been measured at three codes.
    """

    found: Float[Array, "names circuits"]
    residuals: Float[Array, "names circuits"]
    slopes: Float[Array, "names circuits"]
    unit: Float[Array, ""]
    code: Float[Array, " circuits"]
    sums: Float[Array, "3 circuits"]


class _Row(NamedTuple):
    """One measurement of a task: a stage, what is done with its code, and how far from that code it is made.

    apart: codes; to judge, in units of what is far enough to see a slope. slot: 0, 1, 2 for samples of the code, of one
    below and above it; -1 for a bit of a search. first, last: of the task.
    """

    stage: Any
    task: Any
    apart: Any
    slot: Any
    first: Any
    last: Any


SEARCH, UNIT, JUDGE = range(3)
"""Tasks: find a code, find the strength of one code, measure a code that has been found."""


def _rows(stage: int, task: int) -> list[_Row]:
    """The measurements of one task."""
    bits = [(2.0**bit, -1) for bit in reversed(range(BITS))]
    around = {SEARCH: (0.0, -1.0, 1.0), UNIT: (0.0, 0.0, 0.0), JUDGE: (0.0, -1.0, 1.0)}[task]
    moves = (bits if task == SEARCH else []) + REPEATS * [(apart, slot) for slot, apart in enumerate(around)]
    return [_Row(stage, task, *move, place == 0, place == len(moves) - 1) for place, move in enumerate(moves)]


def _measured(device: AbstractDevice, bench: Bench, key: PRNGKeyArray) -> _State:
    """All tasks, measurement by measurement: one scan, in which the chip is simulated once."""
    before, after = searches(bench)
    stages = before + after
    rows = [row for number in range(len(before)) for row in _rows(number, SEARCH)]
    rows += _rows(len(before), UNIT)
    rows += [row for number in range(len(before), len(stages)) for row in _rows(number, SEARCH)]
    last = {stage.name: number for number, stage in enumerate(stages)}
    rows += [row for name in TOLERANCE for row in _rows(last[name], JUDGE)]
    found = start(bench)
    codes = jnp.stack([found[name] for name in NAMES])
    none = jnp.zeros_like(codes)
    state = _State(codes, none, none, jnp.ones((), codes.dtype), codes[0], none[:3])
    return _scanned(device, bench, stages, rows, state, Features(), key)


def _reversed(device: AbstractDevice, bench: Bench, coba: Coba, state: _State, key: PRNGKeyArray) -> _State:
    """The tasks of COBA inputs, after all others."""
    stages = coba_searches(bench, coba)
    rows = [row for task in (SEARCH, JUDGE) for number in range(len(stages)) for row in _rows(number, task)]
    return _scanned(device, bench, stages, rows, state, Features(conductances=True), key)


def _scanned(
    device: AbstractDevice,
    bench: Bench,
    stages: list[Stage],
    rows: list[_Row],
    state: _State,
    features: Features,
    key: PRNGKeyArray,
) -> _State:
    table = _Row(*(jnp.asarray(np.array(column)) for column in zip(*rows, strict=True)))

    def step(state, row):
        return _step(device, bench, stages, features, state, *row), None

    return lax.scan(step, state, (table, jax.random.split(key, len(rows))))[0]


def _step(
    device: AbstractDevice,
    bench: Bench,
    stages: list[Stage],
    features: Features,
    state: _State,
    row: _Row,
    key: PRNGKeyArray,
) -> _State:
    """One measurement, and what follows from it."""
    for_begin, for_device = jax.random.split(key)

    def of(entry):
        return jnp.asarray(np.array([entry(stage) for stage in stages]))[row.stage]

    name = of(lambda stage: NAMES.index(stage.name))
    begin = jax.random.randint(for_begin, state.code.shape, -BEGIN, BEGIN + 1).astype(state.code.dtype)
    begin = jnp.where(row.task == SEARCH, begin, state.found[name])
    code, sums = jnp.where(row.first, begin, state.code), jnp.where(row.first, 0, state.sums)
    unit = jnp.where(row.task == JUDGE, _far(code), 1)
    tried = jnp.clip(code + unit * row.apart, 0, bench.limits.largest_code)
    found = dict(zip(NAMES, state.found, strict=True))
    shown = lax.switch(row.stage, [stage.show for stage in stages], found, tried)
    stimulus = Stimulus(bench.duration, shown.times, shown.weight, ROWS, force_reset=True, madc=True, features=features)
    measurement = device.measure(shown.codes, stimulus, for_device)
    about, goal = (jnp.stack([getattr(stage, entry) for stage in stages])[row.stage] for entry in ("about", "goal"))
    goal = goal * jnp.where(of(lambda stage: stage.in_units), state.unit, 1)
    sees = list(dict.fromkeys(stage.see for stage in stages))
    value = lax.switch(of(lambda stage: sees.index(stage.see)), sees, measurement, about, of(lambda stage: stage.sign))
    is_bit = row.slot < 0
    short = (value < goal) == of(lambda stage: stage.rising)
    code = jnp.where(is_bit & short, code + row.apart, code)
    sums = sums.at[jnp.maximum(row.slot, 0)].add(jnp.where(is_bit, 0, value))
    return _finished(state._replace(code=code, sums=sums), name, goal, row, bench.limits.largest_code)


def _finished(state: _State, name: Array, goal: Array, row: _Row, largest: int) -> _State:
    """What a task has found, where its last measurement has been made."""
    means = state.sums / REPEATS
    tried = jnp.clip(state.code[None] + jnp.asarray([0.0, -1.0, 1.0], means.dtype)[:, None], 0, largest)
    miss = jnp.abs(means - goal[None])
    best = jnp.argmin(jnp.where(jnp.isnan(miss), jnp.inf, miss), axis=0)[None]
    far = _far(state.code)
    apart = jnp.clip(state.code + far, 0, largest) - jnp.clip(state.code - far, 0, largest)
    slope = (means[2] - means[1]) / apart / goal
    slope = jnp.where(jnp.isfinite(slope) & (slope != 0), slope, jnp.inf)

    def put(into, values, task):
        return jnp.where(row.last & (row.task == task), into.at[name].set(values), into)

    return state._replace(
        found=put(state.found, jnp.take_along_axis(tried, best, axis=0)[0], SEARCH),
        residuals=put(state.residuals, (means[0] - goal) / goal, JUDGE),
        slopes=put(state.slopes, slope, JUDGE),
        unit=jnp.where(row.last & (row.task == UNIT), jnp.median(jnp.mean(means, axis=0) / goal), state.unit),
    )


def _far(code: Array) -> Array:
    """How far from a code a slope shows, and is still that at the code."""
    return jnp.clip(jnp.round(code / APART), 4, 24)
