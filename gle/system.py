"""The protocol of whatever learns online: `online`, `Step`, `settle`, `autoregress` and `infer` need nothing else."""

import abc
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from gle.results import raise_if

_Self = TypeVar("_Self", bound="AbstractSystem")


@runtime_checkable
class Moment(Protocol):
    """What `AbstractSystem.signals` returns: a pytree, such as a NamedTuple, with at least these.

    - `derivative`: of the state, with its structure;
    - `output`: what `online` observes and `infer` returns; `rate`: of each layer, of which the last one is what
        `autoregress` feeds back.
    """

    @property
    def derivative(self) -> Any: ...

    @property
    def output(self) -> Array: ...

    @property
    def rate(self) -> Sequence[Array]: ...


class Drive(NamedTuple):
    """Input and target of a system as functions of time; no target, no errors."""

    input: Callable[[Any], Array]
    target: Callable[[Any], Array] | None = None


class AbstractSystem(eqx.Module):
    """Neurons and synapses whose dynamics and plasticity are local in time.

    State, signals and gradients are pytrees. Arrays have the neurons as their last axis, any leading axes are a batch
    of streams. A subclass says what happens at a moment; whatever takes time follows from that.
    """

    sources: eqx.AbstractVar[int]
    """Number of inputs."""
    outputs: eqx.AbstractVar[int]
    """Number of outputs, and of targets."""

    @abc.abstractmethod
    def init(self, batch: tuple[int, ...] = (), dtype: Any = None) -> PyTree:
        """The state at rest before the first input."""

    @abc.abstractmethod
    def signals(self, state: Any, input: Array, target: Array | None = None, *, throw: bool = True) -> Any:
        """Everything at this moment, a `Moment`. Without a target nothing is taught.

        throw: raise where equations of the moment have no solution; with False the signals are NaN there.
        """

    @abc.abstractmethod
    def plasticity(self, signals: Any) -> PyTree:
        """dE/dtheta, means over the batch: the inexact arrays of the system, in its own structure."""

    @abc.abstractmethod
    def time_constants(self) -> Sequence[Array]:
        """Those of all leaky integrators, which limit dt."""

    @property
    def implicit(self) -> bool:
        """Whether `signals` solve equations that may have no solution."""
        return False

    def synapses(self, signals: Any) -> dict[str, PyTree]:
        """Signals for learning rules, each a tree in the system's structure with None where there is none."""
        del signals
        return {}

    def loss(self, signals: Any) -> Float[Array, ""]:
        """The mean cost of this moment, `value` of an optimiser; zero without a target."""
        return jnp.zeros((), signals.output.dtype)

    def frozen(self: _Self) -> _Self:
        """The same system where nothing learns, for which it may be cheaper to run."""
        return self

    def vector_field(self, t: Any, state: PyTree, args: Drive) -> PyTree:
        """The state's derivative, for `diffrax.ODETerm(system.vector_field)`."""
        return self.signals(state, args.input(t), None if args.target is None else args.target(t)).derivative

    def equilibrium(self, input: Array, target: Array | None = None, *, throw: bool = True) -> PyTree:
        """The state in which a constant input and target leave the system: the root of its derivative, from rest.

        throw: raise where none is found; with False the state is NaN.
        """
        batch = input.shape[:-1]
        flat, restore = ravel_pytree(self.init(batch, input.dtype))
        tolerance = 100 * float(jnp.finfo(flat.dtype).eps)
        finder = optimistix.Newton(tolerance, tolerance)

        def derivative(flat, _):
            return ravel_pytree(self.signals(restore(flat), input, target, throw=False).derivative)[0]

        found = optimistix.root_find(derivative, finder, flat, max_steps=100, throw=False)
        missed = found.result != optimistix.RESULTS.successful
        flat = jnp.where(missed, jnp.nan, found.value)
        if throw:
            flat = raise_if(flat, missed, "The system has no equilibrium that Newton's method finds from rest.")
        return restore(flat)

    def course(self, inputs: Array, dt: Any, start: PyTree) -> tuple[Array, PyTree]:
        """Outputs at every step of forward Euler without targets, and the state after the last one."""

        def step(state, input):
            signals = self.signals(state, input)
            return jax.tree.map(lambda x, dx: x + dt * dx, state, signals.derivative), signals.output

        last, outputs = lax.scan(step, start, inputs)
        return outputs, last


def dtype_of(system: AbstractSystem) -> Any:
    """The precision in which a system runs."""
    return jnp.result_type(*jax.tree.leaves(jax.eval_shape(system.init)))
