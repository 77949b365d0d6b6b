"""The closed-form, neuron-local solver for feed-forward LIF networks."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from eventprop.adjoint import Implicit
from eventprop.network import FeedForward
from eventprop.neurons.li import LI, LIState
from eventprop.neurons.lif import LIF, LIFState
from eventprop.solvers.base import AbstractSolver, Trajectory, resting_state
from eventprop.solvers.implicit import (
    begin_potential,
    current_before,
    potential_in_window,
    releases,
    spike_times,
    windows,
)
from eventprop.solvers.trial import LayerTrial, layer_trial, rounding
from eventprop.spikes import Spikes, SpikeTrains


def _bound(value: Any) -> Any:
    """Bounds of any integer type, and lists of them, as what jit can take for a part of the program."""
    if isinstance(value, list | tuple):
        return tuple(_bound(x) for x in value)
    return int(value) if isinstance(value, np.integer) else value


class Exact(AbstractSolver):
    """Closed form: spike times to rounding, for layers of `LIF` and a last layer of `LIF` or `LI`.

    A neuron of a feed-forward layer depends on its input only, so all neurons search for their next spike at the same
    time: the sequential work is one pass per spike of a *neuron*, not one step per spike of the network.

    max_spikes: most spikes per neuron and trial, one number or one per spiking layer. Lost spikes are counted (up to
        1000 per neuron) and by default an error.
    max_events: most spikes that a layer hands on to the next, one number, one per hidden layer, or None for as many as
        its neurons could fire together. Sorting costs time, and most slots are empty: a bound somewhat above the
        largest number of spikes saves much of it. Lost spikes are counted as above.
    chunk: input events that are searched together.
    """

    max_spikes: int | tuple[int, ...] = eqx.field(static=True, converter=_bound)
    max_events: int | tuple[int, ...] | None = eqx.field(static=True, converter=_bound, default=None)
    chunk: int = eqx.field(static=True, converter=_bound, default=64)

    def __check_init__(self):
        for name in ("max_spikes", "max_events", "chunk"):
            value = getattr(self, name)
            bounds = value if isinstance(value, tuple) else (value,)
            optional = name == "max_events" and value is None
            if not optional and not all(isinstance(x, int) and x >= 1 for x in bounds):
                raise ValueError(f"{name} sets the size of arrays: it must be a whole number from 1, but is {value}.")

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
        """Layer by layer; see `simulate`."""
        spiking = sum(isinstance(neuron, LIF) for _, neuron in network.layers)
        max_spikes = _per_layer("max_spikes", self.max_spikes, spiking)
        max_events = _per_layer("max_events", self.max_events, len(network.layers) - 1)
        trains, ys, states, lost = [], [], [], []
        start = resting_state(network, spikes.times.dtype) if state is None else state
        for number, ((connection, neuron), initial) in enumerate(zip(network.layers, start, strict=True)):
            if not isinstance(neuron, LIF | LI):
                raise ValueError(f"Exact has no closed form for {type(neuron).__name__}; it solves LIF and LI.")
            trial = layer_trial(connection, neuron, initial, spikes.times, spikes.index, t1, at_rest=state is None)
            times, occupied, due = jnp.zeros((0, connection.neurons), spikes.times.dtype), None, None
            beyond = overflow = jnp.zeros((), jnp.int32)
            if isinstance(neuron, LIF):
                bounds = {"max_spikes": max_spikes[number], "max_events": (*max_events, None)[number]}
                times, _, fired, occupied, due = spike_times(trial, **bounds, chunk=self.chunk, adjoint=adjoint)
                beyond = jnp.sum(jnp.maximum(fired - max_spikes[number], 0), dtype=jnp.int32)
            trains.append(SpikeTrains(times.T) if isinstance(neuron, LIF) else None)
            ys.append(None if ts is None else _potentials(trial, neuron, times, ts))
            states.append(_final_state(trial, neuron, times, due))
            if number + 1 < len(network.layers):
                spikes, overflow = SpikeTrains(times.T).merge(max_events[number], occupied)
            lost.append(jnp.stack([beyond, overflow]))
        return Trajectory(tuple(trains), None if ts is None else tuple(ys), tuple(states), jnp.stack(lost))


def _per_layer(name: str, value: int | tuple[int, ...] | None, layers: int) -> tuple[Any, ...]:
    values = value if isinstance(value, tuple) else (value,) * layers
    if len(values) != layers:
        raise ValueError(f"{name} = {value} must be one number or one for each of the {layers} layers concerned.")
    return values


def _potentials(trial: LayerTrial, neuron: LIF | LI, spikes: Array, ts: Array) -> Array:
    v, _, _ = _state_at(trial, spikes, ts)
    return v + jnp.reshape(jnp.asarray(neuron.bias, v.dtype), (1, -1))


def _final_state(trial: LayerTrial, neuron: LIF | LI, spikes: Array, due: Array | None) -> LIFState | LIState:
    v, i, refractory = (x[0] for x in _state_at(trial, spikes, trial.end[None]))
    v = v + neuron.bias
    if due is None or not isinstance(neuron, LIF):
        return LIState(v, i)
    # The next trial must see what this one has found: only who is due is at the threshold. Derivatives stay those of v.
    threshold = lax.stop_gradient(jnp.asarray(neuron.threshold, v.dtype))
    above = (v >= threshold) & (v - threshold <= rounding(trial.threshold, trial.reset, jnp.asarray(neuron.bias)))
    nearest = jnp.where(due, threshold, jnp.nextafter(threshold, -jnp.inf))
    moved = v - lax.stop_gradient(v) + nearest
    return LIFState(jnp.where(jnp.where(due, v < threshold, above), moved, v), i, refractory)


def _state_at(trial: LayerTrial, spikes: Array, ts: Array) -> tuple[Array, Array, Array]:
    """(v, i, refractory time left) at `ts`, just after spikes at these times and just before inputs."""
    at = jnp.broadcast_to(jnp.where(ts <= trial.end, ts, trial.end)[:, None], (ts.shape[0], trial.neurons))
    # Behind the last spike one more window is open, and empty slots open none.
    closing = jnp.broadcast_to(trial.end, (1, trial.neurons))
    times = jnp.concatenate([jnp.where(jnp.isfinite(spikes), spikes, trial.end), closing])
    number = jnp.sum(spikes[None] <= at[:, None], axis=1)

    def select(rows):
        return jnp.take_along_axis(rows, number, axis=0)

    v_begin = select(begin_potential(trial, times.shape[0]))
    v = potential_in_window(trial, select(windows(trial, times)), v_begin, at)
    return v, current_before(trial, at), _remaining(select(releases(trial, times)), at)


def _remaining(release: Array, at: Array) -> Array:
    return jnp.where(release > at, release - at, 0)
