"""What a spike leaves behind: postsynaptic potentials, and windows of spike-timing-dependent plasticity."""

import abc
import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

Time = float | Float[Array, "..."]

NEVER = 2**29
"""Steps since the last spike of a neuron that has not fired."""


class AbstractTrace(eqx.Module):
    """What the spikes of a neuron leave behind, updated once per step; elementwise over any shape."""

    @abc.abstractmethod
    def init(self, shape: tuple[int, ...], tau_ref: float) -> PyTree:
        """The state of neurons that never spiked and are refractory for `tau_ref` after each spike."""

    @abc.abstractmethod
    def update(self, state: PyTree, spikes: Float[Array, "*shape"], dt: Time) -> PyTree:
        """The state one step later, at the moment of `spikes` (0 or 1)."""

    @abc.abstractmethod
    def read(self, state: PyTree, elapsed: Time, dt: Time) -> Float[Array, "*shape"]:
        """The trace at the time `elapsed` after the last update, before which no spike is added."""


class AbstractKernel(AbstractTrace):
    """kappa(s), what a spike leaves behind at the time s after it; the unit of time is the user's.

    As a trace it is sum_k kappa(t - t_k) over all past spikes (Eq. 8); `LastSpike(kernel)` is that of the last one.
    """

    @abc.abstractmethod
    def __call__(self, age: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """kappa at the times `age` after the spike; zero where `age` is negative."""

    @property
    @abc.abstractmethod
    def duration(self) -> float:
        """The time after which kappa stays below 1e-7 of its maximum."""


class AbstractFinite(AbstractKernel):
    """A kernel of any shape that ends: subclass it with `__call__` and `duration` for one of your own.

    Its state is the number of steps since each of the last spikes, as many as fit into `duration`.
    """

    def init(self, shape: tuple[int, ...], tau_ref: float) -> Int[Array, "spikes *shape"]:
        spikes = max(1, math.ceil(self.duration / tau_ref * (1 - 1e-6)))
        return jnp.full((spikes, *shape), NEVER, jnp.int32)

    def update(self, state: Array, spikes: Array, dt: Time) -> Array:
        older = jnp.minimum(state + 1, NEVER)
        pushed = jnp.concatenate([jnp.zeros_like(state[:1]), older[:-1]])
        return jnp.where(jnp.broadcast_to(spikes > 0, state.shape), pushed, older)

    def read(self, state: Array, elapsed: Time, dt: Time) -> Array:
        return jnp.sum(_remembered(self, state, elapsed, dt), axis=0)


class Rectangular(AbstractFinite):
    """kappa(s) = 1 for 0 <= s <= tau (Eq. 9). With tau = tau_ref, the PSP of neural sampling."""

    tau: float

    def __check_init__(self):
        _check_positive("Rectangular", tau=self.tau)

    def __call__(self, age: Array) -> Array:
        # s is a multiple of the time step and may have been rounded; the margin is far below any step.
        return jnp.where((age >= 0) & (age <= self.tau * (1 + 1e-5)), 1.0, 0.0).astype(age.dtype)

    @property
    def duration(self) -> float:
        return self.tau


class Triangular(AbstractFinite):
    """kappa(s) = max(1 - s / tau, 0): with tau = tau_ref, the share of a refractory period that two spikes overlap.

    (In the paper, after Eq. 33, a sign of its formula is misprinted.)
    """

    tau: float

    def __check_init__(self):
        _check_positive("Triangular", tau=self.tau)

    def __call__(self, age: Array) -> Array:
        return jnp.where(age >= 0, jnp.maximum(1 - age / self.tau, 0), 0)

    @property
    def duration(self) -> float:
        return self.tau


class Exponential(AbstractKernel):
    """kappa(s) = amplitude exp(-s / tau). Its state decays exactly."""

    tau: float
    amplitude: float = 1.0

    def __check_init__(self):
        _check_positive("Exponential", tau=self.tau)

    def __call__(self, age: Array) -> Array:
        return _decay(age, self.tau) * self.amplitude

    @property
    def duration(self) -> float:
        return 16.2 * self.tau

    def init(self, shape: tuple[int, ...], tau_ref: float) -> Float[Array, "*shape"]:
        return jnp.zeros(shape)

    def update(self, state: Array, spikes: Array, dt: Time) -> Array:
        return state * jnp.exp(-dt / self.tau) + spikes * self.amplitude

    def read(self, state: Array, elapsed: Time, dt: Time) -> Array:
        return state * jnp.exp(-elapsed / self.tau)


class Alpha(AbstractKernel):
    """kappa(s) = area s / tau^2 exp(-s / tau) (Eq. 6, where the area is tau_ref). Its state is integrated exactly."""

    tau: float
    area: float

    def __check_init__(self):
        _check_positive("Alpha", tau=self.tau)

    def __call__(self, age: Array) -> Array:
        return self.area / self.tau**2 * age * _decay(age, self.tau)

    @property
    def duration(self) -> float:
        return 20.5 * self.tau

    def init(self, shape: tuple[int, ...], tau_ref: float) -> Float[Array, "2 *shape"]:
        return jnp.zeros((2, *shape))

    def update(self, state: Array, spikes: Array, dt: Time) -> Array:
        current, potential = state
        decay = jnp.exp(-dt / self.tau)
        potential = (potential + dt / self.tau * current) * decay
        return jnp.stack([current * decay + spikes * (self.area / self.tau), potential])

    def read(self, state: Array, elapsed: Time, dt: Time) -> Array:
        current, potential = state
        return (potential + elapsed / self.tau * current) * jnp.exp(-elapsed / self.tau)


class DoubleExponential(AbstractKernel):
    """kappa(s) = area (exp(-s / decay) - exp(-s / rise)) / (decay - rise). Its state is integrated exactly."""

    rise: float
    decay: float
    area: float

    def __check_init__(self):
        _check_positive("DoubleExponential", rise=self.rise, decay=self.decay)
        if not self.rise < self.decay:
            raise ValueError(
                f"DoubleExponential: rise must be below decay, got rise {self.rise} and decay {self.decay}; "
                "for equal time constants use Alpha(tau, area)"
            )

    def __call__(self, age: Array) -> Array:
        return self._scale * (_decay(age, self.decay) - _decay(age, self.rise))

    @property
    def duration(self) -> float:
        return 20.5 * self.decay

    @property
    def _scale(self) -> float:
        return self.area / (self.decay - self.rise)

    def init(self, shape: tuple[int, ...], tau_ref: float) -> Float[Array, "2 *shape"]:
        return jnp.zeros((2, *shape))

    def update(self, state: Array, spikes: Array, dt: Time) -> Array:
        slow, fast = state
        return jnp.stack([slow * jnp.exp(-dt / self.decay) + spikes, fast * jnp.exp(-dt / self.rise) + spikes])

    def read(self, state: Array, elapsed: Time, dt: Time) -> Array:
        slow, fast = state
        return self._scale * (slow * jnp.exp(-elapsed / self.decay) - fast * jnp.exp(-elapsed / self.rise))


class LastSpike(AbstractTrace):
    """kappa(t - t'): only the last spike t' counts, a new one replaces it (Eq. 14)."""

    kernel: AbstractKernel

    def init(self, shape: tuple[int, ...], tau_ref: float) -> Int[Array, "*shape"]:
        return jnp.full(shape, NEVER, jnp.int32)

    def update(self, state: Array, spikes: Array, dt: Time) -> Array:
        return jnp.where(spikes > 0, 0, jnp.minimum(state + 1, NEVER))

    def read(self, state: Array, elapsed: Time, dt: Time) -> Array:
        return _remembered(self.kernel, state, elapsed, dt)


def _remembered(kernel: AbstractKernel, steps: Int[Array, "*shape"], elapsed: Time, dt: Time) -> Float[Array, "*shape"]:
    """kappa of spikes so many `steps` before the last update, zero for those that never were."""
    present = steps < NEVER
    age = jnp.where(present, steps, 0) * jnp.asarray(dt, jnp.result_type(float)) + elapsed
    return jnp.where(present, kernel(age), 0)


def _decay(age: Array, tau: Time) -> Array:
    # The inner `where` keeps exp from overflowing, and its derivative from being NaN, in the branch not taken.
    return jnp.where(age >= 0, jnp.exp(-jnp.where(age >= 0, age, 0) / tau), 0)


def _check_positive(where: str, **values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{where}: {name} must be positive, got {value}")
