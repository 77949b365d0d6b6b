"""Which past spikes a postsynaptic potential, or an STDP window, remembers."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from sal.kernels import NEVER, AbstractKernel, Time


class AbstractTrace(eqx.Module):
    """The trace that the spikes of a neuron leave, updated once per step; elementwise over any shape."""

    kernel: eqx.AbstractVar[AbstractKernel]

    @abc.abstractmethod
    def init(self, shape: tuple[int, ...], tau_ref: float) -> PyTree:
        """The state of neurons that never spiked."""

    @abc.abstractmethod
    def update(self, state: PyTree, spikes: Float[Array, "*shape"], dt: Time) -> PyTree:
        """The state one step later, at the moment of `spikes` (0 or 1)."""

    @abc.abstractmethod
    def read(self, state: PyTree, elapsed: Time, dt: Time) -> Float[Array, "*shape"]:
        """The trace at the time `elapsed` after the last update."""


class AllSpikes(AbstractTrace):
    """sum_k kappa(t - t_k): the traces of successive spikes add up (Eq. 8)."""

    kernel: AbstractKernel

    def init(self, shape: tuple[int, ...], tau_ref: float) -> PyTree:
        return self.kernel.init(shape, tau_ref)

    def update(self, state: PyTree, spikes: Array, dt: Time) -> PyTree:
        return self.kernel.update(state, spikes, dt)

    def read(self, state: PyTree, elapsed: Time, dt: Time) -> Array:
        return self.kernel.read(state, elapsed, dt)


class LastSpike(AbstractTrace):
    """kappa(t - t'): only the last spike t' counts, a new one replaces it (Eq. 14)."""

    kernel: AbstractKernel

    def init(self, shape: tuple[int, ...], tau_ref: float) -> Int[Array, "*shape"]:
        return jnp.full(shape, NEVER, jnp.int32)

    def update(self, state: Array, spikes: Array, dt: Time) -> Array:
        return jnp.where(spikes > 0, 0, jnp.minimum(state + 1, NEVER))

    def read(self, state: Array, elapsed: Time, dt: Time) -> Array:
        present = state < NEVER
        age = jnp.where(present, state, 0) * jnp.asarray(dt, jnp.result_type(float)) + elapsed
        return jnp.where(present, self.kernel(age), 0)
