"""Gradients of the ideal model at what a chip has done: along all its spikes, or at the first ones."""

import abc
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

import eventprop as ep
from eventprop.closed_form import Membrane
from eventprop.parameters import Parameter, check_largest_step, check_positive, numeric, whole
from eventprop.solvers.hybrid import rank_in_group
from hardware.readout import first_spikes


class Recorded(NamedTuple):
    """What one trial has left: events of each population, potentials in the model's units at the times of samples."""

    spikes: tuple[ep.Spikes | None, ...]
    voltage: tuple[Float[Array, "samples _"] | None, ...]
    times: Float[Array, " samples"]


class Followed(NamedTuple):
    """The same numbers, with derivatives; raster: spikes per step [steps, neurons], of gradients that know steps."""

    spikes: tuple[ep.Spikes | None, ...]
    voltage: tuple[Float[Array, "samples _"] | None, ...]
    raster: tuple[Float[Array, "steps _"] | None, ...] | None = None


class AbstractGradient(eqx.Module):
    """How derivatives of the ideal model are taken at a recorded trial."""

    @abc.abstractmethod
    def follow(
        self, network: ep.AbstractNetwork, spikes: ep.Spikes, t1: float, recorded: Recorded, slots: int
    ) -> Followed:
        """The recorded numbers with the model's derivatives in the network and the input times.

        slots: most spikes per neuron. Raises ValueError for networks that it cannot follow.
        """


class Replay(AbstractGradient):
    """EventProp at the recorded spikes: `eventprop.Replay`, for any network and neuron that has spike times.

    Spikes have the derivatives of their times, dt = -dV / V' with the model's state; potentials those of the model,
    which jumps where the chip has spiked. A recorded spike where the model's potential hardly rises (below `minimum`
    thresholds per tau_mem) has none.

    largest_step: µs, of the integration between events. max_steps: room for events and steps, as for
    `eventprop.Replay`. forward: whether derivatives in forward mode are taken too (the default has reverse mode only,
    for less memory).
    """

    minimum: Parameter = eqx.field(converter=numeric("minimum"), default=0.05)
    largest_step: float = eqx.field(static=True, default=2.0)
    max_steps: int = eqx.field(static=True, default=4096)
    forward: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        check_positive("minimum", self.minimum, "it is a slope")
        check_largest_step(self.largest_step)
        whole("max_steps", self.max_steps, 1)

    def follow(
        self, network: ep.AbstractNetwork, spikes: ep.Spikes, t1: float, recorded: Recorded, slots: int
    ) -> Followed:
        """One simulation along the recorded spikes."""
        ranks = [
            None if events is None else rank_of(events, size)
            for events, size in zip(recorded.spikes, network.sizes, strict=True)
        ]
        trains = tuple(
            None if events is None or rank is None else trains_of(events, rank, size, slots)
            for events, rank, size in zip(recorded.spikes, ranks, network.sizes, strict=True)
        )
        policy = ep.ZeroGradient(self.minimum)
        found = ep.simulate(
            network,
            spikes,
            t1,
            solver=ep.Replay(trains, self.largest_step, self.max_steps),
            adjoint=ep.Implicit(policy) if self.forward else ep.EventProp(policy),
            saveat=diffrax.SaveAt(ts=recorded.times),
        )
        assert found.ys is not None
        spikes_out: list[ep.Spikes | None] = []
        for events, rank, train in zip(recorded.spikes, ranks, found.spikes, strict=True):
            if events is None or train is None:
                spikes_out.append(None)
                continue
            row = _row(events, train.times.shape[0])
            moved = train.times.at[row, rank].get(mode="fill", fill_value=jnp.inf)
            spikes_out.append(ep.Spikes(with_derivatives(events.times, moved), events.index))
        voltage = [
            None if v is None else with_derivatives(v, y) for v, y in zip(recorded.voltage, found.ys, strict=True)
        ]
        return Followed(tuple(spikes_out), tuple(voltage))


