"""One time step of a network: with any fixed-step diffrax solver, or by the paper's Algorithm 1."""

import abc
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, PyTree

from gle.coupling import Decoupled
from gle.network import Network
from gle.neurons import Rates
from gle.signals import Signals, State
from gle.system import AbstractSystem


class AbstractStepper(eqx.Module):
    """Advances a system by dt, the input and the target being constant over the step."""

    @abc.abstractmethod
    def init(self, system: AbstractSystem, state: PyTree) -> Any:
        """The stepper's own state, from the potentials to start from."""

    @abc.abstractmethod
    def step(
        self, system: AbstractSystem, state: Any, input: Rates, target: Rates | None, dt: ArrayLike
    ) -> tuple[Any, Any]:
        """The next state, and the signals of this step."""

    def gradient(self, system: AbstractSystem, state: Any, signals: Any) -> PyTree:
        """What is learned from in this step, given the state after it: dE/dtheta."""
        del state
        return system.plasticity(signals)

    @abc.abstractmethod
    def limit(self) -> float:
        """The largest dt over time constant at which a leaky integrator is stable."""


class Step(AbstractStepper):
    """One step of a diffrax solver on the vector field of any system; in a `Network` rates and errors have no delay."""

    solver: diffrax.AbstractSolver = diffrax.Euler()

    def __check_init__(self):
        tolerance = getattr(getattr(self.solver, "root_finder", None), "rtol", 0.0)
        if not isinstance(tolerance, int | float | np.generic | np.ndarray | jax.Array):
            name = type(self.solver).__name__
            raise ValueError(
                f"solver: {name}() takes the tolerances of its root finder from a step size controller, and fixed "
                f"steps have none; give it one: diffrax.{name}(root_finder=diffrax.VeryChord(rtol=1e-5, atol=1e-5))."
            )

    def init(self, system: AbstractSystem, state: PyTree) -> PyTree:
        return state

    def step(self, system: AbstractSystem, state: PyTree, input: Rates, target: Rates | None, dt: ArrayLike):
        signals = system.signals(state, input, target, throw=False)

        def vector_field(t, y, args):
            # The derivative at the start of the step is known; XLA does not always find the common subexpressions.
            known = all(a is b for a, b in zip(jax.tree.leaves(y), jax.tree.leaves(state), strict=True))
            now = signals if known else system.signals(y, input, target, throw=False)
            return now.derivative

        term = diffrax.ODETerm(vector_field)
        dt = jnp.asarray(dt, jnp.result_type(*jax.tree.leaves(eqx.filter(state, eqx.is_inexact_array))))
        zero = jnp.zeros_like(dt)
        memory = self.solver.init(term, zero, dt, state, None)
        state, *_ = self.solver.step(term, zero, dt, state, None, memory, made_jump=True)
        return state, signals

    def limit(self) -> float:
        return stability_limit(self.solver)


class AlgorithmState(NamedTuple):
    """What Algorithm 1 carries from step to step, of each layer.

    `potential`: that of the rates, r = phi(potential); `instant`: e_inst that is to enter v.
    """

    u: tuple[Rates, ...]
    v: tuple[Rates, ...]
    potential: tuple[Rates, ...]
    error: tuple[Rates, ...]
    instant: tuple[Rates, ...]


