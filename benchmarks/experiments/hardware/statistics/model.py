"""What single circuits and the multiplier of a chip do, for comparison with published measurements."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

import hardware as hw
from benchmarks.results import RESULTS
from benchmarks.training import Metrics
from hardware.units import nominal_code

ROWS = 8
EVENT = 5.0
"""µs: when the event of a postsynaptic potential comes."""
PEAK = (13.6, 16.3)
"""µs: around the peak, 10 µs after the event where both time constants are 10 µs."""
LEAK, INHIBITED_FROM = 80.0, 254 / 2.5
"""LSB: where membranes rest, and where they do before inhibition."""
REPEATS = 64
INPUT, WEIGHTS = 15.0, np.arange(-63, 64, 6)
PRODUCTS = 0.002 * 128 * INPUT * WEIGHTS
"""What the multiplier shall answer to 128 such inputs with one of these weights."""


@dataclasses.dataclass(frozen=True)
class StatisticsOfAChip:
    """Responses, intervals and noise on a chip."""

    leak: float = 407.0
    """LSB, for the intervals (code 1000): with tau_mem 10 and t_ref 2 µs one takes 6.0 µs."""
    threshold: float = 167.0
    reset: float = 50.0
    circuits: int = 512
    """Circuits of the chip, in two rows."""


class Found(NamedTuple):
    """weights: of all rows together; excited, inhibited: heights of the responses, LSB of the MADC; intervals: means of
    the uncalibrated circuits, µs (nan: silent); madc: samples of a resting membrane minus their mean, LSB; products:
    gain times sum of x w; outputs: of the multiplier's columns, LSB."""

    weights: Float[Array, " weights"]
    excited: Float[Array, "weights circuits"]
    inhibited: Float[Array, "weights circuits"]
    intervals: Float[Array, " circuits"]
    madc: Float[Array, "samples circuits"]
    products: Float[Array, " inputs"]
    outputs: Float[Array, "repeats inputs columns"]


