"""A fabricated chip as a device: measured, configured and run on a fixed grid."""

import math
from functools import partial
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32

import eventprop as ep
from eventprop.failures import error_if
from eventprop.parameters import check_positive, check_type
from hardware.chip import Chip
from hardware.circuits import at_rest, circuit
from hardware.codes import Codes
from hardware.configured import Configured, converter, noisy
from hardware.device import AbstractDevice, Measurement, Readings, Record, Stimulus
from hardware.limits import Limits
from hardware.observe import (
    Converter,
    cadc,
    cadc_times,
    in_order,
    jittered,
    madc,
    madc_times,
    stamped,
    through_bus,
    through_outputs,
)
from hardware.placement import Placement


class Emulated(AbstractDevice):
    """A fabricated chip that is simulated: `Emulated(Chip.fabricate(key))`.

    The circuits run on `eventprop.Grid` with steps of `dt`; membranes, samples, thresholds and times have the chip's
    noise. Events take the chip's latency to their synapses, and wait for a bus: those from outside for that of their
    first row pair, those that are recorded for their circuits' output. Buses hold up no events between circuits.

    `configure` and `run` are differentiable in codes, weights, times and the chip itself. Under `jax.vmap` there are
    many chips. What is drawn: by the chip's key its fixed pattern; per `run` the thresholds, the same for all trials of
    a batch; per trial the rest.

    dt: µs; t1 must be a whole number of steps. Its error is of first order, and adds up: of one neuron
        the first spike came 0.034 µs early with 0.1, 0.007 with 0.02; the fifth 0.3 earlier than with 0.005.
    quantised: False leaves out what has steps (CADC, MADC, time stamps), for checks of derivatives. adjoint:
        `Implicit()` or `Surrogate(...)`, as for `Grid`.
    """

    chip: Chip
    dt: float = eqx.field(static=True, default=0.1)
    quantised: bool = eqx.field(static=True, default=True)
    adjoint: ep.AbstractAdjoint = ep.Implicit()

    def __check_init__(self):
        check_type("chip", self.chip, Chip)
        check_positive("dt", self.dt, "it is the length of a step")

    @property
    def limits(self) -> Limits:
        """Those of the chip."""
        return self.chip.limits

    @property
    def identity(self) -> UInt32[Array, "2"]:
        """The chip's number."""
        return self.chip.identity

    def configure(self, network: ep.AbstractNetwork, placement: Placement, codes: Codes | None) -> Configured:
        """See `AbstractDevice`. Raises ValueError for codes out of range, and for neurons that the chip has not.

        Codes must be whole; only without steps (`quantised` False) may they lie in between.
        """
        if codes is None:
            raise ValueError("an emulated chip needs codes: give Experiment a calibration of it.")
        codes = codes.check(whole=self.quantised).of_size(self.limits)
        placement.check(network)
        return Configured.of(self.chip, network, placement, codes)

    @eqx.filter_jit
    def run(
        self,
        handle: Configured,
        weights: tuple[Float[Array, "_ _"], ...],
        spikes: ep.Spikes,
        t1: float,
        record: Record,
        key: PRNGKeyArray,
    ) -> Readings:
        """See `AbstractDevice`."""
        handle.placement.check_madc(record.madc)
        for_run, for_trials = jax.random.split(key)
        network = handle.network(self.chip, self.chip.drifted(handle.parameters, for_run), weights)
        batch = spikes.times.shape[:-1]
        flat = jax.tree.map(lambda x: x.reshape(math.prod(batch), x.shape[-1]), spikes)
        keys = jax.random.split(for_trials, flat.times.shape[0])
        trial = partial(self._trial, handle, network, t1, record)
        found = jax.tree.map(lambda x: x.reshape(*batch, *x.shape[1:]), jax.vmap(trial)(flat, keys))
        events, samples, traces, drops = found
        sampled = dict(zip(record.populations(network), samples, strict=True))
        dtype = spikes.times.dtype
        return Readings(
            events,
            tuple(sampled.get(number) for number in range(len(network.neurons))),
            jnp.asarray(cadc_times(t1, self.limits), dtype),
            traces,
            None if traces is None else jnp.asarray(madc_times(t1, self.limits), dtype),
            drops,
        )

    def measure(self, codes: Codes, stimulus: Stimulus, key: PRNGKeyArray) -> Measurement:
        """See `AbstractDevice`. Membranes start at rest. Raises ValueError for codes and weights out of range."""
        stimulus.check(self.limits)
        return self._measure(codes.check(whole=self.quantised).of_size(self.limits), stimulus, key)

    @eqx.filter_jit
    def _measure(self, codes: Codes, stimulus: Stimulus, key: PRNGKeyArray) -> Measurement:
        size, limits = self.limits.circuits, self.limits
        for_run, for_cadc, for_madc, for_trial = jax.random.split(key, 4)
        parameters = self.chip.drifted(self.chip.parameters(codes), for_run)
        neuron = circuit(parameters, np.arange(size)[:, None], stimulus.features)
        start = at_rest(neuron, size)
        if stimulus.force_reset:
            clock = jnp.broadcast_to(neuron.refractory, (size,))
            start = eqx.tree_at(lambda y: (y.clock, y.held), start, (clock, jnp.ones_like(start.held)))
        network = self._stimulated(neuron, stimulus)
        times = [cadc_times(stimulus.duration, limits)]
        times += [madc_times(stimulus.duration, limits)] if stimulus.madc else []
        solution = ep.simulate(
            network,
            _events(stimulus.times, start.v.dtype),
            stimulus.duration,
            solver=ep.Grid(self.dt, stimulus.max_spikes),
            adjoint=self.adjoint,
            saveat=diffrax.SaveAt(ts=jnp.asarray(np.concatenate(times))),
            state=ep.NetworkState((start,), ()),
            key=for_trial,
            throw=False,
        )
        assert solution.ys is not None
        samples = len(times[0])
        v, fast = solution.ys[0][:samples], solution.ys[0][samples:]
        if stimulus.reference is not None:
            v = jnp.full_like(v, stimulus.reference)
        noise, whole = self.chip.noise, self.quantised
        return Measurement(
            solution.spikes[0],
            solution.stats["spikes_lost"],
            cadc(v, converter(self.chip, codes), noise.cadc, for_cadc, limits, whole),
            jnp.asarray(times[0], v.dtype),
            madc(fast, noise.madc, for_madc, limits, whole) if stimulus.madc else None,
            jnp.asarray(times[1], v.dtype) if stimulus.madc else None,
        )

    def _stimulated(self, neuron: Any, stimulus: Stimulus) -> ep.Network:
        """Both inputs of all circuits, driven by the first rows of their synapses."""
        size = self.limits.circuits
        rows, circuits = np.meshgrid(np.arange(stimulus.rows), np.arange(size), indexing="ij")
        projections = []
        for end in (0, 1):
            gain = jnp.sum(self.chip.synapse_gain(jnp.asarray(rows), jnp.asarray(circuits), end), axis=0)
            charge = jnp.zeros((size, 2), gain.dtype).at[:, end].set(stimulus.weight * gain)
            projections.append((None, 0, ep.Dense(charge, port=end)))
        return ep.Network([noisy(neuron, self.chip)], projections)

    def _trial(
        self,
        handle: Configured,
        network: ep.Network,
        t1: float,
        record: Record,
        spikes: ep.Spikes,
        key: PRNGKeyArray,
    ) -> tuple[tuple[ep.Spikes | None, ...], tuple[Array, ...], Array | None, Int[Array, ""]]:
        """Events of each population, samples of the recorded ones, MADC traces, and the number of drops."""
        limits, noise = self.limits, self.chip.noise
        for_input, for_grid, for_stamps, for_cadc, for_madc = jax.random.split(key, 5)
        arriving = in_order(ep.Spikes(jittered(spikes.times, noise.jitter, for_input), spikes.index))
        arriving, dropped = through_bus(arriving, handle.input_bus(limits), limits.arrays * limits.buses, limits)
        arriving = ep.Spikes(arriving.times + noise.latency, arriving.index)
        slow = cadc_times(t1, limits)
        fast = madc_times(t1, limits) if record.madc else np.zeros(0)
        start = tuple(at_rest(neuron, size) for neuron, size in zip(network.neurons, network.sizes, strict=True))
        solution = ep.simulate(
            network,
            arriving,
            t1,
            solver=ep.Grid(self.dt, record.max_spikes),
            adjoint=self.adjoint,
            saveat=diffrax.SaveAt(ts=jnp.asarray(np.concatenate([slow, fast]))),
            state=ep.NetworkState(start, ()),
            key=for_grid,
            throw=False,
        )
        assert solution.ys is not None
        failed = (solution.result != ep.RESULTS.successful) & (solution.result != ep.RESULTS.spikes_lost)
        ys = error_if(solution.ys, failed, "the emulated chip has failed: an input or a weight is not finite")
        events, lost = self._recorded(handle, network, solution.spikes, for_stamps)
        samples = tuple(
            cadc(
                ys[number][: len(slow)],
                Converter(*(x[handle.placement.circuits[number][:, 0]] for x in handle.converter)),
                noise.cadc,
                jax.random.fold_in(for_cadc, number),
                limits,
                self.quantised,
            )
            for number in record.populations(network)
        )
        traces = None
        if record.madc:
            chosen = jnp.stack([ys[population][len(slow) :, neuron] for population, neuron in record.madc], axis=1)
            traces = madc(chosen, noise.madc, for_madc, limits, self.quantised)
        return events, samples, traces, dropped + lost + solution.stats["spikes_lost"]

    def _recorded(
        self, handle: Configured, network: ep.Network, trains: tuple[ep.SpikeTrains | None, ...], key: PRNGKeyArray
    ) -> tuple[tuple[ep.Spikes | None, ...], Int[Array, ""]]:
        """Events as the host gets them: jitter, one event per 8 ns and output, stamps. And how many are lost."""
        limits = self.limits
        spiking = {number: train.times for number, train in enumerate(trains) if train is not None}
        found: list[ep.Spikes | None] = [None] * len(trains)
        if not spiking:
            return tuple(found), jnp.zeros((), jnp.int32)
        times = [
            jittered(times, self.chip.noise.jitter, jax.random.fold_in(key, place))
            for place, times in enumerate(spiking.values())
        ]
        output = np.concatenate([limits.output()[handle.placement.circuits[number][:, 0]] for number in spiking])
        passed, lost = through_outputs(jnp.concatenate(times), output, limits)
        begin = 0
        for number, own in spiking.items():
            end = begin + own.shape[0]
            index = jnp.tile(jnp.arange(own.shape[0], dtype=jnp.int32), own.shape[1])
            events = in_order(ep.Spikes(passed[begin:end].T.reshape(-1), index))
            found[number] = stamped(events, limits) if self.quantised else events
            begin = end
        return tuple(found), lost


def _events(times: tuple[Any, Any], dtype: Any) -> ep.Spikes:
    """The events of a stimulus, of the sources 0 (exc) and 1 (inh)."""
    joined = jnp.concatenate([jnp.asarray(x, dtype) for x in times])
    index = jnp.concatenate([jnp.full(np.shape(x), source, jnp.int32) for source, x in enumerate(times)])
    return in_order(ep.Spikes(joined, index))
