"""What every solver offers to `simulate`."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from eventprop.adjoint import AbstractAdjoint
from eventprop.network import AbstractNetwork
from eventprop.parameters import as_arrays
from eventprop.results import RESULTS
from eventprop.solvers.afferents import InFlight, no_flight
from eventprop.spikes import Spikes, SpikeTrains


class NetworkState(eqx.Module):
    """Where a network stands: the state of each population, and what is under way on each projection.

    `in_flight` has one entry per projection, None for those without delay. Left out, nothing is under way.
    """

    neurons: tuple[Any, ...]
    in_flight: tuple[InFlight | None, ...] = ()


class Trajectory(NamedTuple):
    """What a solver found, one entry per population.

    `lost` counts the spikes of each population that found no place in the bounds `max_spikes`, `max_events` and
    `max_in_flight`; `result`: what else the solver has noticed. `raster`: the spikes of each step, of solvers that have
    steps of one length.
    """

    spikes: tuple[SpikeTrains | None, ...]
    ys: tuple[Float[Array, "times _"], ...] | None
    state: NetworkState
    lost: Int[Array, "populations 3"]
    result: RESULTS = RESULTS.successful
    raster: tuple[Float[Array, "steps _"] | None, ...] | None = None


class AbstractSolver(eqx.Module):
    """Runs a network through one trial."""

    @abc.abstractmethod
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
        """The trial from 0 to `t1`, starting in `state`, with membrane potentials at the times `ts`.

        `state` None: all neurons are at rest, and below their thresholds there. `keys`: one for each population, the
        `args` of its neurons.
        """

    @abc.abstractmethod
    def prepare(self, network: AbstractNetwork, t1: Any, adjoint: AbstractAdjoint) -> "AbstractSolver":
        """The solver for a trial of this length, which is all that may become part of the program.

        Raises ValueError for networks and adjoints that it cannot take.
        """


def resting_state(network: AbstractNetwork, dtype: Any) -> NetworkState:
    """Every population at rest, nothing in flight."""
    neurons = tuple(neuron.init(size, dtype) for neuron, size in zip(network.neurons, network.sizes, strict=True))
    return NetworkState(neurons, tuple(no_flight(p.connection, dtype) for p in network.projections))


def state_as_arrays(state: NetworkState | None, dtype: Any) -> NetworkState | None:
    """All numbers of a state as arrays of one dtype, but who sent what is in flight, which stays whole."""
    if state is None:
        return None
    flights = tuple(
        None
        if flight is None
        else InFlight(as_arrays("state.in_flight", flight.times, dtype), jnp.asarray(flight.index, jnp.int32))
        for flight in state.in_flight
    )
    return NetworkState(as_arrays("state", state.neurons, dtype), flights)
