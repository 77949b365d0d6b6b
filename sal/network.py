"""Networks of stochastic neurons (Gierlich et al., section 4.1)."""

import abc
from collections.abc import Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

from sal._numbers import as_float, as_static
from sal.connectivity import AbstractConnectivity, AbstractSynapses
from sal.escape import AbstractEscape, LogisticEscape
from sal.kernels import AbstractTrace, Rectangular, Time
from sal.order import AbstractOrder, Sweep
from sal.spikes import Raster
from sal.state import Clamp, Snapshot, State, fires

_Self = TypeVar("_Self", bound="AbstractNetwork")


class AbstractNetwork(eqx.Module):
    """Stochastic neurons on a grid of time steps: all that `simulate`, `sample` and learning rules ask for.

    A subclass says what happens within one step. Membranes may have any compartments, and neurons remember anything.
    """

    tau_ref: eqx.AbstractVar[float]
    """The refractory period, a plain number: how long after a spike z = 1, and at least until the next one."""

    @property
    @abc.abstractmethod
    def neurons(self) -> int:
        """How many neurons there are."""

    @abc.abstractmethod
    def init(self, dt: float | None = None) -> State:
        """The state of neurons that have never spiked: `State.silent(neurons, trace, dt)`."""

    @abc.abstractmethod
    def step(
        self, state: State, drive: Float[Array, " neurons"] | float, clamp: Clamp | None, dt: float, key: PRNGKeyArray
    ) -> tuple[State, Snapshot]:
        """The state one step of `dt` later, `state.after(spikes, trace)`, and what there was to see on the way.

        - `drive`: is added to the potentials; 0.0 where there is none.
        - `clamp`: neurons that are held (`State.draw` heeds it), or None.
        - `key`: of this step alone.
        """

    @abc.abstractmethod
    def signals(self: _Self, spikes: Raster) -> dict[str, _Self]:
        """`pre` and `post` for learning rules: `rule.update(updates, state, params, **network.signals(spikes))`.

        Both have the structure of the network's arrays (`equinox.filter(network, equinox.is_inexact_array)`): at each
        weight [post, pre] the spikes of its sources, or of its neurons, and None elsewhere. `spikes` are those of this
        network, with any replicas.
        """

    def prepared(self: _Self) -> _Self:
        """The same network in the form in which steps are quickest; done once, before the first one."""
        return self


class Network(AbstractNetwork):
    """Generalised linear neurons with an absolute refractory period.

        u_i(t) = b_i + sum_j W_ij sum_k kappa(t - t_j^k)                                              (Eq. 8)

    A neuron whose last spike is at least `tau_ref` ago fires with the probability that `escape` gives for u. The PSP is
    `trace` (default: rectangular, as long as the refractory period). With the defaults and symmetric weights a network
    samples from a Boltzmann distribution, see `sal.boltzmann`.

    `tau_ref` decides numbers of steps, and so is static; all else may be traced, and `jax.vmap` builds and runs many
    networks side by side.
    """

    connectivity: AbstractConnectivity
    bias: Float[Array, " neurons"]
    tau_ref: float = eqx.field(static=True)
    trace: AbstractTrace
    escape: AbstractEscape
    order: AbstractOrder

    def __init__(
        self,
        connectivity: AbstractConnectivity,
        bias: ArrayLike | Sequence,
        tau_ref: Time | int,
        *,
        trace: AbstractTrace | None = None,
        escape: AbstractEscape = LogisticEscape(),
        order: AbstractOrder = Sweep(),
    ):
        tau_ref, bias = as_static("Network: tau_ref", tau_ref), as_float("Network: bias", bias)
        if not tau_ref > 0:
            raise ValueError(f"Network: tau_ref must be positive, got {tau_ref}")
        if np.shape(bias) != (connectivity.neurons,):
            raise ValueError(f"Network: bias must have the shape ({connectivity.neurons},), got {np.shape(bias)}")
        self.connectivity, self.bias, self.tau_ref = connectivity, bias, tau_ref
        self.trace = Rectangular(tau_ref) if trace is None else trace
        self.escape, self.order = escape, order

    @property
    def neurons(self) -> int:
        return self.connectivity.neurons

    def init(self, dt: float | None = None) -> State:
        """The state of a network that has never spiked.

        With `dt` it is one for steps of `dt`, known while a program is traced. Else the first simulation decides, and
        whether the following ones have the same dt can be seen only when they run.
        """
        return State.silent(self.neurons, self.trace.init((self.neurons,), self.tau_ref), dt)

    def signals(self, spikes: Raster) -> dict[str, "Network"]:
        nothing = jax.tree.map(lambda _: None, eqx.filter(self, eqx.is_inexact_array))
        pairs = self.connectivity.signals(spikes)
        return {
            name: eqx.tree_at(lambda n: n.connectivity, nothing, pair)
            for name, pair in zip(("pre", "post"), pairs, strict=True)
        }

    def prepared(self) -> "Network":
        """With masks and transpositions done: in a loop over time they take longer than before it."""
        return eqx.tree_at(lambda n: n.connectivity, self, self.connectivity.synapses())

    def step(
        self, state: State, drive: Float[Array, " neurons"] | float, clamp: Clamp | None, dt: float, key: PRNGKeyArray
    ) -> tuple[State, Snapshot]:
        bias = self.bias + drive
        noise = jax.random.uniform(key, bias.shape, bias.dtype)
        ready = state.ready(self.tau_ref, dt)
        elapsed = self.order.elapsed(dt)

        def read(trace: PyTree) -> Array:
            return self.trace.read(trace, elapsed, dt).astype(bias.dtype)

        # A neuron's new trace depends on nothing but whether it fires, so both are known before anybody does.
        silent, spiked = (read(self.trace.update(state.trace, jnp.full_like(bias, x), dt)) for x in (0, 1))

        def fire(start: Any, drive: Array) -> tuple[Array, Array]:
            ready_, noise_, bias_, clamp_, silent_, spiked_ = jax.tree.map(
                lambda x: lax.dynamic_slice_in_dim(x, start, drive.shape[0]),
                (ready, noise, bias, clamp, silent, spiked),
            )
            chance = self.escape.probability(bias_ + drive, self.tau_ref, dt)
            spikes = fires(chance, ready_, noise_, clamp_)
            return jnp.where(spikes, spiked_, silent_), spikes

        synapses = self.connectivity
        if not isinstance(synapses, AbstractSynapses):
            synapses = synapses.synapses()
        drives, spikes = self.order.update(synapses, fire, read(state.trace))
        later = state.after(spikes, self.trace.update(state.trace, spikes.astype(bias.dtype), dt))
        potential = bias + drives
        saturated = ready & (self.escape.probability(potential, self.tau_ref, dt) > 1)
        return later, Snapshot(spikes, later.refractory(self.tau_ref, dt), potential, saturated)
