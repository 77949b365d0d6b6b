"""Noisy binary searches, measurement by measurement: one scan, in which the chip is simulated once."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from hardware.bench import NAMES, ROWS, Bench, Stage
from hardware.device import AbstractDevice, Features, Stimulus

BITS = 10
BEGIN = 5
"""Searches begin up to so many codes off, at random, so that circuits do not all move together."""
REPEATS = 2
"""Measurements of the code that a search has found, and of either neighbour."""
APART = 8.0
"""Slopes are taken between codes that are an eighth away on either side, 4 to 24."""


class State(NamedTuple):
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


class Row(NamedTuple):
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


def rows_of(stage: int, task: int) -> list[Row]:
    """The measurements of one task of the stage with this number."""
    bits = [(2.0**bit, -1) for bit in reversed(range(BITS))]
    around = {SEARCH: (0.0, -1.0, 1.0), UNIT: (0.0, 0.0, 0.0), JUDGE: (0.0, -1.0, 1.0)}[task]
    moves = (bits if task == SEARCH else []) + REPEATS * [(apart, slot) for slot, apart in enumerate(around)]
    return [Row(stage, task, *move, place == 0, place == len(moves) - 1) for place, move in enumerate(moves)]


def scanned(
    device: AbstractDevice,
    bench: Bench,
    stages: list[Stage],
    rows: list[Row],
    state: State,
    features: Features,
    key: PRNGKeyArray,
) -> State:
    """What is known after these measurements, with these features of the circuits."""
    table = Row(*(jnp.asarray(np.array(column)) for column in zip(*rows, strict=True)))

    def step(state, row):
        return _step(device, bench, stages, features, state, *row), None

    return lax.scan(step, state, (table, jax.random.split(key, len(rows))))[0]


def _step(
    device: AbstractDevice,
    bench: Bench,
    stages: list[Stage],
    features: Features,
    state: State,
    row: Row,
    key: PRNGKeyArray,
) -> State:
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


def _finished(state: State, name: Array, goal: Array, row: Row, largest: int) -> State:
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
