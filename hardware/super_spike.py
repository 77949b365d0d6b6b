"""Surrogate gradients at what a chip has done, on a grid of steps."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

import eventprop as ep
from eventprop.closed_form import Membrane
from eventprop.loops import vary_alike
from eventprop.parameters import Parameter, check_finite_in, check_positive, numeric
from eventprop.solvers.grid import whole_steps
from hardware.formats import interpolated
from hardware.gradients import AbstractGradient, Followed, Recorded, with_derivatives


class _Steps(NamedTuple):
    """What was recorded of a population on the grid: potentials at the ends of steps, spikes and who is refractory in
    them, and what its spikes leave at the ends of steps, shared between both ends in proportion."""

    v: Float[Array, "*steps neurons"]
    z: Float[Array, "*steps neurons"]
    held: Float[Array, "*steps neurons"]
    sent: Float[Array, "*steps neurons"]


class SuperSpike(AbstractGradient):
    """Surrogate gradients through time at the recorded potentials, for LIF neurons and LI readouts.

    On a grid of `dt` (µs), spikes z and potentials V are the recorded ones, the latter interpolated between samples.
    Derivatives are those of

        V <- exp(-dt/tau_mem) V + psp(dt) I,    I <- exp(-dt/tau_syn) I + W z,
        dz = dV / (1 + alpha |V - threshold|)^2

    (Zenke & Ganguli 2018; Cramer et al. 2022 in the loop), where V - threshold is taken as 0 at a spike, no derivative
    passes through z into the reset of its own neuron, and V stands still in a refractory period. Potentials and
    `raster` carry them; times of spikes are constants. It is `eventprop.Grid` with `Surrogate(SuperSpike(alpha))`, at
    what was recorded. Raises ValueError for a trial that is no whole number of steps.
    """

    alpha: Parameter = eqx.field(converter=numeric("alpha"), default=50.0)
    dt: float = eqx.field(static=True, default=0.5)

    def __check_init__(self):
        check_positive("alpha", self.alpha)
        check_positive("dt", self.dt)
        check_finite_in(self, "alpha", "dt")

    def follow(
        self, network: ep.AbstractNetwork, spikes: ep.Spikes, t1: float, recorded: Recorded, slots: int
    ) -> Followed:
        """One scan over the steps."""
        steps = whole_steps(t1, self.dt)
        ends = self.dt * jnp.arange(1, steps + 1, dtype=spikes.times.dtype)
        measured = tuple(self._measured(network, number, recorded, ends) for number in range(len(network.neurons)))
        v, z = self._scan(network, self._shared(spikes, network.inputs, steps), measured)
        at = [interpolated(recorded.times, ends, y) for y in v]
        voltage = [None if x is None else with_derivatives(x, y) for x, y in zip(recorded.voltage, at, strict=True)]
        raster = tuple(None if events is None else x for events, x in zip(recorded.spikes, z, strict=True))
        return Followed(recorded.spikes, tuple(voltage), raster)

    def _measured(self, network: ep.AbstractNetwork, number: int, recorded: Recorded, ends: Array) -> _Steps:
        neuron, samples, events = network.neurons[number], recorded.voltage[number], recorded.spikes[number]
        if not isinstance(neuron, ep.LIF | ep.LI):
            raise ValueError(f"SuperSpike follows LIF and LI, not {type(neuron).__name__}: use Replay().")
        if samples is None:
            raise ValueError(f"SuperSpike needs the samples of all populations, but not of {number}: record.cadc.")
        v, size = interpolated(ends, recorded.times, samples), network.sizes[number]
        if events is None:
            none = jnp.zeros((ends.shape[0], size), v.dtype)
            return _Steps(v, none, none, none)
        z = self._counts(events, size, ends.shape[0])
        return _Steps(v, z, self._held(neuron, z), self._shared(events, size, ends.shape[0])[1:])

    def _counts(self, events: ep.Spikes, size: int, steps: int) -> Float[Array, "steps _"]:
        step = jnp.where(events.times < jnp.inf, events.times / self.dt, steps).astype(jnp.int32)
        empty = jnp.zeros((steps, size), events.times.dtype)
        return empty.at[step, events.index].add(1.0, mode="drop")

    def _shared(self, events: ep.Spikes, size: int, steps: int) -> Float[Array, "points _"]:
        """Events at the points of the grid, each shared between two in proportion; differentiable in their times."""
        at = jnp.where(events.times < jnp.inf, events.times / self.dt, steps + 1.0)
        point = lax.stop_gradient(jnp.floor(at))
        later, step = at - point, point.astype(jnp.int32)
        empty = jnp.zeros((steps + 1, size), at.dtype)
        begun = empty.at[step, events.index].add(1 - later, mode="drop")
        return begun.at[step + 1, events.index].add(later, mode="drop")

    def _held(self, neuron: Any, z: Array) -> Array:
        """1 in the step of a spike and in its refractory period."""
        refractory = getattr(neuron, "refractory", None)
        if refractory is None:
            return z
        if isinstance(refractory, ep.FiresOnce):
            return jnp.minimum(jnp.cumsum(z, axis=0), 1)
        left = lax.stop_gradient(jnp.broadcast_to(jnp.asarray(refractory, z.dtype), z.shape[1:]))

        def tick(clock, spiking):
            clock = jnp.where(spiking > 0, left, jnp.maximum(clock - self.dt, 0))
            return clock, (clock > 0).astype(z.dtype)

        return lax.scan(tick, vary_alike(jnp.zeros_like(left), z), z)[1]

    def _scan(self, network: ep.AbstractNetwork, arriving: Array, measured: tuple[_Steps, ...]) -> tuple:
        """Potentials and spikes at the ends of all steps, of each population: recorded values, model's derivatives."""

        def heard(i, arrived, sent):
            for p in network.projections:
                i[p.target] = i[p.target] + p.connection.project(arrived if p.source is None else sent[p.source])
            return i

        def step(carry, now):
            arrived, known = now
            found = [self._step(n, v, i, at) for n, (v, i), at in zip(network.neurons, carry, known, strict=True)]
            shown = tuple(each for each, _ in found)
            sent = [at.sent + (z - lax.stop_gradient(z)) for (_, z), at in zip(shown, known, strict=True)]
            current = heard([i for _, i in found], arrived, sent)
            return tuple((v, i) for (v, _), i in zip(shown, current, strict=True)), shown

        weights = (p.connection.weight for p in network.projections)
        dtype = jnp.result_type(arriving, *weights, *(at.v for at in measured))
        zeros = [jnp.zeros(size, dtype) for size in network.sizes]
        start = tuple(zip(zeros, heard(list(zeros), arriving[0], zeros), strict=True))
        start = vary_alike(start, network, arriving, measured)
        _, shown = lax.scan(step, start, (arriving[1:], measured))
        return tuple(v for v, _ in shown), tuple(z for _, z in shown)

    def _step(self, neuron: Any, v: Array, i: Array, at: _Steps) -> tuple[tuple[Array, Array], Array]:
        """A population at the end of a step: (potential, spikes), and what is left of the current."""
        dtype = v.dtype
        membrane = Membrane(jnp.asarray(neuron.tau_mem, dtype), jnp.asarray(neuron.tau_syn, dtype))
        leak, decay, psp = membrane.propagator(jnp.asarray(self.dt, dtype))
        free = leak * v + psp * i + jnp.asarray(neuron.bias, dtype) * (1 - leak)
        z, moved = at.z, free
        if isinstance(neuron, ep.LIF):
            threshold = jnp.asarray(neuron.threshold, dtype)
            distance = lax.stop_gradient(jnp.where(at.z > 0, 0, at.v - threshold))
            rises = jnp.where((at.held > 0) & (at.z == 0), v, free) - threshold
            slope = lax.stop_gradient(ep.SuperSpike(self.alpha)(distance))
            z = at.z + slope * (rises - lax.stop_gradient(rises))
            after = jnp.where(at.z > 0, neuron.reset(free, threshold), v)
            moved = jnp.where(at.held + at.z > 0, after, free)
        return (with_derivatives(at.v, moved), z), decay * i
