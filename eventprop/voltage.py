"""What losses want to know of membrane potentials as functions of time: their integrals and maxima."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from eventprop.closed_form import expand
from eventprop.failures import error_if
from eventprop.motion import Pieces, integral, pieces, top
from eventprop.network import AbstractNetwork, network_as_arrays
from eventprop.neurons.base import ClosedForm
from eventprop.parameters import AnyScalar, as_arrays, as_float, check_not_negative
from eventprop.simulation import Solution
from eventprop.solvers.afferents import arrivals, gather
from eventprop.solvers.base import NetworkState, resting_state, state_as_arrays
from eventprop.solvers.trial import layer_trial
from eventprop.spikes import Spikes

_Rates = Callable[[Float[Array, "..."], Float[Array, "..."]], Float[Array, "..."]]


class VoltagePath(eqx.Module):
    """The membrane potentials V(t) of one population in one trial, as pieces of their closed form."""

    pieces: Pieces
    bias: Float[Array, "..."]
    unbounded: Bool[Array, ""]

    def integral(self) -> Float[Array, " neurons"]:
        """int_0^t1 V dt of each neuron, in closed form.

        For `t1 = inf` that is infinite where V does not decay to 0 (it tends to the bias, or is held at a reset value);
        derivatives with respect to the bias then mean nothing, and are 0.
        """
        p = self.pieces
        length = jnp.sum(p.duration, axis=0)
        total = jnp.sum(integral(p), axis=0)
        bounded = total + jnp.where(self.unbounded, 0, length) * self.bias
        end = self._end() + self.bias
        diverges = self.unbounded & (end != 0)
        return jnp.where(diverges, jnp.where(end > 0, jnp.inf, -jnp.inf).astype(total.dtype), bounded)

    def integral_of(self, rate: _Rates, *, nodes: int = 16) -> Float[Array, " neurons"]:
        """int_0^t1 l_V(V(t), t) dt of each neuron for a smooth `rate` l_V(V, t), which goes element by element.

        By Gauss-Legendre quadrature with so many `nodes` between any two events, where V is smooth: it converges
        exponentially, soon for stretches of a few time constants. Where V jumps, at a spike, a piece ends, so the
        jumps l_V^- - l_V^+ of Eq. 30a are among the derivatives. Raises for `t1 = inf`.
        """
        p = self.pieces
        x, weight = np.polynomial.legendre.leggauss(nodes)
        duration = error_if(p.duration, self.unbounded, "integral_of needs a finite t1.")

        def at(x: Array, weight: Array) -> Array:
            v = p.potential(x * duration) + expand(self.bias, 2)
            return jnp.sum(weight * duration * rate(v, jnp.broadcast_to(p.begin + x * duration, v.shape)), axis=0)

        fractions, weights = (jnp.asarray(y, p.v.dtype) for y in ((1 + x) / 2, weight / 2))
        return jnp.sum(jax.vmap(at)(fractions, weights), axis=0)

    def maximum(self) -> Float[Array, " neurons"]:
        """The largest V in [0, t1] of each neuron, in closed form: at an event, at the end, or where I + bias = V.

        A neuron that spikes has its threshold. Where V is largest at several moments, derivatives are those of the
        first; where it is largest at an input or at 0, a kink, they are those of V at that event.
        """
        p = self.pieces
        candidates = jnp.concatenate(
            [p.v[:1], jnp.stack([top(p), p.potential(p.duration)], 1).reshape(-1, p.v.shape[1])]
        )
        first = jnp.argmax(candidates, axis=0)
        return jnp.take_along_axis(candidates, first[None], axis=0)[0] + self.bias

    def _end(self) -> Float[Array, " neurons"]:
        return self.pieces.potential(self.pieces.duration)[-1]


def voltage_path(
    network: AbstractNetwork,
    spikes: Spikes,
    solution: Solution,
    t1: AnyScalar,
    *,
    population: int = -1,
    state: NetworkState | None = None,
    max_events: int | None = None,
) -> VoltagePath:
    """Membrane potentials of a population as functions of time, for the l_V(V, t) of Wunderlich & Pehle (2021), Eq. 1.

        solution = simulate(network, spikes, t1, solver=...)
        maxima = voltage_maximum(network, spikes, solution, t1)          # or voltage_integral, or voltage_path(...)

    The motion is rebuilt from the spikes of `solution`, without any search, at a cost linear in the events. So it is
    differentiable with respect to whatever `simulate` is: directly, and through the spike times of `solution` of all
    populations, in forward and reverse mode and to any order. Readouts (`LI`) cost one scan over what arrives. For
    spiking neurons V jumps at the spikes, and their derivatives have the jump terms of Table 2.

    **Arguments**

    - `network`, `spikes`, `t1`, `state`: as `simulate` got them. One trial; use `jax.vmap` for a batch.
    - `solution`: what it returned.
    - `population`: number of the population, -1 for the last one.
    - `max_events`: most spikes of each source population, as for `Exact`. None: as many as it has slots, which costs
      time for wide layers. Too few are an error.

    Raises ValueError for a population that does not exist or has no closed form, and for a solution that does not fit.
    """
    weights = [as_float("the weight of a connection", p.connection.weight) for p in network.projections]
    dtype = jnp.result_type(*weights)
    count = len(network.neurons)
    if not -count <= population < count:
        raise ValueError(f"population must be from {-count} to {count - 1}, but is {population}.")
    if not isinstance(network.neurons[population], ClosedForm):
        name = type(network.neurons[population]).__name__
        raise ValueError(
            f"population {population}, {name}, has no closed form: take its potentials from saveat and ys."
        )
    if len(solution.spikes) != count or np.ndim(spikes.times) != 1:
        raise ValueError(
            f"solution has {len(solution.spikes)} populations and spikes the shape {np.shape(spikes.times)}, but the "
            f"network has {count} populations, and one trial is wanted: use jax.vmap for a batch."
        )
    check_not_negative("t1", t1, "a trial goes from 0 to t1")
    network, state = network_as_arrays(network, dtype), state_as_arrays(state, dtype)
    spikes = Spikes(as_arrays("spikes", spikes.times, dtype), spikes.index)
    t1 = jnp.asarray(as_float("t1", t1), dtype)
    return _path(network, spikes, solution, t1, state, population % count, max_events)


@eqx.filter_jit
def _path(
    network: Any, spikes: Spikes, solution: Solution, t1: Array, state: Any, population: int, max_events: int | None
) -> VoltagePath:
    neuron = network.neurons[population]
    start = resting_state(network, t1.dtype)
    if state is not None:
        start = NetworkState(state.neurons, state.in_flight or start.in_flight)
    into = network.into(population)
    arriving = []
    for number, p in into:
        sent = spikes if p.source is None else _merged(solution, p.source, max_events)
        arriving.append(arrivals(p.connection, sent, start.in_flight[number], t1))
    linear = neuron.closed_form(t1.dtype)
    coordinates = neuron.coordinates(start.neurons[population])
    afferents = gather([p.connection for _, p in into], arriving)
    trial = layer_trial(linear, coordinates, afferents, t1, at_rest=state is None)
    trains = solution.spikes[population]
    found = pieces(trial, None if trains is None else trains.times.T)
    return VoltagePath(found, linear.bias, jnp.isinf(t1))


def _merged(solution: Solution, source: int, max_events: int | None) -> Spikes:
    trains = solution.spikes[source]
    if trains is None:
        raise ValueError(f"solution has no spikes of population {source}, to which others listen.")
    merged, lost = trains.merge(max_events)
    times = error_if(
        merged.times, lost > 0, f"population {source} has more spikes than `max_events` = {max_events}; raise it."
    )
    return Spikes(times, merged.index)


def voltage_integral(
    network: AbstractNetwork,
    spikes: Spikes,
    solution: Solution,
    t1: AnyScalar,
    *,
    population: int = -1,
    state: NetworkState | None = None,
    max_events: int | None = None,
) -> Float[Array, " neurons"]:
    """int_0^t1 V dt of each neuron of a population: l_V = V in Eq. 1. See `voltage_path` and `VoltagePath.integral`."""
    options: dict[str, Any] = {"population": population, "state": state, "max_events": max_events}
    return voltage_path(network, spikes, solution, t1, **options).integral()


def voltage_maximum(
    network: AbstractNetwork,
    spikes: Spikes,
    solution: Solution,
    t1: AnyScalar,
    *,
    population: int = -1,
    state: NetworkState | None = None,
    max_events: int | None = None,
) -> Float[Array, " neurons"]:
    """The largest V of each neuron of a population. See `voltage_path` and `VoltagePath.maximum`."""
    options: dict[str, Any] = {"population": population, "state": state, "max_events": max_events}
    return voltage_path(network, spikes, solution, t1, **options).maximum()
