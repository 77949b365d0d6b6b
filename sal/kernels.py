"""What a spike leaves behind: postsynaptic potentials, and windows of spike-timing-dependent plasticity."""

import abc
import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PyTree

from sal._mesh import error_if
from sal._numbers import as_parameter, as_static, check_positive

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
    def duration(self) -> Time:
        """The time after which kappa stays below 1e-7 of its maximum."""


class AbstractFinite(AbstractKernel):
    """A kernel of any shape that ends: subclass it with `__call__` and `duration` for one of your own.

    Its state is the number of steps since each of the last spikes, as many as fit into `duration`, which therefore is
    a plain number (where it depends on arrays: that of the longest of them).
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
    """kappa(s) = 1 for 0 <= s <= tau (Eq. 9). With tau = tau_ref, the PSP of neural sampling.

    - `tau`: may be an array, traced too.
    - `longest`: the duration, at least `tau`, which decides how many spikes are remembered (static; by default the
        value of `tau`; must be given where that is traced).
    """

    tau: Time
    longest: float | None = eqx.field(static=True)

    def __init__(self, tau: Time, longest: float | None = None):
        self.tau, self.longest = _finite("Rectangular", tau, longest)

    def __call__(self, age: Array) -> Array:
        # s is a multiple of half the time step and may have been rounded.
        margin = 1 + 8 * float(jnp.finfo(age.dtype).eps)
        return jnp.where((age >= 0) & (age <= self.tau * margin), 1.0, 0.0).astype(age.dtype)

    @property
    def duration(self) -> float:
        return _known(self)


class Triangular(AbstractFinite):
    """kappa(s) = max(1 - s / tau, 0): with tau = tau_ref, the share of a refractory period that two spikes overlap.

    (In the paper, after Eq. 33, a sign of its formula is misprinted.)

    - `tau`: may be an array, traced too.
    - `longest`: the duration, at least `tau`, which decides how many spikes are remembered (static; by default the
        value of `tau`; must be given where that is traced).
    """

    tau: Time
    longest: float | None = eqx.field(static=True)

    def __init__(self, tau: Time, longest: float | None = None):
        self.tau, self.longest = _finite("Triangular", tau, longest)

    def __call__(self, age: Array) -> Array:
        return jnp.where(age >= 0, jnp.maximum(1 - age / self.tau, 0), 0)

    @property
    def duration(self) -> float:
        return _known(self)


class Exponential(AbstractKernel):
    """kappa(s) = amplitude exp(-s / tau). Its state decays exactly. Both parameters may be arrays, traced too."""

    tau: Time = eqx.field(converter=lambda x: as_parameter("Exponential: tau", x))
    amplitude: Time = eqx.field(default=1.0, converter=lambda x: as_parameter("Exponential: amplitude", x))

    def __check_init__(self):
        check_positive("Exponential", tau=self.tau)

    def __call__(self, age: Array) -> Array:
        return _decay(age, self.tau) * self.amplitude

    @property
    def duration(self) -> Time:
        return 16.2 * self.tau

    def init(self, shape: tuple[int, ...], tau_ref: float) -> Float[Array, "*shape"]:
        return jnp.zeros(shape)

    def update(self, state: Array, spikes: Array, dt: Time) -> Array:
        return state * jnp.exp(-dt / self.tau) + spikes * self.amplitude

    def read(self, state: Array, elapsed: Time, dt: Time) -> Array:
        return state * jnp.exp(-elapsed / self.tau)


class Alpha(AbstractKernel):
    """kappa(s) = area s / tau^2 exp(-s / tau) (Eq. 6, where the area is tau_ref). Its state is integrated exactly.

    Both parameters may be arrays, traced too.
    """

    tau: Time = eqx.field(converter=lambda x: as_parameter("Alpha: tau", x))
    area: Time = eqx.field(converter=lambda x: as_parameter("Alpha: area", x))

    def __check_init__(self):
        check_positive("Alpha", tau=self.tau)

    def __call__(self, age: Array) -> Array:
        return self.area / self.tau**2 * age * _decay(age, self.tau)

    @property
    def duration(self) -> Time:
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
    """kappa(s) = area (exp(-s / decay) - exp(-s / rise)) / (decay - rise), and its limit `Alpha` where they are equal.

    Its state is integrated exactly. All parameters may be arrays, traced too, with `rise` not above `decay`.
    """

    rise: Time = eqx.field(converter=lambda x: as_parameter("DoubleExponential: rise", x))
    decay: Time = eqx.field(converter=lambda x: as_parameter("DoubleExponential: decay", x))
    area: Time = eqx.field(converter=lambda x: as_parameter("DoubleExponential: area", x))

    def __check_init__(self):
        check_positive("DoubleExponential", rise=self.rise, decay=self.decay)
        known = not isinstance(self.rise, Tracer) and not isinstance(self.decay, Tracer)
        if known and np.any(np.asarray(self.rise) > np.asarray(self.decay)):
            raise ValueError(
                f"DoubleExponential: rise must not be above decay, got rise {self.rise} and decay {self.decay}; "
                "swap them"
            )

    def __call__(self, age: Array) -> Array:
        later = jnp.where(age >= 0, age, 0)
        return jnp.where(age >= 0, self.area * self._unit(later), 0)

    @property
    def duration(self) -> Time:
        return 20.5 * self.decay

    def _unit(self, age: Time) -> Array:
        """kappa of area 1. The difference of the exponentials is written as one that does not cancel."""
        age = jnp.asarray(age, jnp.result_type(float) if isinstance(age, float) else None)
        product = self.rise * self.decay
        return age / product * jnp.exp(-age / self.decay) * _mean_decay(age * ((self.decay - self.rise) / product))

    def init(self, shape: tuple[int, ...], tau_ref: float) -> Float[Array, "2 *shape"]:
        return jnp.zeros((2, *shape))

    def update(self, state: Array, spikes: Array, dt: Time) -> Array:
        # The sum of the slower exponentials, and that of kappa: sums of positive terms, for any two time constants.
        slow, response = state
        return jnp.stack([slow * jnp.exp(-dt / self.decay) + spikes, self._later(slow, response, dt)])

    def read(self, state: Array, elapsed: Time, dt: Time) -> Array:
        slow, response = state
        return self.area * self._later(slow, response, elapsed)

    def _later(self, slow: Array, response: Array, elapsed: Time) -> Array:
        return response * jnp.exp(-elapsed / self.rise) + slow * self._unit(elapsed)


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


def _mean_decay(x: Array) -> Array:
    """(1 - exp(-x)) / x, the mean of exp(-y) over 0 < y < x, and 1 at x = 0, with all derivatives."""
    small = jnp.abs(x) < 0.05
    series = 1 - x / 2 * (1 - x / 3 * (1 - x / 4 * (1 - x / 5 * (1 - x / 6 * (1 - x / 7 * (1 - x / 8 * (1 - x / 9)))))))
    safe = jnp.where(small, 1, x)
    return jnp.where(small, series, -jnp.expm1(-safe) / safe)


def _finite(where: str, tau: Any, longest: float | None) -> tuple[Time, float | None]:
    tau = as_parameter(f"{where}: tau", tau)
    check_positive(where, tau=tau)
    known = None if isinstance(tau, Tracer) else as_static(f"{where}: tau", np.max(np.asarray(tau)))
    if longest is None:
        return tau, known
    longest = as_static(f"{where}: longest", longest)
    if known is not None and known > longest * (1 + 1e-6):
        raise ValueError(f"{where}: longest must be at least tau, got longest {longest} and tau {tau}")
    if known is None:
        tau = error_if(tau, tau > longest * (1 + 1e-6), f"{where}: longest must be at least tau, got longest {longest}")
    return tau, longest


def _known(kernel: Rectangular | Triangular) -> float:
    if kernel.longest is None:
        raise TypeError(
            f"{type(kernel).__name__}: tau is traced, so its duration, which decides how many spikes are remembered, "
            f"is not known; give the longest one, {type(kernel).__name__}(tau, longest=...)"
        )
    return kernel.longest
