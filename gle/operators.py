"""Retrospective and prospective operators and their adjoints (Ellenberger et al., Eqs. 1, 2, 26-32, 58, 59, 67, 68).

    I-  retrospective  1/tau int_{-inf}^t x(s) exp(-(t-s)/tau) ds    transfer function 1 / (1 + i omega tau)
    D+  prospective    (1 + tau d/dt) x                              1 + i omega tau
    I+  (adjoint)      1/tau int_t^inf x(s) exp((t-s)/tau) ds        1 / (1 - i omega tau)
    D-  (adjoint)      (1 - tau d/dt) x                              1 - i omega tau

In discrete time the integrals are exact for inputs that are constant over a step, and each derivative is the exact
inverse of the integral in the same direction; it tends to the definition above as dt goes to zero.
"""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Complex, Float, Inexact, Num

from gle.arrays import as_float, as_numbers, concrete


def _tau(value: ArrayLike) -> Any:
    return as_numbers("tau", value)


def _gamma(value: ArrayLike) -> Any:
    return as_numbers("gamma", value)


def _positive(value: ArrayLike) -> Any:
    value = _tau(value)
    if concrete(value) and not np.all(np.asarray(value) > 0):
        raise ValueError(f"tau must be positive, but is {value}.")
    return value


TimeConstant = float | Float[Array, "..."]
TimeStep = ArrayLike


class AbstractOperator(eqx.Module):
    """A linear, time-invariant operator on signals."""

    @abc.abstractmethod
    def trajectory(self, x: Num[ArrayLike, "time *shape"], dt: TimeStep) -> Float[Array, "time *shape"]:
        """The operator applied to a whole signal, sampled every `dt`, which is zero outside of it."""

    @abc.abstractmethod
    def transfer(self, omega: Float[ArrayLike, "..."]) -> Complex[Array, "..."]:
        """H(omega), by which the operator multiplies exp(i omega t)."""


class AbstractCausal(AbstractOperator):
    """An operator that needs only the past: it can follow a stream."""

    @abc.abstractmethod
    def init(self, x: Num[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """The state after the signal has been constant at `x` for ever."""

    @abc.abstractmethod
    def update(
        self, state: Float[Array, "*shape"], x: Num[ArrayLike, "*shape"], dt: TimeStep
    ) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        """One step: the next value of the signal gives (new state, the operator's next value)."""


def _lost(tau: ArrayLike, dt: TimeStep, like: Array) -> Array:
    """1 - exp(-dt / tau), what a leaky integrator loses over a step, also where that is tiny; everything at tau = 0."""
    if concrete(dt) and not np.all(np.asarray(dt) > 0):
        raise ValueError(f"dt must be positive, but is {dt}.")
    # Transfer functions have a meaning for negative time constants (D+ becomes D-), running averages have none.
    if concrete(tau) and not np.all(np.asarray(tau) >= 0):
        raise ValueError(f"tau must be at least 0 to follow a signal, but is {tau}.")
    tau = jnp.broadcast_to(jnp.asarray(tau, jnp.result_type(float)), like.shape)
    return jnp.where(tau > 0, -jnp.expm1(-jnp.asarray(dt) / jnp.where(tau > 0, tau, 1)), 1)


def leaky_integral(
    lost: Float[Array, "time *shape"], added: Inexact[Array, "time *shape"]
) -> Inexact[Array, "time *shape"]:
    """y_t = (1 - lost_t) y_{t-1} + added_t from y = 0, by an associative scan.

    It carries what is lost, not what is kept: next to 1, float32 holds no steps below 6e-8.
    """

    def then(first, second):
        return first[0] + second[0] - first[0] * second[0], first[1] + second[1] - second[0] * first[1]

    return lax.associative_scan(then, (lost, added))[1]


def _signal(x: ArrayLike) -> Array:
    """A signal of whole numbers as floats; complex ones are legal here."""
    return jnp.asarray(x) if jnp.iscomplexobj(x) else jnp.asarray(as_float("x", x))


def _shift(x: Array) -> Array:
    return jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]])


