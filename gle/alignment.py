"""Phaseless alignment learning: feedback weights that learn from noise (Max et al. 2022, 2024)."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from gle.arrays import as_number, concrete
from gle.circuit import CircuitSignals
from gle.microcircuit import Microcircuit
from gle.steppers import AbstractStepper, Step


class ExploringState(NamedTuple):
    """State of the stepper inside, noise of each layer below the top, slow rates of each layer, and the key."""

    inside: Any
    noise: tuple[Array, ...]
    slow: tuple[Array, ...]
    key: PRNGKeyArray


def _number(name: str, least_excluded: float) -> Any:
    def convert(value: ArrayLike) -> Any:
        if concrete(value) and not np.all(np.asarray(value) > least_excluded):
            raise ValueError(f"{name} of the noise must be above {least_excluded}, but is {value}.")
        return jnp.asarray(as_number(name, value), float)

    return convert


class Exploring(AbstractStepper):
    """Any stepper of a `Microcircuit`, with noise in the apical dendrites of all layers below the top.

        tau xi' = -xi + sqrt(tau) std n(t),    n white;    v_api + xi drives the soma
        r^ = r - slow,    filter_tau slow' = r - slow

    in Euler steps: xi += (-dt xi + sqrt(dt tau) std N)/tau, which starts at 0 and tends to the variance
    std^2 (dt/tau) / (1 - (1 - dt/tau)^2), std^2 / 2 for small dt. r^ are the high-passed rates as they arrive.
    `signals` hold both as `noise` and `filtered`, and `Microcircuit.synapses` hands them to rules such as `phaseless`.

    `tau` and `filter_tau` must be above half of dt, or noise and filter blow up.

    Raises ValueError for numbers that are not positive.
    """

    stepper: AbstractStepper
    std: Float[Array, ""] = eqx.field(converter=_number("std", 0.0))
    tau: Float[Array, ""] = eqx.field(converter=_number("tau", 0.0))
    filter_tau: Float[Array, ""] = eqx.field(converter=_number("filter_tau", 0.0))
    key: PRNGKeyArray

    def __init__(
        self,
        std: ArrayLike,
        tau: ArrayLike,
        key: PRNGKeyArray,
        *,
        filter_tau: ArrayLike | None = None,
        stepper: AbstractStepper = Step(),
    ):
        self.stepper, self.std, self.tau, self.key = stepper, std, tau, key  # pyright: ignore[reportAttributeAccessIssue]
        self.filter_tau = tau if filter_tau is None else filter_tau  # pyright: ignore[reportAttributeAccessIssue]

    def init(self, system: Microcircuit, state: Any) -> ExploringState:
        noise = tuple(jnp.zeros_like(u) for u in state.pyramidal[:-1])
        slow = tuple(system.activation(u) for u in state.sent)
        return ExploringState(self.stepper.init(system, state), noise, slow, self.key)

    def step(self, system: Microcircuit, state: ExploringState, input: Array, target: Array | None, dt: ArrayLike):
        key, *keys = jax.random.split(state.key, len(state.noise) + 1)
        noisy = eqx.tree_at(lambda c: c.noise, system, state.noise, is_leaf=lambda x: x is None)
        inside, signals = self.stepper.step(noisy, state.inside, input, target, dt)
        filtered = tuple(r - slow for r, slow in zip(signals.sent, state.slow, strict=True))
        kept = jnp.asarray(dt / self.filter_tau, input.dtype)
        slow = tuple(old + kept * r for old, r in zip(state.slow, filtered, strict=True))
        lost, size = (jnp.asarray(x, input.dtype) for x in (dt / self.tau, self.std * jnp.sqrt(dt / self.tau)))
        drawn = (jax.random.normal(k, xi.shape, xi.dtype) for k, xi in zip(keys, state.noise, strict=True))
        noise = tuple((1 - lost) * xi + size * n for xi, n in zip(state.noise, drawn, strict=True))
        signals: CircuitSignals = signals._replace(noise=state.noise, filtered=filtered)
        return ExploringState(inside, noise, slow, key), signals

    def limit(self) -> float:
        return self.stepper.limit()


def phaseless(rate: ArrayLike, decay: ArrayLike) -> optax.GradientTransformationExtraArgs:
    """Phaseless alignment learning of the backward weights, which keep the shape of W: final increments.

        dB = rate (<r^_above xi^T> - decay B),        B* = <r^_above xi^T> / decay

    xi is the noise of the layer that B leads to, r^_above the high-passed rates that it sees from the layer above, and
    the mean is over the batch. Around a fixed point, for slow plasticity and filter_tau = tau (`Exploring`),

        <r^_above xi^T> = std^2/4  g_b/g_above phi'_above W phi' g_a/g

    so B aligns with W but for phi', whose mean over inputs scales each neuron. (In Euler steps std^2/4 becomes
    std^2 s^2 a^m / (1 - a^2)^2 with s = dt/tau, a = 1 - s, and m = 2 steps from xi to r^ where dt is the delay.)

    `rate` absorbs dt. Stands after the optimiser in `optax.chain`; synapses without noise keep their updates.

    Raises ValueError where nothing tells it the noise.
    """

    def init(params: Any) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None, *, noise: Any = None, filtered: Any = None, **extra: Any):
        del extra
        if noise is None or filtered is None or params is None:
            raise ValueError("phaseless needs params, noise and filtered: gle.online(..., stepper=gle.Exploring(...)).")

        def moved(update, weight, xi, above):
            if xi is None or weight is None:
                return update
            xi, above = (x.reshape(-1, x.shape[-1]) for x in (xi, above))
            return rate * (above.T @ xi / len(xi) - decay * weight)

        return jax.tree.map(moved, updates, params, noise, filtered, is_leaf=lambda x: x is None), state

    return optax.GradientTransformationExtraArgs(init, update)
