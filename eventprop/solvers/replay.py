"""A trial along spikes that are given, from a chip or a file, instead of those that the network would fire."""

from collections.abc import Sequence
from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from eventprop.adjoint import AbstractAdjoint
from eventprop.network import AbstractNetwork
from eventprop.neurons.base import sends_spikes
from eventprop.parameters import Parameter, check_largest_step, check_not_negative, check_type, numeric
from eventprop.solvers.base import AbstractSolver, NetworkState, Trajectory
from eventprop.solvers.dynamics import Dynamics
from eventprop.solvers.happen import Given
from eventprop.solvers.hybrid import check_adjoint, prepared, run_hybrid
from eventprop.spikes import Spikes, SpikeTrains


class Replay(AbstractSolver):
    """The network's own dynamics between given spikes, and derivatives as if it had fired them itself.

    spikes: the trains of each population (None for those that do not spike), as in `Solution.spikes`, padded with
        `inf`. Their order does not matter, and those at t1 or later have no part in the trial, as events of the input.
        They are numbers: nothing is differentiated with respect to them. Negative ones and NaN are an error.

    Every neuron jumps and sends where its train says, whatever its potential is then. A spike time changes with the
    parameters by the implicit rule, dt = -dV / V', in the state that the neuron has at the given time. So the spikes of
    another solver lead to that solver's gradients, and those of a chip to gradients at what it has really done. There V
    need not rise: `Implicit(ZeroGradient(minimum))` and `Implicit(ClipSlope(minimum))` say what a spike without slope
    means.

    largest_step, max_steps, solver, stepsize_controller: as for `Hybrid`.
    """

    spikes: tuple[SpikeTrains | None, ...] = eqx.field(converter=tuple)
    largest_step: Parameter = eqx.field(converter=numeric("largest_step"))
    max_steps: int = eqx.field(static=True, default=4096)
    solver: diffrax.AbstractSolver = diffrax.Tsit5()
    stepsize_controller: diffrax.AbstractStepSizeController = diffrax.PIDController(rtol=1e-6, atol=1e-6)

    def __check_init__(self):
        check_largest_step(self.largest_step)
        check_type("solver", self.solver, diffrax.AbstractSolver)
        check_type("stepsize_controller", self.stepsize_controller, diffrax.AbstractStepSizeController)
        for number, trains in enumerate(self.spikes):
            if isinstance(trains, SpikeTrains):
                check_not_negative(
                    f"the times of spikes[{number}]", trains.times, "a trial begins at 0 (inf: no spike)"
                )
        if not isinstance(self.max_steps, int) or self.max_steps < 1:
            raise ValueError(f"max_steps must be a whole number from 1, but is {self.max_steps}.")

    def prepare(self, network: AbstractNetwork, t1: Any, adjoint: AbstractAdjoint) -> "Replay":
        """The same, ready to be differentiated. There must be a train for each neuron that spikes."""
        check_adjoint(self, adjoint)
        if len(self.spikes) != len(network.neurons):
            raise ValueError(f"spikes has {len(self.spikes)} populations, but the network {len(network.neurons)}.")
        for number, (neuron, size, trains) in enumerate(zip(network.neurons, network.sizes, self.spikes, strict=True)):
            spiking = sends_spikes(neuron)
            shape = None if trains is None else trains.times.shape
            if (shape is None) == spiking or (shape is not None and (len(shape) != 2 or shape[0] != size)):
                wanted = f"[{size}, spikes]" if spiking else "None: it does not spike"
                raise ValueError(f"spikes[{number}] must be {wanted}; but has the shape {shape}.")
        return prepared(self, network, t1)

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
        """Go from one given spike to the next; see `simulate`."""
        given = _in_order(self.spikes, Dynamics(network.neurons, keys, network.sizes), t1.dtype)
        slots = tuple(0 if trains is None else trains.times.shape[1] for trains in self.spikes)
        return run_hybrid(self, slots, network, spikes, t1, adjoint, ts, state, keys, given)


def _in_order(spikes: Sequence[SpikeTrains | None], dynamics: Dynamics, dtype: Any) -> Given:
    """All spikes of all populations, the earliest first; neurons in their order at ties."""
    first: dict[int, int] = {}
    for slots in dynamics.slots:
        if slots.emits:
            first.setdefault(slots.population, slots.first)
    times, guards = [jnp.zeros(0, dtype)], [jnp.zeros(0, jnp.int32)]
    for number, trains in enumerate(spikes):
        if trains is not None:
            neurons, room = trains.times.shape
            times.append(lax.stop_gradient(trains.times.astype(dtype)).reshape(-1))
            guards.append(first[number] + jnp.repeat(jnp.arange(neurons, dtype=jnp.int32), room))
    all_times, all_guards = jnp.concatenate(times), jnp.concatenate(guards)
    order = jnp.argsort(all_times, stable=True)
    return Given(all_times[order], all_guards[order])