class Algorithm1(AbstractStepper):
    """The paper's Algorithm 1: forward Euler with all layers at once.

    Each layer sees the rates and errors that its neighbours had one step before, so signals are late by dt per layer
    upwards, and as printed by 2 dt per layer downwards: e_inst waits a step until it enters v and e.

    fresh_errors: as in the authors' code, e_inst enters at once (errors are late by dt per layer), and plasticity and
        gamma use the new error instead of the previous one.

    Errors go down through weights that have not learned from them yet: W^T e would hold a part that grows with |e|^2.
    """

    fresh_errors: bool = eqx.field(default=False, static=True)

    def init(self, network: Network, state: State) -> AlgorithmState:
        return AlgorithmState(state.u, state.v, state.u, state.v, state.v)

    def step(self, network: Network, state: AlgorithmState, input: Rates, target: Rates | None, dt: ArrayLike):
        layers, fresh = network.layers, self.fresh_errors
        rates = _rates(network, state.potential)
        instants = _instants(network, state.potential, rates, state.error, target)
        entering = (*state.instant[:-1], instants[-1]) if fresh else state.instant
        errors, dus, dvs, potentials = [], [], [], []
        for number, (layer, below) in enumerate(zip(layers, (input, *rates[:-1]), strict=True)):
            u, v = state.u[number], state.v[number]
            dv, error = jnp.zeros_like(v), v
            if number >= network.lowest:
                dv, error = layer.error_neuron.flow(v, entering[number])
            drive = layer.connection(below)
            if not isinstance(network.coupling, Decoupled):
                drive = drive + network.coupling.gamma * (error if fresh else state.error[number])
            du, potential = layer.membrane.flow(u, drive)
            errors.append(error)
            potentials.append(potential)
            dus.append(du)
            dvs.append(dv)
        errors, potentials = tuple(errors), tuple(potentials)
        if fresh:
            instants = _instants(network, potentials, _rates(network, potentials), errors, target)
        used = errors if fresh else state.error
        signals = Signals(input, state.potential, rates, tuple(dus), tuple(dvs), used, entering, target)
        u = tuple(u + dt * du for u, du in zip(state.u, dus, strict=True))
        v = tuple(v + dt * dv for v, dv in zip(state.v, dvs, strict=True))
        return AlgorithmState(u, v, potentials, errors, instants), signals

    def limit(self) -> float:
        return 2.0


def _rates(network: Network, potentials: tuple[Rates, ...]) -> tuple[Rates, ...]:
    return tuple(layer.activation(x) for layer, x in zip(network.layers, potentials, strict=True))


def _instants(
    network: Network,
    potentials: tuple[Rates, ...],
    rates: tuple[Rates, ...],
    errors: tuple[Rates, ...],
    target: Rates | None,
) -> tuple[Rates, ...]:
    """e_inst of every layer from the errors of the layer above (Eqs. 17, 18); zero where nothing learns."""
    instants = [jnp.zeros_like(error) for error in errors[: network.lowest]]
    for number in range(network.lowest, len(errors)):
        above = errors[number + 1] if number + 1 < len(errors) else None
        instants.append(network.instant(number, potentials[number], rates[number], above, target))
    return tuple(instants)


class Instantaneous(AbstractStepper):
    """Backpropagation of instantaneous errors, e = phi' * (W_above^T e_above), through forward Euler dynamics.

    It ignores the lags of the neurons, unlike Eq. 7; for comparison (section 2.5). The same as GLE if tau_m = tau_r.
    """

    def init(self, network: Network, state: State) -> State:
        return state

    def step(self, network: Network, state: State, input: Rates, target: Rates | None, dt: ArrayLike):
        du, potentials, rates = network.forward(state.u, input)
        _, errors, instants = network.without_lags().backward(state.v, potentials, rates, target)
        signals = Signals(input, potentials, rates, du, state.v, errors, instants, target)
        return State(tuple(u + dt * x for u, x in zip(state.u, du, strict=True)), state.v), signals

    def limit(self) -> float:
        return 2.0


def stability_limit(solver: diffrax.AbstractSolver) -> float:
    """The largest z = dt / tau at which the solver does not amplify x' = -x / tau: |R(-z)| <= 1.

    R is read off one step of the solver, so any fixed-step solver can be asked.
    """

    def amplification(z):
        term = diffrax.ODETerm(lambda t, y, args: -z * y)
        y, one, zero = jnp.ones(()), jnp.ones(()), jnp.zeros(())
        memory = solver.init(term, zero, one, y, None)
        return solver.step(term, zero, one, y, None, memory, made_jump=True)[0]

    with jax.ensure_compile_time_eval():
        amplified = np.asarray(jax.vmap(amplification)(jnp.asarray(_STEPS)))
    unstable = np.abs(amplified) > 1 + 1e-5
    return float(_STEPS[np.argmax(unstable) - 1]) if unstable.any() else np.inf


_STEPS = np.linspace(0, 20, 20001)
