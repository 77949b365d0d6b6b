"""Finding the codes that make a chip's circuits what they shall be, from noisy measurements alone."""

import dataclasses
from collections.abc import Callable
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
from hardware.stages import EVENT, NEUTRAL, Bench, Found, Stage, searches, start, targeted
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
CLOCKS = {"refractory_time": 1.1, "holdoff_time": 2.1}
"""The same in periods of the refractory clock."""
BITS = 10
BEGIN = 5
"""Searches begin up to so many codes off, at random, so that circuits do not all move together."""
REPEATS = 2
"""Measurements of the code that a search has found, and of either neighbour."""
APART = 12.0
"""Codes between which the slope of what is measured is taken."""


def calibrate(device: AbstractDevice, targets: Targets, key: PRNGKeyArray) -> Calibration:
    """Codes at which the chip's circuits hit their targets, all circuits at once.

    Noisy binary searches over 10 bits, from a random start within +-5 codes, and then the best of the code and its
    neighbours. Nothing but `device.measure` is asked, in this order: CADC (ramps and offsets), tau_syn, threshold,
    references of the synaptic inputs, i_synin_gm, leak, tau_mem, reset, leak again. Capacitances, gears, synapse DACs,
    refractory and hold-off times are set, not measured. At last everything is measured once more:
    `Calibration.residuals` (LSB; relative for time constants and strengths; µs for refractory and hold-off times) and
    `success` (within 5 LSB, 20 %, 1.1 and 2.1 periods of the clock; a threshold only counts where it is on).

    i_synin_gm: a target is the median strength that the chip's excitatory inputs have at this code; inhibition is
    made to match.

    Derivatives: the codes of potentials, time constants and strengths move with their targets as measured,
    d code / d target = 1 / (d measured / d code); measured numbers have none. The whole is one program: under
    `jax.lax.map` over fabricated chips, too (`jax.vmap` takes memory). Measurements last as long as the longest
    time constants ask for; with traced targets, as the longest that there are.

    Limit: tau_syn below 1 µs is found with an error of some 5 %, at 0.3 µs of 20 %: single events leave few samples.
    Raises TypeError for what is no device or no targets.
    """
    check_type("device", device, AbstractDevice)
    check_type("targets", targets, Targets)
    synapses = max(_longest(targets.tau_syn_exc, 30), _longest(targets.tau_syn_inh, 30))
    duration = max(EVENT + 5 * synapses, 2.2 + 4.2 * max(NEUTRAL, _longest(targets.tau_mem, 60)))
    return _calibrate(device, targets, key, float(np.ceil(duration)))


def _longest(value: Array, most: float) -> float:
    return float(np.max(np.asarray(value))) if is_concrete(value) else float(most)


@eqx.filter_jit
def _calibrate(device: AbstractDevice, targets: Targets, key: PRNGKeyArray, duration: float) -> Calibration:
    fixed = lax.stop_gradient(targets)
    device = jax.tree.map(lambda x: lax.stop_gradient(x) if eqx.is_inexact_array(x) else x, device)
    for_cadc, for_searches = jax.random.split(key)
    codes = _cadc(device, _digital(device, fixed), for_cadc)
    bench = Bench(codes, fixed, device.limits, duration)
    state = _measured(device, bench, for_searches)
    residuals = {name: residual for name, (residual, _) in state.judged.items()} | _timing(bench)
    good = jnp.ones_like(targets.spiking)
    period = 2 ** (codes.refractory_clock + 1) / device.limits.clock
    for name, residual in residuals.items():
        most = CLOCKS[name] * period if name in CLOCKS else TOLERANCE[name]
        good &= (jnp.abs(residual) <= most) | ((name == "threshold") & ~targets.spiking)
    found = {name: code for name, code in state.found.items() if name not in ("neutral", "unit")}
    for name, (_, slope) in state.judged.items():
        found[name] = found[name] + (getattr(targets, name) - getattr(fixed, name)) / slope
    return Calibration(dataclasses.replace(codes, **found), residuals, good, jnp.asarray(device.identity))