def hardware_statistics(config: StatisticsOfAChip, key: PRNGKeyArray) -> tuple[Metrics, hw.Mac, RESULTS, Found]:
    """Responses and noise on a chip with what calibration leaves, intervals on one as fabricated."""
    for_chip, for_mac, *keys = jax.random.split(key, 7)
    limits = dataclasses.replace(hw.BSS2, circuits=config.circuits, columns=config.circuits // 2)
    calibrated = hw.Emulated(hw.Chip.fabricate(for_chip, hw.CALIBRATED, limits=limits))
    weights = 32.0 * jnp.arange(1, 10)
    excited, inhibited = (responses(calibrated, weights, end, keys[end]) for end in (0, 1))
    intervals, within = intervals_of(hw.Emulated(hw.Chip.fabricate(for_chip, limits=limits)), config, keys[2])
    rest = _silent(limits, LEAK)
    madc = calibrated.measure(rest, hw.Stimulus(30.0, madc=True), keys[3]).madc
    assert madc is not None
    madc = madc - jnp.mean(madc, axis=0)[None]
    mac = hw.Mac.fabricate(for_mac)
    found = Found(weights, excited, inhibited, intervals, madc, jnp.asarray(PRODUCTS), multiplied(mac, keys[4]))
    return _metrics(found, within), mac, RESULTS.successful, found


def responses(device: hw.Emulated, weights: Array, end: int, key: PRNGKeyArray) -> Float[Array, "weights circuits"]:
    """Heights of postsynaptic potentials at one input (0 exc, 1 inh), LSB of the MADC."""
    codes = _silent(device.limits, INHIBITED_FROM if end else LEAK)
    times = jnp.where(jnp.arange(2) == end, EVENT, jnp.inf)

    def height(weight):
        stimulus = hw.Stimulus(20.0, (times[:1], times[1:]), weight / ROWS, ROWS, madc=True)
        measured = device.measure(codes, stimulus, key)
        t = measured.madc_times
        assert t is not None and measured.madc is not None
        before, peak = t < EVENT, (t > PEAK[0]) & (t < PEAK[1])
        base, top = (jnp.sum(measured.madc * at[:, None], axis=0) / jnp.sum(at) for at in (before, peak))
        return jnp.abs(top - base)

    return lax.map(height, weights)


def intervals_of(
    device: hw.Emulated, config: StatisticsOfAChip, key: PRNGKeyArray
) -> tuple[Float[Array, " circuits"], Float[Array, " circuits"]]:
    """Means of the intervals between spikes, leak over threshold, µs, and their coefficients of variation; nan: silent.

    The codes would be right without mismatch; the inputs are off.
    """
    potentials = {name: jnp.round(nominal_code(getattr(config, name))) for name in ("leak", "threshold", "reset")}
    codes = hw.Codes.default(device.limits, **potentials, i_synin_gm_exc=0, i_synin_gm_inh=0)
    trains = device.measure(codes, hw.Stimulus(200.0, max_spikes=64), key).spikes
    assert trains is not None
    there = trains.times[:, 1:] < jnp.inf
    gaps = jnp.where(there, trains.times[:, 1:] - jnp.where(there, trains.times[:, :-1], 0), jnp.nan)
    mean = jnp.nanmean(gaps, axis=1)
    return mean, jnp.nanstd(gaps, axis=1) / mean


def multiplied(mac: hw.Mac, key: PRNGKeyArray) -> Float[Array, "repeats inputs columns"]:
    """Outputs of all columns for 128 equal inputs and weights."""

    def of(pair):
        weight, key = pair
        drawn = jax.random.split(key, REPEATS)
        return jax.vmap(lambda k: mac(jnp.full(128, INPUT), jnp.full((512, 128), weight), k))(drawn)

    return jnp.swapaxes(lax.map(of, (jnp.asarray(WEIGHTS, float), jax.random.split(key, len(WEIGHTS)))), 0, 1)


def _silent(limits: hw.Limits, leak: float) -> hw.Codes:
    return hw.Codes.default(limits, leak=round(nominal_code(leak)), threshold=limits.largest_code)


def _metrics(found: Found, within: Array) -> Metrics:
    per_weight = jnp.median(found.excited, axis=1) / found.weights
    most, scale = saturation(found)
    firing = found.intervals > 0
    linear, at = np.abs(PRODUCTS) < 80, np.argmin(np.abs(PRODUCTS - 51))
    mean, wanted = jnp.mean(found.outputs, axis=0), PRODUCTS[linear]
    slope = jnp.mean(wanted @ mean[linear]) / np.sum(wanted**2)
    return {
        "height_per_weight": jnp.mean(per_weight),
        "height_linearity": jnp.max(jnp.abs(per_weight / jnp.mean(per_weight) - 1)),
        "height_spread": jnp.std(found.excited[-1]) / jnp.mean(found.excited[-1]),
        "inhibition_most": most,
        "inhibition_scale": scale,
        "interval": jnp.nanmean(found.intervals),
        "interval_variation": jnp.nanstd(found.intervals) / jnp.nanmean(found.intervals),
        "interval_variation_within": jnp.nanmedian(within),
        "firing": jnp.mean(firing),
        "madc_noise": jnp.std(found.madc),
        "mac_gain": 0.002 * slope,
        "mac_noise": jnp.sqrt(jnp.mean(jnp.var(found.outputs, axis=0)[linear])),
        "mac_pattern": jnp.std(mean[at]) * 51 / PRODUCTS[at],
    }


def saturation(found: Found) -> tuple[Array, Array]:
    """A and s of the best A (1 - exp(-w / s)) through the median heights of inhibition: s on a grid of 1."""
    height, scales = jnp.median(found.inhibited, axis=1), jnp.arange(60.0, 600.0)
    shape = 1 - jnp.exp(-found.weights[None] / scales[:, None])
    most = shape @ height / jnp.sum(shape**2, axis=1)
    best = jnp.argmin(jnp.sum((most[:, None] * shape - height[None]) ** 2, axis=1))
    return most[best], scales[best]