class Retrospective(AbstractCausal):
    """I-: the leaky integrator of the past, with time constant `tau` (Eq. 1)."""

    tau: TimeConstant = eqx.field(converter=_tau)

    def init(self, x: ArrayLike) -> Array:
        return _signal(x)

    def update(self, state: Array, x: ArrayLike, dt: TimeStep) -> tuple[Array, Array]:
        x = _signal(x)
        state = state + _lost(self.tau, dt, x) * (x - state)
        return state, state

    def trajectory(self, x: ArrayLike, dt: TimeStep) -> Array:
        x = _signal(x)
        lost = _lost(self.tau, dt, x)
        return leaky_integral(lost, lost * x)

    def transfer(self, omega: ArrayLike) -> Array:
        return 1 / (1 + 1j * jnp.asarray(omega) * self.tau)


class Prospective(AbstractCausal):
    """D+: the look-ahead of a signal by its derivative, with time constant `tau` (Eq. 2)."""

    tau: TimeConstant = eqx.field(converter=_tau)

    def init(self, x: ArrayLike) -> Array:
        return _signal(x)

    def update(self, state: Array, x: ArrayLike, dt: TimeStep) -> tuple[Array, Array]:
        x = _signal(x)
        return x, state + (x - state) / _lost(self.tau, dt, x)

    def trajectory(self, x: ArrayLike, dt: TimeStep) -> Array:
        x = _signal(x)
        return self.update(_shift(x), x, dt)[1]

    def transfer(self, omega: ArrayLike) -> Array:
        return 1 + 1j * jnp.asarray(omega) * self.tau


class LeadLag(eqx.Module):
    """I- with time constant `lag`, then D+ with `lead`, in continuous time: the neurons of GLE (Eqs. 6, 7).

        lag x' = -x + input          output = x + lead x' = (1 - lead/lag) x + lead/lag input

    A membrane has the lag tau_m and the lead tau_r, an error neuron the lag tau_r and the lead tau_m. Both [neurons].
    """

    lag: Float[Array, " neurons"]
    lead: Float[Array, " neurons"]

    def flow(
        self, x: Float[Array, "*batch neurons"], input: Float[Array, "*batch neurons"]
    ) -> tuple[Float[Array, "*batch neurons"], Float[Array, "*batch neurons"]]:
        """(x', output)."""
        change = input - x
        # Input that neurons without lag (lead = lag) pass on at once, to the last digit from x = 0.
        return change / self._each(self.lag, x), x + self._each(self.lead / self.lag, x) * change

    def course(
        self, x: Float[Array, "*batch neurons"], inputs: Float[Array, "time *batch neurons"], dt: TimeStep
    ) -> tuple[Float[Array, "*batch neurons"], Float[Array, "time *batch neurons"]]:
        """(x after the last input, all outputs) of forward Euler steps, in depth log(time)."""
        step = self._each(jnp.asarray(dt) / self.lag, inputs)
        added = (step * inputs).at[:1].add((1 - step) * x[None])
        later = leaky_integral(jnp.broadcast_to(step, inputs.shape), added)
        course = jnp.concatenate([x[None], later])
        return course[-1], self.flow(course[:-1], inputs)[1]

    @staticmethod
    def _each(tau: Array, like: Array) -> Array:
        """A number of each neuron with as many axes as `like`."""
        return tau.reshape((1,) * (like.ndim - 1) + (-1,))


class DiscountedFuture(AbstractOperator):
    """I+: the adjoint of I-, an integral over the future (Eq. 67)."""

    tau: TimeConstant = eqx.field(converter=_tau)

    def trajectory(self, x: ArrayLike, dt: TimeStep) -> Array:
        return Retrospective(self.tau).trajectory(_signal(x)[::-1], dt)[::-1]

    def transfer(self, omega: ArrayLike) -> Array:
        return 1 / (1 - 1j * jnp.asarray(omega) * self.tau)


class Lookback(AbstractOperator):
    """D-: the adjoint of D+ (Eq. 68)."""

    tau: TimeConstant = eqx.field(converter=_tau)

    def trajectory(self, x: ArrayLike, dt: TimeStep) -> Array:
        return Prospective(self.tau).trajectory(_signal(x)[::-1], dt)[::-1]

    def transfer(self, omega: ArrayLike) -> Array:
        return 1 - 1j * jnp.asarray(omega) * self.tau


