"""A fabricated chip before and after its calibration: spreads of the circuits, and their firing rates."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

import hardware as hw
from benchmarks.results import RESULTS
from benchmarks.training import Metrics
from hardware.units import nominal_code


@dataclasses.dataclass(frozen=True)
class CalibrationOfAChip:
    """Circuits before and after calibration."""

    leak: float = 110.0
    """Targets: LSB of the CADC, µs. The leak is above the threshold, so that all circuits fire; these would at 100
    kHz."""
    reset: float = 60.0
    threshold: float = 87.534
    tau_mem: float = 10.0
    tau_syn: float = 10.0
    refractory_time: float = 2.0
    circuits: int = 512
    """Circuits of the chip, in two rows."""


class Circuits(NamedTuple):
    """Of one chip: potentials in LSB (with what all parts of a circuit add), µs, LSB/µs per weight, kHz."""

    leak: Float[Array, " circuits"]
    reset: Float[Array, " circuits"]
    threshold: Float[Array, " circuits"]
    tau_mem: Float[Array, " circuits"]
    tau_syn_exc: Float[Array, " circuits"]
    tau_syn_inh: Float[Array, " circuits"]
    strength_exc: Float[Array, " circuits"]
    rate: Float[Array, " circuits"]


class Found(NamedTuple):
    """The same chip with the codes that would be right without mismatch, and with those that calibration has found."""

    before: Circuits
    after: Circuits


def hardware_calibration(
    config: CalibrationOfAChip, key: PRNGKeyArray
) -> tuple[Metrics, hw.Calibration, RESULTS, Found]:
    """Standard deviations within quadrants, before and after, and the share of circuits that fire as they shall."""
    for_chip, for_calibration, for_rates = jax.random.split(key, 3)
    limits = dataclasses.replace(hw.BSS2, circuits=config.circuits, columns=config.circuits // 2)
    device = hw.Emulated(hw.Chip.fabricate(for_chip, limits=limits))
    names = ("leak", "reset", "threshold", "tau_mem", "tau_syn", "refractory_time")
    targets = hw.Targets.default(limits, **{name: getattr(config, name) for name in names})
    calibration = hw.calibrate(device, targets, for_calibration)
    nominal = {name: jnp.round(nominal_code(getattr(targets, name))) for name in ("leak", "reset", "threshold")}
    uncalibrated = dataclasses.replace(hw.Codes.default(limits), **nominal)
    found = Found(*(circuits(device, codes, for_rates) for codes in (uncalibrated, calibration.codes)))
    metrics: Metrics = {}
    for name in Circuits._fields:
        before, after = (_spread(getattr(each, name), limits.quadrants) for each in found)
        metrics |= {f"{name}_before": before, f"{name}_after": after, f"{name}_ratio": after / before}
    rate = found.after.rate / expected_rate(config)
    metrics |= {"success": jnp.mean(calibration.success), "in_range": jnp.mean((rate > 0.9) & (rate < 1.15))}
    return metrics, calibration, RESULTS.successful, found


def circuits(device: hw.Emulated, codes: hw.Codes, key: PRNGKeyArray) -> Circuits:
    """What these codes make of the circuits; the rates are measured."""
    p = device.chip.parameters(codes)
    rest = p.leak + p.tau_mem * p.offset
    held = (p.reset / p.tau_reset + rest / p.tau_mem) / (1 / p.tau_reset + 1 / p.tau_mem)
    trains = device.measure(codes, hw.Stimulus(300.0, max_spikes=64), key).spikes
    assert trains is not None
    count = jnp.sum(trains.times < jnp.inf, axis=1)
    last = jnp.take_along_axis(trains.times, jnp.maximum(count - 1, 0)[:, None], axis=1)[:, 0]
    span = jnp.where(count > 1, last - trains.times[:, 0], 1)
    rate = jnp.where(count > 1, 1e3 * (count - 1) / span, 0)
    return Circuits(rest, held, p.threshold, p.tau_mem, p.tau_syn_exc, p.tau_syn_inh, p.strength_exc, rate)


def expected_rate(config: CalibrationOfAChip) -> Array:
    """kHz: an interval is t_ref + tau_mem ln((leak - reset) / (leak - threshold)); 0 where the leak is too low."""
    above = jnp.maximum(config.leak - config.threshold, 1e-9)
    interval = config.refractory_time + config.tau_mem * jnp.log((config.leak - config.reset) / above)
    return jnp.where(config.leak > config.threshold, 1e3 / interval, 0)


def _spread(x: Array, quadrants: int) -> Array:
    return jnp.mean(jnp.std(x.reshape(quadrants, -1), axis=1))
