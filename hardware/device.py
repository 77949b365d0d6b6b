"""What calibration, experiments and training see of a chip, simulated or real."""

import abc
import dataclasses
from typing import TYPE_CHECKING, Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from eventprop import AbstractNetwork, Spikes, SpikeTrains
from eventprop.parameters import (
    Parameter,
    check_finite,
    check_not_negative,
    check_positive,
    is_concrete,
    numeric,
    whole,
)
from hardware.codes import Codes
from hardware.limits import Limits
from hardware.placement import Placement


@dataclasses.dataclass(frozen=True)
class Features:
    """The parts of a neuron circuit that are switched on.

    spiking: its threshold; exponential: the upstroke; adaptation; conductances: synaptic inputs that depend on the
    membrane potential (COBA).
    """

    spiking: bool = True
    exponential: bool = False
    adaptation: bool = False
    conductances: bool = False


class Stimulus(eqx.Module):
    """What an unplaced chip is shown for a time: the same events to all circuits at once.

    duration: µs. times: [events] of each input (exc, inh), `inf` for none; an event there delivers the weight 0 to 63,
        one number or one per circuit [circuits], of `rows` rows together.
    force_reset: whether every circuit is reset at 0, as by a spike, and held for its refractory period.
    reference: a potential (LSB) that is connected to all CADC channels instead of the membranes, or None.
    madc: whether the potentials of all circuits are sampled by the MADC too (a pair of circuits at a time).
    max_spikes: most spikes per circuit that are kept.
    features: of all circuits.

    Raises ValueError for a duration that is not positive and finite, negative or NaN times, and weights below 0; those
    above the largest one are an error of the device that measures.
    """

    duration: float = eqx.field(static=True, converter=float)
    times: tuple[Any, Any] = eqx.field(default=(np.zeros(0), np.zeros(0)))
    weight: Parameter = eqx.field(converter=numeric("weight"), default=0.0)
    rows: int = eqx.field(static=True, default=1)
    force_reset: bool = eqx.field(static=True, default=False)
    reference: Parameter | None = eqx.field(converter=numeric("reference"), default=None)
    madc: bool = eqx.field(static=True, default=False)
    max_spikes: int = eqx.field(static=True, default=16)
    features: Features = eqx.field(static=True, default=Features())

    def __check_init__(self):
        check_positive("duration", self.duration, "µs")
        check_finite("duration", self.duration, "µs")
        for end, times in zip(("exc", "inh"), self.times, strict=True):
            check_not_negative(f"times of the input {end}", times, "inf stands for no event")
        check_not_negative("weight", self.weight)
        check_finite("reference", self.reference)
        whole("rows", self.rows, 1)
        whole("max_spikes", self.max_spikes, 1)

    def check(self, limits: Limits) -> None:
        """Raise ValueError for more than a chip has: weights, rows."""
        if is_concrete(self.weight) and np.any(np.asarray(self.weight) > limits.largest_weight):
            raise ValueError(
                f"the stimulus' weight must be at most {limits.largest_weight}, but is {self.weight}: take more rows."
            )
        if self.rows > limits.synapse_rows:
            raise ValueError(f"the stimulus' rows must be at most {limits.synapse_rows}, but are {self.rows}.")


class Measurement(eqx.Module):
    """What an unplaced chip has answered. Samples and potentials in LSB, times in µs.

    spikes: of each circuit (None if its threshold is off); lost: spikes that found no room in `max_spikes`;
    cadc [samples, circuits] at cadc_times; madc [madc samples, circuits] at madc_times, or None.
    """

    spikes: SpikeTrains | None
    lost: Int[Array, ""]
    cadc: Float[Array, "samples circuits"]
    cadc_times: Float[Array, " samples"]
    madc: Float[Array, "madc_samples circuits"] | None
    madc_times: Float[Array, " madc_samples"] | None


