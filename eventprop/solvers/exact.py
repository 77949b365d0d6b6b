"""The closed-form solver: spikes to rounding, for every topology."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from eventprop.adjoint import Implicit
from eventprop.network import AbstractNetwork
from eventprop.neurons.base import AbstractNeuron, ClosedForm
from eventprop.solvers.afferents import InFlight, arrivals, gather, still_in_flight
from eventprop.solvers.base import AbstractSolver, NetworkState, Trajectory, resting_state
from eventprop.solvers.layer import Solved, solve_layer
from eventprop.spikes import Spikes, SpikeTrains


def _bound(value: Any) -> Any:
    """Bounds of any integer type, and lists of them, as what jit can take for a part of the program."""
    if isinstance(value, list | tuple):
        return tuple(_bound(x) for x in value)
    return int(value) if isinstance(value, np.integer) else value


class Exact(AbstractSolver):
    """Closed form: spike times to rounding, for neurons that have one (`ClosedForm`: `LIF` and `LI`).

    Populations whose input is known, the layers of a feed-forward network, are solved one after the other. A neuron
    depends on its input only, so all neurons of a population search for their next spike at the same time: the
    sequential work is one pass per spike of a *neuron*, not one step per spike of the network.

    max_spikes: most spikes per neuron and trial, one number or one per spiking population. Lost spikes are counted (up
        to 1000 per neuron) and by default an error.
    max_events: most spikes that a population hands on to others, one number, one per population that others listen to,
        or None for as many as its neurons could fire together. Sorting costs time, and most slots are empty: a bound
        somewhat above the largest number of spikes saves much of it. Lost spikes are counted as above.
    max_in_flight: most events of a connection with delays that may be under way at the end of a trial. None: as many as
        its source can hand on in one trial. Lost events are counted as above.
    chunk: input events that are searched together.
    """

    max_spikes: int | tuple[int, ...] = eqx.field(static=True, converter=_bound)
    max_events: int | tuple[int, ...] | None = eqx.field(static=True, converter=_bound, default=None)
    max_in_flight: int | None = eqx.field(static=True, converter=_bound, default=None)
    chunk: int = eqx.field(static=True, converter=_bound, default=64)

    def __check_init__(self):
        for name in ("max_spikes", "max_events", "max_in_flight", "chunk"):
            value = getattr(self, name)
            bounds = value if isinstance(value, tuple) else (value,)
            optional = name in ("max_events", "max_in_flight") and value is None
            if not optional and not all(isinstance(x, int) and x >= 1 for x in bounds):
                raise ValueError(f"{name} sets the size of arrays: it must be a whole number from 1, but is {value}.")

    def run(
        self,
        network: AbstractNetwork,
        spikes: Spikes,
        t1: Float[Array, ""],
        *,
        adjoint: Implicit,
        ts: Float[Array, " times"] | None,
        state: NetworkState | None,
    ) -> Trajectory:
        """Component by component; see `simulate`."""
        spiking = [number for number, neuron in enumerate(network.neurons) if neuron.events]
        heard = sorted({p.source for p in network.projections if p.source is not None})
        max_spikes = _per_population("max_spikes", self.max_spikes, spiking)
        max_events = _per_population("max_events", self.max_events, heard)
        start = resting_state(network, t1.dtype) if state is None else state
        sent: dict[int | None, Spikes] = {None: spikes}
        flights: list[InFlight | None] = list(start.in_flight)
        solved: list[Solved | None] = [None] * len(network.neurons)
        lost = jnp.zeros((len(solved), 3), jnp.int32)
        for component in network.components():
            if network.is_recurrent(component):
                raise ValueError("recurrent")
            (number,) = component
            neuron, into = _closed_form(network.neurons[number]), network.into(number)
            arriving = [arrivals(p.connection, sent[p.source], start.in_flight[k], t1) for k, p in into]
            found = solve_layer(
                neuron.closed_form(t1.dtype),
                neuron.coordinates(start.neurons[number]),
                gather([p.connection for _, p in into], arriving),
                t1,
                max_spikes=max_spikes.get(number),
                max_events=max_events.get(number),
                chunk=self.chunk,
                adjoint=adjoint,
                ts=ts,
                at_rest=state is None,
            )
            solved[number], counts = found, [found.lost, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)]
            if number in heard and found.times is not None:
                sent[number], counts[1] = SpikeTrains(found.times.T).merge(max_events[number], found.occupied)
            for (k, p), events in zip(into, arriving, strict=True):
                if p.connection.delay is not None:
                    capacity = self.max_in_flight or sent[p.source].times.shape[0]
                    flights[k], beyond = still_in_flight(events, t1, capacity)
                    counts[2] += beyond
            lost = lost.at[number].set(jnp.stack(counts))
        return _trajectory(network, solved, flights, lost)


def _trajectory(network: AbstractNetwork, solved: list[Any], flights: list[InFlight | None], lost: Array) -> Trajectory:
    neurons = tuple(
        _closed_form(neuron).from_coordinates(*found.coordinates)
        for neuron, found in zip(network.neurons, solved, strict=True)
    )
    trains = tuple(None if found.times is None else SpikeTrains(found.times.T) for found in solved)
    ys = None if solved[0].potentials is None else tuple(found.potentials for found in solved)
    return Trajectory(trains, ys, NetworkState(neurons, tuple(flights)), lost)


def _closed_form(neuron: AbstractNeuron) -> ClosedForm:
    if not isinstance(neuron, ClosedForm):
        raise ValueError(
            f"Exact has no closed form for {type(neuron).__name__}; it solves those that are `ClosedForm`."
        )
    return neuron


def _per_population(name: str, value: int | tuple[int, ...] | None, populations: list[int]) -> dict[int, Any]:
    values = value if isinstance(value, tuple) else (value,) * len(populations)
    if len(values) != len(populations):
        raise ValueError(
            f"{name} = {value} must be one number or one for each of the {len(populations)} layers concerned."
        )
    return dict(zip(populations, values, strict=True))