def _digital(device: AbstractDevice, targets: Targets) -> Codes:
    """What needs no measurement: clocks, capacitances, gears, the bias of the synapse DACs."""
    codes, limits = Codes.default(device.limits), device.limits
    exponent = jnp.ceil(jnp.log2(jnp.maximum(targets.refractory_time * limits.clock / 255, 2)))
    period = 2**exponent / limits.clock
    capacitance = jnp.round(targets.membrane_capacitance)
    # Beyond the leak's codes its current has to be multiplied, or divided.
    per_capacitance = targets.tau_mem / (0.08 + 0.92 * capacitance / limits.largest_capacitance)
    gear = jnp.where(per_capacitance < 5, 1.0, jnp.where(per_capacitance > 40, -1.0, 0.0))
    return dataclasses.replace(
        codes,
        refractory_counter=jnp.clip(jnp.round(targets.refractory_time / period), 1, 255),
        refractory_clock=exponent - 1,
        holdoff_time=15 - jnp.clip(jnp.round((targets.holdoff_time / period - 1) / 2), 0, 15),
        membrane_capacitance=capacitance,
        leak_gear=gear.astype(codes.leak_gear.dtype),
        synapse_dac_bias=jnp.broadcast_to(jnp.round(targets.synapse_dac_bias), codes.synapse_dac_bias.shape),
    )


def _timing(bench: Bench) -> dict[str, Array]:
    """How far refractory and hold-off times are off, µs: they are counted, not measured."""
    codes, targets = bench.codes, bench.targets
    period = 2 ** (codes.refractory_clock + 1) / bench.limits.clock
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
    """found: codes so far; judged: residual and slope of each; of the present search: the code, and sums of samples."""

    found: Found
    judged: dict[str, tuple[Array, Array]]
    code: Float[Array, " circuits"]
    sums: Float[Array, "3 circuits"]


class _Row(NamedTuple):
    """One measurement: of which task, how far from its code, a bit of a search (slot -1) or one of three samples."""

    task: Any
    move: Any
    slot: Any
    begins: Any
    ends: Any


class _Task(NamedTuple):
    """A stage, where its code begins, what becomes of the samples at the end, and the moves between."""

    stage: Stage
    begin: Callable[[Found, PRNGKeyArray], Array]
    finish: Callable[[_State], _State]
    moves: tuple[tuple[float, int], ...]


_AROUND = ((0.0, 0), (-1.0, 1), (1.0, 2))


def _measured(device: AbstractDevice, bench: Bench, key: PRNGKeyArray) -> _State:
    """All searches and judgements, measurement by measurement: one scan, in which the chip is simulated once."""
    before, after = searches(bench)
    tasks = [_searching(stage, bench) for stage in before]
    tasks += [_unit(after[0], bench)]
    tasks += [_searching(stage, bench) for stage in after]
    tasks += [_judging(stage, bench) for stage in targeted(bench)]
    rows = [
        _Row(number, move, slot, place == 0, place == len(task.moves) - 1)
        for number, task in enumerate(tasks)
        for place, (move, slot) in enumerate(task.moves)
    ]
    table = _Row(*(jnp.asarray(np.array(column)) for column in zip(*rows, strict=True)))
    found = start(bench)
    zeros = jnp.zeros_like(found["leak"])
    judged = {stage.name: (zeros, zeros) for stage in targeted(bench)}
    state = _State(found, judged, zeros, jnp.zeros((3, *zeros.shape), zeros.dtype))

    def step(state, row):
        return _step(device, bench, tasks, state, *row), None

    return lax.scan(step, state, (table, jax.random.split(key, len(rows))))[0]


