"""A device without a chip: the model's own neurons, in the place of circuits."""

import dataclasses
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

import eventprop as ep
from eventprop.failures import error_if
from eventprop.parameters import Parameter, check_finite_in, check_positive, numeric
from hardware.chip import Chip
from hardware.codes import Codes
from hardware.device import AbstractDevice, Measurement, Readings, Record, Stimulus
from hardware.emulated import Emulated
from hardware.limits import BSS2, Limits
from hardware.mixed import model_side
from hardware.observe import MADC_GAIN, cadc_times, madc_times
from hardware.placement import Placement
from hardware.weights import each_projection, signs


class Ideal(AbstractDevice):
    """What a chip would be without noise, mismatch and converters: `Ideal()` in the place of a chip is its mock.

    It simulates the network that it is configured with, with the weights that it is sent (whole LSB), and answers with
    exact spike times and potentials in LSB. `run` gives it the scales of the experiment; it takes the calibration of
    any chip. Training on it, and running the result on a chip, is the transfer without the loop.

    weight_scale: LSB per unit of weight, one number or one per projection; trace_scale, trace_offset: a potential V of
    the model is V / trace_scale + trace_offset LSB. By default calix' targets, with a threshold of 1: 50 LSB of weight,
    and 45 LSB above a leak of 80.
    solver: of `eventprop.simulate`; None: `Exact` where all neurons have a closed form, else `Grid(0.1)`.
    """

    weight_scale: Any = 50.0
    trace_scale: Parameter = eqx.field(converter=numeric("trace_scale"), default=1 / 45)
    trace_offset: Parameter = eqx.field(converter=numeric("trace_offset"), default=80.0)
    solver: ep.AbstractSolver | None = None
    limits: Limits = eqx.field(static=True, default=BSS2)

    def __check_init__(self):
        check_positive("trace_scale", self.trace_scale, "the model's potential per LSB")
        check_finite_in(self, "trace_scale", "trace_offset")

    @property
    def identity(self) -> UInt32[Array, "2"] | None:
        """None: it is no chip, and any calibration will do."""
        return None

    def in_units(self, weight_scale: Any, trace_scale: Any, trace_offset: Any) -> "Ideal":
        """The same with the scales of an experiment."""
        return dataclasses.replace(self, weight_scale=weight_scale, trace_scale=trace_scale, trace_offset=trace_offset)

    def measure(self, codes: Codes, stimulus: Stimulus, key: PRNGKeyArray) -> Measurement:
        """As a chip without fixed pattern and noise."""
        chip = Emulated(Chip.ideal(self.limits))
        return chip.measure(codes, stimulus, key)

    def configure(self, network: ep.AbstractNetwork, placement: Placement, codes: Codes | None) -> ep.AbstractNetwork:
        """The network itself."""
        return model_side(network)

    def run(
        self,
        handle: ep.AbstractNetwork,
        weights: tuple[Float[Array, "_ _"], ...],
        spikes: ep.Spikes,
        t1: float,
        record: Record,
        key: PRNGKeyArray,
    ) -> Readings:
        """See `AbstractDevice`. All is differentiable, by implicit spike times."""
        network = self._network(handle, weights)
        slow, fast = cadc_times(t1, self.limits), madc_times(t1, self.limits)
        fast = fast if record.madc else fast[:0]
        solver = ideal_solver(network, record.max_spikes) if self.solver is None else self.solver

        def trial(times, index, k):
            saveat = diffrax.SaveAt(ts=jnp.asarray(np.concatenate([slow, fast])))
            found = ep.simulate(network, ep.Spikes(times, index), t1, solver=solver, saveat=saveat, key=k, throw=False)
            assert found.ys is not None
            failed = (found.result != ep.RESULTS.successful) & (found.result != ep.RESULTS.spikes_lost)
            ys = error_if(found.ys, failed, "the model has failed: ep.simulate(network, ...) tells why")
            trains = [None if each is None else each.times for each in found.spikes]
            most = record.max_spikes
            beyond = sum(jnp.sum(t[:, most:] < jnp.inf, dtype=jnp.int32) for t in trains if t is not None)
            merged = tuple(None if t is None else ep.SpikeTrains(t[:, :most]).merge()[0] for t in trains)
            lsb = tuple(v / self.trace_scale + self.trace_offset for v in ys)
            return merged, lsb, found.stats["spikes_lost"] + beyond

        batch = spikes.times.shape[:-1]
        keys = jax.random.split(key, batch)
        for _ in batch:
            trial = jax.vmap(trial)
        events, lsb, lost = trial(spikes.times, spikes.index, keys)
        recorded = record.populations(network)
        madc = [lsb[population][..., len(slow) :, neuron] for population, neuron in record.madc]
        dtype = spikes.times.dtype
        return Readings(
            events,
            tuple(v[..., : len(slow), :] if number in recorded else None for number, v in enumerate(lsb)),
            jnp.asarray(slow, dtype),
            MADC_GAIN * jnp.stack(madc, axis=-1) if record.madc else None,
            jnp.asarray(fast, dtype) if record.madc else None,
            lost,
        )

    def _network(self, network: ep.AbstractNetwork, weights: tuple[Array, ...]) -> ep.Network:
        """The network with these weights, in the model's units."""
        scales = each_projection(self.weight_scale, len(weights))
        projections = [
            (p.source, p.target, ep.Dense(sign * weight / scale, p.connection.delay, p.connection.port))
            for p, weight, scale, sign in zip(network.projections, weights, scales, signs(network), strict=True)
        ]
        return ep.Network(network.neurons, projections)


def ideal_solver(network: ep.AbstractNetwork, max_spikes: int) -> ep.AbstractSolver:
    """`Exact` where all neurons have a closed form, else `Grid` with steps of 0.1 µs."""
    closed = all(isinstance(neuron, ep.ClosedForm) for neuron in network.neurons)
    return ep.Exact(max_spikes) if closed else ep.Grid(0.1, max_spikes)
