"""Pseudospikes: what quadratic neurons would still fire after the end of a trial, so that no spike ever disappears."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from eventprop.network import AbstractNetwork
from eventprop.neurons.qif import QIF
from eventprop.neurons.refractory import FiresOnce
from eventprop.parameters import AnyScalar, as_float, check_positive
from eventprop.simulation import Solution
from eventprop.spikes import SpikeTrains


def add_pseudospikes(
    network: AbstractNetwork, solution: Solution, t1: AnyScalar, *, drive: AnyScalar = 1.0
) -> tuple[SpikeTrains | None, ...]:
    """The spike trains of a solution, with all empty slots of `QIF` neurons filled by pseudospikes after `t1`.

    From the end of the trial on, a neuron is driven by a constant instead of its input (Klos & Memmesheimer 2025):

        tau_mem V' = (V - m)^2 + drive,    m = (rest + critical) / 2,
        t - t1 = left + tau_mem / c [atan((peak - m) / c) - atan((V(t1) - m) / c)],    c = sqrt(drive),

    where `left` is what remains of a refractory period, and the next ones follow after a whole period each. So a spike
    that leaves the trial at its end goes on as a pseudospike, and its time is a continuous function of all parameters:
    a loss can pull at the spikes of silent neurons. Its derivative is continuous as peak and -reset go to infinity; at
    finite ones it changes there by a part of the order of (I - drive) / (peak - m)^2.

    Populations that are not `QIF`, or fire once, keep their trains. Raises ValueError for a drive that is not positive.
    """
    check_positive("drive", drive, "without it a neuron need not fire")
    return tuple(
        _filled(neuron, trains, state, t1, drive)
        if isinstance(neuron, QIF) and trains is not None and not isinstance(neuron.refractory, FiresOnce)
        else trains
        for neuron, trains, state in zip(network.neurons, solution.spikes, solution.state.neurons, strict=True)
    )


def _filled(neuron: QIF, trains: SpikeTrains, state: Any, t1: AnyScalar, drive: AnyScalar) -> SpikeTrains:
    times = trains.times
    c = jnp.sqrt(jnp.asarray(as_float("drive", drive), times.dtype))
    tau_mem, middle = jnp.asarray(neuron.tau_mem), (jnp.asarray(neuron.rest) + neuron.critical) / 2

    def rise(v: Any) -> Float[Array, "..."]:
        """From v to the peak."""
        return tau_mem / c * (jnp.arctan((neuron.peak - middle) / c) - jnp.arctan((v - middle) / c))

    none = neuron.refractory is None or isinstance(neuron.refractory, FiresOnce)
    refractory = jnp.asarray(0.0 if none else neuron.refractory, times.dtype)
    first = jnp.asarray(as_float("t1", t1), times.dtype) + jnp.maximum(state.refractory, 0) + rise(state.v)
    period = jnp.broadcast_to(rise(neuron.reset) + refractory, first.shape)
    number = jnp.arange(times.shape[1])[None] - trains.count()[:, None]
    fired = number < 0
    later = first[:, None] + jnp.where(fired, 0, number).astype(times.dtype) * period[:, None]
    return SpikeTrains(jnp.where(fired, times, later))