def _step(
    device: AbstractDevice, bench: Bench, tasks: list[_Task], state: _State, row: _Row, key: PRNGKeyArray
) -> _State:
    for_begin, for_device = jax.random.split(key)
    stages = [task.stage for task in tasks]
    first = lax.switch(row.task, [task.begin for task in tasks], state.found, for_begin)
    code = jnp.where(row.begins, first, state.code)
    sums = jnp.where(row.begins, 0, state.sums)
    tried = jnp.clip(code + row.move, 0, bench.limits.largest_code)
    shown = lax.switch(row.task, [stage.show for stage in stages], state.found, tried)
    stimulus = Stimulus(bench.duration, shown.times, shown.weight, force_reset=True, madc=True)
    measurement = device.measure(shown.codes, stimulus, for_device)
    value = lax.switch(row.task, [stage.see for stage in stages], measurement)
    goal = lax.switch(row.task, [stage.goal for stage in stages], state.found)
    short = (value < goal) == jnp.asarray([stage.rising for stage in stages])[row.task]
    code = jnp.where((row.slot < 0) & short, code + row.move, code)
    sums = sums.at[jnp.maximum(row.slot, 0)].add(jnp.where(row.slot < 0, 0, value))
    state = _State(state.found, state.judged, code, sums)
    finished = [lambda state, task=task: task.finish(state) for task in tasks]
    return lax.cond(row.ends, lambda s: lax.switch(row.task, finished, s), lambda s: s, state)


def _searching(stage: Stage, bench: Bench) -> _Task:
    """A binary search, and the best of the code and its neighbours."""

    def begin(found, key):
        like = found["leak"]
        return jax.random.randint(key, like.shape, -BEGIN, BEGIN + 1).astype(like.dtype)

    def finish(state):
        tried = _tried(state.code, 1.0, bench)
        miss = jnp.abs(state.sums / REPEATS - stage.goal(state.found)[None])
        best = jnp.argmin(jnp.where(jnp.isnan(miss), jnp.inf, miss), axis=0)[None]
        chosen = jnp.take_along_axis(tried, best, axis=0)[0]
        return state._replace(found=state.found | {stage.name: chosen})

    bits = tuple((2.0**bit, -1) for bit in reversed(range(BITS)))
    return _Task(stage, begin, finish, bits + REPEATS * _AROUND)


def _unit(stage: Stage, bench: Bench) -> _Task:
    """The strength that one code stands for: the median of all inputs at the codes of their targets."""
    repeats = 4

    def begin(found, key):
        return found[stage.name]

    def finish(state):
        each = state.sums[0] / repeats / getattr(bench.targets, stage.name)
        return state._replace(found=state.found | {"unit": jnp.full_like(each, jnp.median(each))})

    return _Task(stage, begin, finish, repeats * _AROUND[:1])


def _judging(stage: Stage, bench: Bench) -> _Task:
    """The residual of a code that has been found, and the slope of the target over the code."""
    name = stage.name
    target = getattr(bench.targets, name)

    def begin(found, key):
        return found[name]

    def finish(state):
        scale = state.found["unit"] if name.startswith("i_synin") else 1.0
        values, tried = state.sums / REPEATS / scale, _tried(state.code, APART, bench)
        slope = (values[2] - values[1]) / jnp.maximum(tried[2] - tried[1], 1)
        slope = jnp.where(jnp.isfinite(slope) & (slope != 0), slope, jnp.inf)
        residual = values[0] - target if TOLERANCE[name] > 1 else values[0] / target - 1
        return state._replace(judged=state.judged | {name: (residual, slope)})

    return _Task(stage, begin, finish, REPEATS * tuple((APART * move, slot) for move, slot in _AROUND))


def _tried(code: Array, apart: float, bench: Bench) -> Array:
    """The codes of the three samples."""
    return jnp.clip(code + apart * jnp.asarray([0.0, -1.0, 1.0], code.dtype)[:, None], 0, bench.limits.largest_code)
