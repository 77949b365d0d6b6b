"""What can be seen of a chip: samples of membranes, and events with time stamps that have come through full buses."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from eventprop import Spikes
from eventprop.loops import vary_alike
from eventprop.spikes import sorted_positions
from hardware.limits import Limits
from hardware.quantise import floor_to

MADC_GAIN = 2.5
"""LSB of the MADC per LSB of the CADC."""
CENTRE = 128.0
"""The potential around which gains of the CADC turn."""
DEPTH = 64
"""Events that can wait for a bus: each of an output's 64 circuits holds one."""


class Converter(NamedTuple):
    """The CADC channels of some circuits: sample = floor(128 + gain (V - 128) + offset + noise), 0 to 255."""

    gain: Float[Array, " circuits"]
    offset: Float[Array, " circuits"]


def cadc_times(t1: float, limits: Limits) -> np.ndarray:
    """When the CADC samples in [0, t1): every 1.7 µs, all channels at once."""
    return np.arange(0.0, t1, limits.cadc_period)


def madc_times(t1: float, limits: Limits) -> np.ndarray:
    """When the MADC samples in [0, t1): 29.4 times per µs."""
    return np.arange(0.0, t1, 1 / limits.madc_rate)


def cadc(
    v: Float[Array, "samples circuits"],
    converter: Converter,
    noise: float,
    key: PRNGKeyArray,
    limits: Limits,
    whole: bool,
) -> Float[Array, "samples circuits"]:
    """Samples of the CADC. Derivatives pass straight through where they are in range; `whole` False: not digitised."""
    seen = CENTRE + converter.gain[None] * (v - CENTRE) + converter.offset[None]
    return _digitised(seen, noise, key, limits.largest_sample, whole)


def madc(
    v: Float[Array, "samples circuits"], noise: float, key: PRNGKeyArray, limits: Limits, whole: bool
) -> Float[Array, "samples circuits"]:
    """Samples of the MADC, 2.5 per LSB of the CADC, 0 to 1023."""
    return _digitised(MADC_GAIN * v, noise, key, limits.madc_largest_sample, whole)


def _digitised(seen: Array, noise: float, key: PRNGKeyArray, largest: int, whole: bool) -> Array:
    if noise:
        seen = seen + noise * jax.random.normal(key, seen.shape, seen.dtype)
    # Half a step up: the mean of what is floored is then the potential.
    return floor_to(seen + 0.5, 0, largest) if whole else seen


def jittered(times: Float[Array, "..."], deviation: float, key: PRNGKeyArray) -> Float[Array, "..."]:
    """Times that are off by normal numbers of this standard deviation, none before 0; they may be out of order."""
    if not deviation:
        return times
    return jnp.maximum(times + deviation * jax.random.normal(key, times.shape, times.dtype), 0)


def in_order(spikes: Spikes) -> Spikes:
    """The same events, sorted by time."""
    order = sorted_positions(lax.stop_gradient(spikes.times), lax.iota(jnp.int32, spikes.times.shape[0]))
    times = spikes.times[order]
    return Spikes(times, jnp.where(times < jnp.inf, spikes.index[order], 0))


def stamped(spikes: Spikes, limits: Limits) -> Spikes:
    """Times cut to multiples of 8 ns; derivatives pass straight through."""
    rate = round(1 / limits.stamp)  # whole, so that multiples of a stamp stay what they are
    return Spikes(floor_to(spikes.times * rate, 0, jnp.inf) / rate, spikes.index)


def queued(
    times: Float[Array, "buses events"], limits: Limits
) -> tuple[Float[Array, "buses events"], Bool[Array, "buses events"]]:
    """When events have passed their bus, one per 8 ns, in the order in which they come; and which are lost.

    An event waits while others are before it, and is lost if `DEPTH` of them are. times: of each bus, ascending; `inf`
    for none, at any place.

    Where none is lost, the k-th event of a bus leaves it at k s + max over j <= k of (t_j - j s), s = 8 ns. Where one
    may be lost, events are taken one by one.
    """
    slot, fixed = limits.stamp, lax.stop_gradient(times)
    here = fixed < jnp.inf
    own = fixed - slot * (jnp.cumsum(here, axis=1, dtype=jnp.int32) - 1)
    wait = jnp.where(here, lax.cummax(jnp.where(here, own, -jnp.inf), axis=1) - own, 0)

    # A loop of at most one turn: under vmap a `lax.cond` would always pay for both branches. It reads its carry, or
    # XLA would move the work out of the loop.
    def exactly(state):
        return jnp.zeros_like(state[0]), *_one_by_one(jnp.where(state[0], fixed, jnp.inf), slot)

    full = jnp.any(wait > (DEPTH - 1) * slot)
    _, wait, lost = lax.while_loop(lambda state: state[0], exactly, (full, wait, jnp.zeros_like(here)))
    return jnp.where(lost, jnp.inf, times + wait), lost


def _one_by_one(times: Array, slot: float) -> tuple[Array, Array]:
    """How long events wait, and which are lost."""

    def pass_on(free, t):
        delay = jnp.where(t < jnp.inf, jnp.maximum(free - t, 0), 0)
        full = delay > DEPTH * slot
        return jnp.where((t < jnp.inf) & ~full, t + delay + slot, free), (delay, full)

    empty = vary_alike(jnp.full(times.shape[0], -jnp.inf, times.dtype), times)
    wait, lost = lax.scan(pass_on, empty, times.T)[1]
    return wait.T, lost.T


def through_bus(spikes: Spikes, bus: np.ndarray, buses: int, limits: Limits) -> tuple[Spikes, Int[Array, ""]]:
    """The events that have passed, in order, and how many are lost. bus: [sources], that of each source."""
    at = jnp.asarray(bus, jnp.int32)[spikes.index]
    rows = jnp.where(at[None] == jnp.arange(buses)[:, None], spikes.times[None], jnp.inf)
    passed, lost = queued(rows, limits)
    times = jnp.take_along_axis(passed, at[None], axis=0)[0]
    return in_order(Spikes(times, spikes.index)), jnp.sum(lost, dtype=jnp.int32)


def through_outputs(
    trains: Float[Array, "neurons slots"], output: np.ndarray, limits: Limits
) -> tuple[Float[Array, "neurons slots"], Int[Array, ""]]:
    """When the events of each neuron have passed, in any order, `inf` for lost ones; and how many are lost.

    output: [neurons], that of each neuron. It is known beforehand, so that every output sorts its own events.
    """
    neurons, slots = trains.shape
    members = [np.flatnonzero(output == number) for number in np.unique(output)]
    rows = np.full((len(members), max(map(len, members))), neurons)
    for row, each in zip(rows, members, strict=True):
        row[: len(each)] = each
    # Slot by slot: events that lie nearly in order are sorted in less time.
    places = rows[:, None] * slots + np.arange(slots)[:, None]
    position = jnp.asarray(places.reshape(len(rows), -1), jnp.int32)
    flat = trains.reshape(-1)
    come = flat.at[position].get(mode="fill", fill_value=jnp.inf)
    order = jax.vmap(sorted_positions)(lax.stop_gradient(come), position)
    passed, lost = queued(flat.at[order].get(mode="fill", fill_value=jnp.inf), limits)
    return jnp.zeros_like(flat).at[order].set(passed, mode="drop").reshape(trains.shape), jnp.sum(lost, dtype=jnp.int32)
