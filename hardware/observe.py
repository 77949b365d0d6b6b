"""What can be seen of a chip: samples of membranes, and events with time stamps that have come through full buses."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from eventprop import Spikes
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


def jittered(spikes: Spikes, deviation: float, key: PRNGKeyArray) -> Spikes:
    """Times that are off by normal numbers of this standard deviation, in order, none before 0."""
    if not deviation:
        return spikes
    moved = spikes.times + deviation * jax.random.normal(key, spikes.times.shape, spikes.times.dtype)
    return in_order(Spikes(jnp.maximum(moved, 0), spikes.index))


def in_order(spikes: Spikes) -> Spikes:
    """The same events, sorted by time."""
    order = order_of(spikes.times)
    times = spikes.times[order]
    return Spikes(times, jnp.where(times < jnp.inf, spikes.index[order], 0))


def order_of(times: Float[Array, " events"]) -> Int[Array, " events"]:
    """The positions of times, not negative, in ascending order."""
    return sorted_positions(lax.stop_gradient(times), lax.iota(jnp.int32, times.shape[0]))


def stamped(spikes: Spikes, limits: Limits) -> Spikes:
    """Times cut to multiples of 8 ns; derivatives pass straight through."""
    rate = round(1 / limits.stamp)  # whole, so that multiples of a stamp stay what they are
    return Spikes(floor_to(spikes.times * rate, 0, jnp.inf) / rate, spikes.index)


def queued(
    times: Float[Array, " events"], bus: Int[Array, " events"], buses: int, limits: Limits
) -> tuple[Float[Array, " events"], Bool[Array, " events"]]:
    """When events have passed their bus, one per 8 ns, in the order in which they come; and which are lost.

    An event waits while others are before it, and is lost if `DEPTH` of them are. times: ascending, `inf` for none.
    """
    slot, numbers = limits.stamp, jnp.arange(buses)

    def pass_on(free, event):
        t, at = event
        here = numbers == at
        delay = jnp.maximum(jnp.max(jnp.where(here, free, -jnp.inf)) - t, 0)
        full = delay > DEPTH * slot
        return jnp.where(here & ~full, t + delay + slot, free), (delay, full)

    fixed = lax.stop_gradient(times)
    wait, lost = lax.scan(pass_on, jnp.full(buses, -jnp.inf, fixed.dtype), (fixed, bus), unroll=8)[1]
    none = fixed == jnp.inf
    lost = lost & ~none
    return jnp.where(lost, jnp.inf, times + jnp.where(none, 0, wait)), lost


def through_bus(spikes: Spikes, bus: np.ndarray, buses: int, limits: Limits) -> tuple[Spikes, Int[Array, ""]]:
    """The events that have passed, in order, and how many are lost. bus: [sources], that of each source."""
    times, lost = queued(spikes.times, jnp.asarray(bus, jnp.int32)[spikes.index], buses, limits)
    return in_order(Spikes(times, spikes.index)), jnp.sum(lost, dtype=jnp.int32)
