"""A network on a device, from weights to recordings in the units of the model."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from eventprop import AbstractNetwork, Spikes
from eventprop.failures import error_if
from eventprop.parameters import Parameter, check_finite_in, check_positive, check_type, numeric
from hardware.calibration import Calibration
from hardware.chip import Chip
from hardware.device import AbstractDevice, Record
from hardware.ideal import Ideal
from hardware.placement import Placement
from hardware.weights import hardware_weights


class Experiment(eqx.Module):
    """All that a run needs beside the network: where it sits, the codes, and how the model's units become the chip's.

    placement: of the network. calibration: of the chip; None for a device that brings its own codes, or needs none.
    weight_scale: LSB per unit of weight, one number or one per projection. A neuron of n merged circuits has n times
        the capacitance of one, so that its scale is n times larger (`measure_scaling` measures it).
    trace_scale, trace_offset: a sample c is the potential trace_scale (c - trace_offset) of the model.
    cadc_time_shift: µs, added to the times of samples.
    """

    placement: Placement = eqx.field(static=True)
    calibration: Calibration | None = None
    weight_scale: Any = 1.0
    trace_scale: Parameter = eqx.field(converter=numeric("trace_scale"), default=1.0)
    trace_offset: Parameter = eqx.field(converter=numeric("trace_offset"), default=0.0)
    cadc_time_shift: Parameter = eqx.field(converter=numeric("cadc_time_shift"), default=0.0)

    def __check_init__(self):
        check_type("placement", self.placement, Placement)
        if self.calibration is not None:
            check_type("calibration", self.calibration, Calibration)
        check_positive("trace_scale", self.trace_scale, "the model's potential per LSB")
        check_finite_in(self, "trace_scale", "trace_offset", "cadc_time_shift")


class Recording(eqx.Module):
    """What came back from a run; arrays have the leading axes of the input spikes. Times in µs.

    - spikes: of each population, stamps of 8 ns (None for populations without spikes);
    - cadc [samples, neurons] of each recorded population, whole LSB; voltage: the same in the model's units;
    - cadc_times [samples];
    - madc [madc samples, recorded neurons] at madc_times, or None;
    - drops: events that did not get through; saturated: weights that did not fit and were clipped;
    - raster: spikes of each population per step [steps, neurons], from `in_the_loop` with `SuperSpike`; else None;
    - time: on the chip, all trials together; energy: µJ, an estimate from the power of a whole chip.
    """

    spikes: tuple[Spikes | None, ...]
    cadc: tuple[Float[Array, "*batch samples _"] | None, ...]
    voltage: tuple[Float[Array, "*batch samples _"] | None, ...]
    cadc_times: Float[Array, " samples"]
    madc: Float[Array, "*batch madc_samples recorded"] | None
    madc_times: Float[Array, " madc_samples"] | None
    drops: Int[Array, "*batch"]
    saturated: Int[Array, ""]
    time: Float[Array, ""]
    energy: Float[Array, ""]
    raster: tuple[Float[Array, "*batch steps _"] | None, ...] | None = None


def run(
    experiment: Experiment,
    network: AbstractNetwork,
    device: AbstractDevice,
    spikes: Spikes,
    t1: float,
    key: PRNGKeyArray,
    record: Record = Record(),
    throw: bool = True,
) -> Recording:
    """Run a network on a device: the trials along the leading axes of `spikes`, each from 0 to `t1` µs.

    The network's weights are scaled, rounded and clipped; its other parameters are those that the calibration has
    aimed at, and play no part here. On an `Emulated` chip all is differentiable, straight through what has steps, and
    `jax.vmap` over experiments and devices makes many chips.

    key: what differs from run to run comes from it. throw: whether lost events are an error.

    Raises ValueError for what does not fit on the chip, and for a `t1` that is not known when the program is compiled.
    A calibration of another chip, lost events, and spikes that are unsorted, negative, NaN or of no source are errors
    when the program runs.
    """
    t1 = trial_time(t1)
    spikes = _checked(experiment, network, device, spikes, record)
    if isinstance(device, Ideal):
        device = device.in_units(experiment.weight_scale, experiment.trace_scale, experiment.trace_offset)
    calibration = experiment.calibration
    if calibration is not None and device.identity is not None:
        calibration = calibration.of(device)
    handle = device.configure(network, experiment.placement, None if calibration is None else calibration.codes)
    weights = hardware_weights(network, experiment.placement, experiment.weight_scale, device.limits)
    readings = device.run(handle, weights.values, spikes, t1, record, key)
    drops = readings.drops
    if throw:
        message = (
            "the chip has lost events: fewer of them at a time, more room in record.max_spikes (and in the solver of "
            "Ideal), or throw=False."
        )
        drops = error_if(drops, drops > 0, message)
    time = jnp.asarray(math.prod(spikes.times.shape[:-1]) * t1, readings.cadc_times.dtype)

    def voltage(samples):
        return experiment.trace_scale * (samples - experiment.trace_offset)

    return Recording(
        readings.spikes,
        readings.cadc,
        jax.tree.map(voltage, readings.cadc),
        readings.cadc_times + experiment.cadc_time_shift,
        readings.madc,
        readings.madc_times,
        drops,
        weights.saturated,
        time,
        device.limits.power * time,
    )


def trial_time(t1: Any) -> float:
    """The length of a trial in µs: it sets how many samples there are, so that it must be known before a run."""
    try:
        number = float(t1)
    except (TypeError, ValueError) as error:  # a traced one, too
        raise ValueError(f"t1 must be a number (µs) that is not traced, but is {t1!r}.") from error
    if not 0 < number < math.inf:
        raise ValueError(f"t1 must be positive and finite, but is {number}: µs.")
    return number


def check_device(device: Any) -> None:
    """Raise ValueError for what is no device, a bare chip among it."""
    if isinstance(device, Chip):
        raise ValueError("device is a Chip, which cannot be run by itself: give Emulated(chip).")
    check_type("device", device, AbstractDevice)


def _checked(experiment: Any, network: Any, device: Any, spikes: Any, record: Any) -> Spikes:
    """The spikes. Raises ValueError for what is none of its kind; spikes that cannot be sent are an error in a run."""
    check_type("experiment", experiment, Experiment)
    check_type("network", network, AbstractNetwork)
    check_device(device)
    check_type("spikes", spikes, Spikes)
    check_type("record", record, Record)
    experiment.placement.check(network)
    record.check(network)
    times, index = lax.stop_gradient(spikes.times), spikes.index
    unsorted = jnp.any(times[..., 1:] < times[..., :-1]) | jnp.any(~(times >= 0))
    times = error_if(spikes.times, unsorted, "spikes.times must be sorted, not negative and not NaN (inf: no event).")
    sources = next((p.connection.sources for p in network.projections if p.source is None), 0)
    unknown = (spikes.times < jnp.inf) & ((index < 0) | (index >= sources))
    message = f"spikes.index must name inputs of the network, 0 to {sources - 1}."
    return Spikes(error_if(times, unknown, message), index)