class Chain(AbstractCausal):
    """Causal operators one after the other; `Chain((Retrospective(tau_r), Prospective(tau_m)))` is an error neuron."""

    operators: tuple[AbstractCausal, ...]

    def init(self, x: ArrayLike) -> tuple[Array, ...]:
        # All of these operators leave a constant signal as it is.
        return tuple(operator.init(x) for operator in self.operators)

    def update(self, state: tuple[Array, ...], x: ArrayLike, dt: TimeStep) -> tuple[tuple[Array, ...], Array]:
        x, new = _signal(x), []
        for operator, old in zip(self.operators, state, strict=True):
            memory, x = operator.update(old, x, dt)
            new.append(memory)
        return tuple(new), x

    def trajectory(self, x: ArrayLike, dt: TimeStep) -> Array:
        x = _signal(x)
        for operator in self.operators:
            x = operator.trajectory(x, dt)
        return x

    def transfer(self, omega: ArrayLike) -> Array:
        product = jnp.ones_like(jnp.asarray(omega), dtype=complex)
        for operator in self.operators:
            product = product * operator.transfer(omega)
        return product


class VoltageAdaptation(eqx.Module):
    """A leaky integrator with an adaptive current that follows its voltage (Eq. 33).

    tau_m u' = -u + I - w,    tau_w w' = -w + gamma u

    It is prospective if gamma > tau_m / tau_w.
    """

    tau_m: TimeConstant = eqx.field(converter=_positive)
    tau_w: TimeConstant = eqx.field(converter=_positive)
    gamma: float | Float[Array, "..."] = eqx.field(converter=_gamma)

    def flow(self, u: Array, w: Array, current: Array) -> tuple[Array, Array]:
        """(u', w')."""
        return (-u + current - w) / self.tau_m, (-w + self.gamma * u) / self.tau_w

    def transfer(self, omega: Float[ArrayLike, "..."]) -> Complex[Array, "..."]:
        """u(omega) / I(omega), Eq. 35."""
        m, w = (1 + 1j * jnp.asarray(omega) * tau for tau in (self.tau_m, self.tau_w))
        return w / (w * m + self.gamma)

    def slow_transfer(self, omega: Float[ArrayLike, "..."]) -> Complex[Array, "..."]:
        """Its expansion to first order in omega, Eq. 36."""
        slope = (self.gamma * self.tau_w - self.tau_m) / (1 + self.gamma) ** 2
        return 1 / (1 + self.gamma) + 1j * jnp.asarray(omega) * slope


class InputAdaptation(eqx.Module):
    """A leaky integrator with an adaptive current that follows its input (Eq. 38).

    tau_m u' = -u + I - w,    tau_w w' = -w + gamma I

    It is prospective if tau_m / (tau_m + tau_w) < gamma < 1.
    """

    tau_m: TimeConstant = eqx.field(converter=_positive)
    tau_w: TimeConstant = eqx.field(converter=_positive)
    gamma: float | Float[Array, "..."] = eqx.field(converter=_gamma)

    def flow(self, u: Array, w: Array, current: Array) -> tuple[Array, Array]:
        """(u', w')."""
        return (-u + current - w) / self.tau_m, (-w + self.gamma * current) / self.tau_w

    def transfer(self, omega: Float[ArrayLike, "..."]) -> Complex[Array, "..."]:
        """u(omega) / I(omega), after Eq. 38."""
        m, w = (1 + 1j * jnp.asarray(omega) * tau for tau in (self.tau_m, self.tau_w))
        return (w - self.gamma) / (w * m)

    def slow_transfer(self, omega: Float[ArrayLike, "..."]) -> Complex[Array, "..."]:
        """Its expansion to first order in omega, before Eq. 39."""
        slope = self.gamma * self.tau_w + (self.gamma - 1) * self.tau_m
        return (1 - self.gamma) + 1j * jnp.asarray(omega) * slope


def gain(transfer: Complex[Array, "..."]) -> Float[Array, "..."]:
    """By how much amplitudes are multiplied, |H| (Eq. 31)."""
    return jnp.abs(transfer)


def phase_shift(transfer: Complex[Array, "..."]) -> Float[Array, "..."]:
    """By how much oscillations are advanced, arg H in (-pi, pi] (Eq. 29)."""
    return jnp.angle(transfer)
