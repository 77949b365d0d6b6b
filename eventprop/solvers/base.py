"""What every solver offers to `simulate`."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
from jaxtyping import Array, Float, Int

from eventprop.adjoint import Implicit
from eventprop.network import FeedForward
from eventprop.spikes import Spikes, SpikeTrains


class Trajectory(NamedTuple):
    """What a solver found, one entry per layer.

    `lost` counts the spikes of each layer that found no place in the bounds `max_spikes` and `max_events`.
    """

    spikes: tuple[SpikeTrains | None, ...]
    ys: tuple[Float[Array, "times _"], ...] | None
    state: tuple[Any, ...]
    lost: Int[Array, "layers 2"]


class AbstractSolver(eqx.Module):
    """Runs a network through one trial."""

    @abc.abstractmethod
    def run(
        self,
        network: FeedForward,
        spikes: Spikes,
        t1: Float[Array, ""],
        *,
        adjoint: Implicit,
        ts: Float[Array, " times"] | None,
        state: tuple[Any, ...] | None,
    ) -> Trajectory:
        """The trial from 0 to `t1`, starting in `state`, with membrane potentials at the times `ts`.

        `state` None: all neurons are at rest, and below their thresholds there.
        """


def resting_state(network: FeedForward, dtype: Any) -> tuple[Any, ...]:
    """One resting state per layer."""
    return tuple(neuron.init(connection.neurons, dtype) for connection, neuron in network.layers)