@dataclasses.dataclass(frozen=True)
class Record:
    """What a run shall record beside spikes.

    cadc: the populations whose membranes the CADC samples (None: all). madc: up to two neurons (population, neuron),
    one on an even and one on an odd circuit. max_spikes: most spikes per neuron that there is room for.
    """

    cadc: tuple[int, ...] | None = None
    madc: tuple[tuple[int, int], ...] = ()
    max_spikes: int = 32

    def populations(self, network: AbstractNetwork) -> tuple[int, ...]:
        """The populations that are sampled. Raises ValueError for one that the network has not."""
        count = len(network.neurons)
        chosen = tuple(range(count)) if self.cadc is None else self.cadc
        if any(not 0 <= population < count for population in chosen):
            raise ValueError(f"record.cadc = {self.cadc} names a population that is none: there are 0 to {count - 1}.")
        return chosen

    def check(self, network: AbstractNetwork) -> None:
        """Raise ValueError for populations and neurons that the network has not, and for more than two on the MADC."""
        self.populations(network)
        whole("record.max_spikes", self.max_spikes, 1)
        sizes = network.sizes
        if len(self.madc) > 2 or any(np.shape(each) != (2,) for each in self.madc):
            raise ValueError(f"record.madc must be up to two pairs (population, neuron), but is {self.madc}.")
        for population, neuron in self.madc:
            if not (0 <= population < len(sizes) and 0 <= neuron < sizes[population]):
                raise ValueError(
                    f"record.madc = {self.madc} names a neuron that is none: the populations have {sizes} neurons."
                )


class Readings(eqx.Module):
    """What a device sends back from a run; every array has the leading axes of the input spikes.

    - spikes: of each population the events with stamps of 8 ns (None for those without spikes);
    - cadc: of each recorded population, samples [samples, neurons] that hold whole LSB; None for the others;
    - cadc_times [samples], µs, the same for all trials;
    - madc: [madc samples, recorded neurons], or None; madc_times;
    - drops: events that did not get through (full buses, full buffers).
    """

    spikes: tuple[Spikes | None, ...]
    cadc: tuple[Float[Array, "*batch samples _"] | None, ...]
    cadc_times: Float[Array, " samples"]
    madc: Float[Array, "*batch madc_samples recorded"] | None
    madc_times: Float[Array, " madc_samples"] | None
    drops: Int[Array, "*batch"]


class AbstractDevice(eqx.Module):
    """A chip as its users see it: limits, identity, spikes and samples. Times in µs, potentials in LSB.

    Weights are floats that hold whole numbers [neurons, sources], signed, up to 63 per row pair of the placement, one
    array per projection. So are samples and codes: gradients pass through them where the device can be differentiated.
    """

    if TYPE_CHECKING:  # to which an abstract variable is the first field of every device

        @property
        def limits(self) -> Limits:
            """Of the chip."""
            ...
    else:
        limits: eqx.AbstractVar[Limits]

    @property
    @abc.abstractmethod
    def identity(self) -> Any:
        """What tells this chip from others: uint32 numbers [2] (an array, so that chips can be vmapped).

        None for a device without a chip, to which any calibration may be applied.
        """

    @abc.abstractmethod
    def measure(self, codes: Codes, stimulus: Stimulus, key: PRNGKeyArray) -> Measurement:
        """All circuits, not connected to each other, under a stimulus: what calibration needs."""

    @abc.abstractmethod
    def configure(self, network: AbstractNetwork, placement: Placement, codes: Codes | None) -> Any:
        """The chip set up for a network: a pytree that `run` takes. The network's weights play no part.

        codes: None where the device brings its own, or needs none. Raises ValueError if it does neither.
        """

    @abc.abstractmethod
    def run(
        self,
        handle: Any,
        weights: tuple[Float[Array, "_ _"], ...],
        spikes: Spikes,
        t1: float,
        record: Record,
        key: PRNGKeyArray,
    ) -> Readings:
        """One run of the configured chip: the trials along the leading axes of `spikes`, each from 0 to t1."""