class FirstSpike(AbstractGradient):
    """The closed-form derivative of first spikes, at the recorded times, for networks of LIF neurons and LI readouts.

        V_j(t) = bias_j + sum_i w_ji psp(t - t_i),    dt_j = -dV_j(t_j) / V_j'(t_j),

    over the first spikes t_i of neurons, and all events of the input (Göltz et al. 2021, for any ratio of time
    constants). Neurons are taken to fire once: later spikes are constants. Potentials have derivatives where a
    population does not spike. A spike where the model's potential rises by less than `minimum` thresholds per tau_mem
    has none. Networks without recurrence.
    """

    minimum: Parameter = eqx.field(converter=numeric("minimum"), default=0.05)

    def __check_init__(self):
        check_positive("minimum", self.minimum, "it is a slope")

    def follow(
        self, network: ep.AbstractNetwork, spikes: ep.Spikes, t1: float, recorded: Recorded, slots: int
    ) -> Followed:
        """Population by population, sources before their targets."""
        events: list[ep.Spikes | None] = list(recorded.spikes)
        voltage = list(recorded.voltage)
        for component in network.components():
            if network.is_recurrent(component):
                raise ValueError(f"FirstSpike cannot follow the recurrent populations {component}: use Replay().")
            (number,) = component
            neuron, given, seen = network.neurons[number], events[number], voltage[number]
            if not isinstance(neuron, ep.LIF | ep.LI):
                raise ValueError(f"FirstSpike follows LIF and LI, not {type(neuron).__name__}: use Replay().")
            sent = [(p.connection, spikes if p.source is None else events[p.source]) for _, p in network.into(number)]
            if given is not None and isinstance(neuron, ep.LIF):
                events[number] = self._moved(neuron, network.sizes[number], sent, given)
            elif seen is not None:
                at = jnp.broadcast_to(recorded.times[:, None], seen.shape)
                potential = jax.vmap(lambda t, n=neuron, s=sent: _potential(n, s, t))(at)
                voltage[number] = with_derivatives(seen, potential)
        return Followed(tuple(events), tuple(voltage))

    def _moved(self, neuron: ep.LIF, size: int, sent: list, given: ep.Spikes) -> ep.Spikes:
        """Events whose first one of each neuron has derivatives."""
        at = lax.stop_gradient(first_spikes(given, size))
        present = at < jnp.inf
        moment = jnp.where(present, at, 0)
        v = _potential(neuron, sent, moment) - jnp.asarray(neuron.threshold, at.dtype)
        _, slope = jax.jvp(lambda t: _potential(neuron, sent, t), (moment,), (jnp.ones_like(moment),))
        slope, unit = lax.stop_gradient((slope, jnp.asarray(neuron._unit(), at.dtype)))
        rises = present & (slope * unit >= self.minimum)
        change = jnp.where(rises, (lax.stop_gradient(v) - v) / jnp.where(rises, slope, 1), 0)
        first = (given.times == at[given.index]) & (given.times < jnp.inf)
        return ep.Spikes(jnp.where(first, given.times + change[given.index], given.times), given.index)


def rank_of(events: ep.Spikes, neurons: int) -> Int[Array, " events"]:
    """The number of each event among those of its neuron: 0 for its first one."""
    return rank_in_group(_row(events, neurons))


def trains_of(events: ep.Spikes, rank: Int[Array, " events"], neurons: int, slots: int) -> ep.SpikeTrains:
    """The events as one train per neuron; those beyond `slots` are left out."""
    empty = jnp.full((neurons, slots), jnp.inf, events.times.dtype)
    return ep.SpikeTrains(empty.at[_row(events, neurons), rank].set(events.times, mode="drop"))


def _row(events: ep.Spikes, neurons: int) -> Int[Array, " events"]:
    """The neuron of each event, and one that does not exist for the padding."""
    return jnp.where(events.times < jnp.inf, events.index, neurons)


def with_derivatives(value: Array, model: Array) -> Array:
    """`value`, with the derivatives of `model`."""
    model = jnp.where(jnp.isfinite(model), model, 0)
    return lax.stop_gradient(value) + (model - lax.stop_gradient(model))


def _potential(neuron: Any, sent: list, t: Float[Array, " neurons"]) -> Float[Array, " neurons"]:
    """V of neurons that have not fired, each at its own time."""
    dtype = t.dtype
    membrane = Membrane(jnp.asarray(neuron.tau_mem, dtype), jnp.asarray(neuron.tau_syn, dtype))
    v = jnp.asarray(neuron.bias, dtype) * (1 - membrane.leak(t))
    flow = membrane.align(2)
    for connection, events in sent:
        present = events.times < jnp.inf
        arrival = jnp.where(present, events.times, 0)[:, None]
        if connection.delay is not None:
            arrival = arrival + connection.delays(events.index)
        after = t[None] - arrival
        response = jnp.where(after > 0, flow.propagator(jnp.maximum(after, 0))[2], 0)
        v = v + jnp.sum(jnp.where(present[:, None], connection.charges(events.index), 0) * response, axis=0)
    return v
