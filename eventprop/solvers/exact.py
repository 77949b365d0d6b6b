"""The closed-form solver: spikes to rounding, for every topology."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from eventprop.adjoint import AbstractAdjoint, Implicit
from eventprop.network import AbstractNetwork
from eventprop.neurons.base import AbstractNeuron, ClosedForm
from eventprop.parameters import check_type
from eventprop.solvers.afferents import InFlight, arrivals, gather, no_events, still_in_flight
from eventprop.solvers.base import AbstractSolver, NetworkState, Trajectory, resting_state
from eventprop.solvers.bounds import bound, per_population
from eventprop.solvers.component import Pathway
from eventprop.solvers.layer import Solved, solve_layer, solve_recurrent
from eventprop.solvers.recurrent import Bounds
from eventprop.spikes import Spikes, SpikeTrains


class Exact(AbstractSolver):
    """Closed form: spike times to rounding, for neurons that have one (`ClosedForm`: `LIF` and `LI`).

    Populations whose input is known, the layers of a feed-forward network, are solved one after the other. A neuron
    depends on its input only, so all neurons of a population search for their next spike at the same time: the
    sequential work is one pass per spike of a *neuron*, not one step per spike of the network. Populations that hear
    themselves or each other are searched together in the same way, from one spike to the moment where it may be heard,
    after the smallest delay; what fires at a moment does so before anything that arrives then. Their derivatives are
    one pass over all spikes and arrivals. A search that has lost a spike stops there.

    max_spikes: most spikes per neuron and trial, one number or one per spiking population. Lost spikes are counted (up
        to 1000 per neuron) and by default an error.
    max_events: most spikes that a population hands on to others, one number, one per population that others listen to,
        or None for as many as its neurons could fire together. Sorting costs time, and most slots are empty: a bound
        somewhat above the largest number of spikes saves much of it. Lost spikes are counted as above.
    max_in_flight: most events of a connection with delays that may be under way at the end of a trial, and in recurrent
        networks at any time (from the oldest one on). None: as many as its source can hand on in one trial; in large
        recurrent networks a bound saves much of the time. Lost events are counted as above.
    chunk: input events that are searched together.
    """

    max_spikes: int | tuple[int, ...] = eqx.field(static=True, converter=bound)
    max_events: int | tuple[int, ...] | None = eqx.field(static=True, converter=bound, default=None)
    max_in_flight: int | None = eqx.field(static=True, converter=bound, default=None)
    chunk: int = eqx.field(static=True, converter=bound, default=64)

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
        adjoint: AbstractAdjoint,
        ts: Float[Array, " times"] | None,
        state: NetworkState | None,
        keys: tuple[PRNGKeyArray | None, ...],
    ) -> Trajectory:
        """Component by component; see `simulate`. Nothing is random."""
        spiking = [number for number, neuron in enumerate(network.neurons) if neuron.events]
        heard = sorted({p.source for p in network.projections if p.source is not None})
        max_spikes = per_population("max_spikes", self.max_spikes, spiking)
        max_events = per_population("max_events", self.max_events, heard)
        start = resting_state(network, t1.dtype) if state is None else state
        sent: dict[int | None, Spikes] = {None: spikes}
        solved: list[Solved | None] = [None] * len(network.neurons)
        lost = jnp.zeros((len(solved), 3), jnp.int32)
        for component in network.components():
            solve = self._solve_recurrent if network.is_recurrent(component) else self._solve_alone
            options = {"adjoint": adjoint, "ts": ts, "at_rest": state is None}
            found, counts = solve(network, component, sent, start, t1, max_spikes, max_events, **options)
            for number, one, count in zip(component, found, counts, strict=True):
                solved[number], lost = one, lost.at[number].set(count)
                if number in heard and one.times is not None:
                    sent[number], beyond = SpikeTrains(one.times.T).merge(max_events[number], one.occupied)
                    lost = lost.at[number, 1].max(beyond)
        flights: list[InFlight | None] = []
        for p, flight in zip(network.projections, start.in_flight, strict=True):
            left = None
            if p.connection.delay is not None:
                capacity = self.max_in_flight or sent[p.source].times.shape[0]
                left, beyond = still_in_flight(arrivals(p.connection, sent[p.source], flight, t1), t1, capacity)
                lost = lost.at[p.target, 2].add(beyond)
            flights.append(left)
        return _trajectory(network, solved, flights, lost)

    def prepare(self, network: AbstractNetwork, t1: Any, adjoint: AbstractAdjoint) -> "Exact":
        """The same. Every neuron must be a `ClosedForm`, and `adjoint` the `Implicit` rule."""
        check_type("adjoint of Exact", adjoint, Implicit, "Surrogate goes with Grid, EventProp with Hybrid")
        for neuron in network.neurons:
            _closed_form(neuron)
        return self

    def _solve_alone(
        self, network, component, sent, start, t1, max_spikes, max_events, **options
    ) -> tuple[tuple[Solved, ...], Array]:
        """One population whose input is known."""
        (number,) = component
        neuron, into = _closed_form(network.neurons[number]), network.into(number)
        found = solve_layer(
            neuron.closed_form(t1.dtype),
            neuron.coordinates(start.neurons[number]),
            gather(
                [p.connection for _, p in into],
                [arrivals(p.connection, sent[p.source], start.in_flight[k], t1) for k, p in into],
            ),
            t1,
            max_spikes=max_spikes.get(number),
            max_events=max_events.get(number),
            chunk=self.chunk,
            **options,
        )
        return (found,), jnp.zeros((1, 3), jnp.int32).at[0, 0].set(found.lost)

    def _solve_recurrent(
        self, network, component, sent, start, t1, max_spikes, max_events, **options
    ) -> tuple[tuple[Solved, ...], Array]:
        """Populations that hear each other."""
        neurons = [_closed_form(network.neurons[number]) for number in component]
        sizes = [network.sizes[number] for number in component]
        first = {number: sum(sizes[:k]) for k, number in enumerate(component)}
        pathways = []
        for number in component:
            for k, p in network.into(number):
                within = p.source in first
                flight = start.in_flight[k]
                if within:
                    known = no_events(p.connection, t1.dtype) if flight is None else flight
                else:
                    known = arrivals(p.connection, sent[p.source], flight, t1)
                pathways.append(Pathway(p.connection, known, first[p.source] if within else None, first[number]))
        slots = tuple(max_spikes[number] for number in component)
        most = [size * number for size, number in zip(sizes, slots, strict=True)]
        events = tuple(min(max_events[k] or total, total) for k, total in zip(component, most, strict=True))
        under_way = sum(min(self.max_in_flight or total, total) for total in events) + sum(sizes)
        return solve_recurrent(
            [neuron.closed_form(t1.dtype) for neuron in neurons],
            [neuron.coordinates(start.neurons[k]) for k, neuron in zip(component, neurons, strict=True)],
            pathways,
            t1,
            bounds=Bounds(slots, events, min(under_way, sum(events)), self.chunk),
            **options,
        )


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
            f"Exact has no closed form for {type(neuron).__name__}; it solves those that are `ClosedForm`: "
            "take Hybrid or Grid."
        )
    return neuron
