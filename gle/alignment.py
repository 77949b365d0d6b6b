"""Phaseless alignment learning: feedback weights that learn from noise (Max et al. 2022, 2024)."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from gle.arrays import as_number, concrete
from gle.connections import AbstractConnection
from gle.microcircuit import Microcircuit
from gle.network import Network
from gle.steppers import AbstractStepper, Step
from gle.system import AbstractSystem


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
    """Any stepper of a `Microcircuit` or `Network`, with noise in all layers below the top.

        tau xi' = -xi + sqrt(tau) std n(t),    n white;    v_api + xi drives the soma, in a `Network` W r + b + xi
        r^ = r - slow,    filter_tau slow' = r - slow

    in Euler steps: xi += (-dt xi + sqrt(dt tau) std N)/tau, which starts at 0 and tends to the variance
    std^2 (dt/tau) / (1 - (1 - dt/tau)^2), std^2 / 2 for small dt. r^ are the high-passed rates as they arrive.
    `signals` hold both as `noise` and `filtered`, and `synapses` hands them to rules such as `phaseless`.

    `tau` and `filter_tau` must be above half of dt, or noise and filter blow up.

    Raises ValueError for numbers that are not positive, for other systems, and for `RTRL` and `RFLO`, whose gradients
    are not local.
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

    def __check_init__(self):
        if type(self.stepper).gradient is not AbstractStepper.gradient:
            raise ValueError(
                f"stepper must learn by local plasticity, unlike {type(self.stepper).__name__}: its sensitivities know "
                "nothing of the noise. Use Step, Algorithm1 or Instantaneous."
            )

    def init(self, system: AbstractSystem, state: Any) -> ExploringState:
        slow = _rates(system, state)
        noise = tuple(jnp.zeros_like(r) for r in slow[:-1])
        return ExploringState(self.stepper.init(system, state), noise, slow, self.key)

    def step(
        self, system: Microcircuit | Network, state: ExploringState, input: Array, target: Array | None, dt: ArrayLike
    ):
        key, *keys = jax.random.split(state.key, len(state.noise) + 1)
        inside, signals = self.stepper.step(_noisy(system, state.noise), state.inside, input, target, dt)
        sent = signals.sent if isinstance(system, Microcircuit) else signals.rate
        filtered = tuple(r - slow for r, slow in zip(sent, state.slow, strict=True))
        kept = jnp.asarray(dt / self.filter_tau, input.dtype)
        slow = tuple(old + kept * r for old, r in zip(state.slow, filtered, strict=True))
        lost, size = (jnp.asarray(x, input.dtype) for x in (dt / self.tau, self.std * jnp.sqrt(dt / self.tau)))
        drawn = (jax.random.normal(k, xi.shape, xi.dtype) for k, xi in zip(keys, state.noise, strict=True))
        noise = tuple((1 - lost) * xi + size * n for xi, n in zip(state.noise, drawn, strict=True))
        return ExploringState(inside, noise, slow, key), signals._replace(noise=state.noise, filtered=filtered)

    def limit(self) -> float:
        return self.stepper.limit()


class _Offset(AbstractConnection):
    """A connection to neurons whose potentials have this noise on them."""

    connection: AbstractConnection
    noise: Array

    def __call__(self, rates: Array) -> Array:
        return self.connection(rates) + self.noise

    @property
    def sources(self) -> int:
        return self.connection.sources

    @property
    def neurons(self) -> int:
        return self.connection.neurons


def _noisy(system: Microcircuit | Network, noise: tuple[Array, ...]) -> Microcircuit | Network:
    """The system with noise in all layers below the top."""
    if isinstance(system, Microcircuit):
        return eqx.tree_at(lambda c: c.noise, system, noise, is_leaf=lambda x: x is None)
    below = zip(system.layers[:-1], noise, strict=True)
    layers = [eqx.tree_at(lambda x: x.connection, layer, _Offset(layer.connection, xi)) for layer, xi in below]
    return Network([*layers, system.layers[-1]], system.cost, beta=system.beta, coupling=system.coupling)


def _rates(system: AbstractSystem, state: Any) -> tuple[Array, ...]:
    """What each layer sends at rest."""
    if isinstance(system, Microcircuit):
        return tuple(system.activation(u) for u in state.sent)
    if isinstance(system, Network):
        return tuple(layer.activation(u) for layer, u in zip(system.layers, state.u, strict=True))
    raise ValueError(f"Exploring runs a Microcircuit or a Network, but this is a {type(system).__name__}.")


def phaseless(rate: ArrayLike, decay: ArrayLike) -> optax.GradientTransformationExtraArgs:
    """Phaseless alignment learning of the backward weights, which keep the shape of W: final increments.

        dB = rate (<r^_above xi^T> - decay B),        B* = <r^_above xi^T> / decay

    xi is the noise of the layer that B leads to, r^_above the high-passed rates that it sees from the layer above, and
    the mean is over the batch. Around a fixed point, for slow plasticity and filter_tau = tau (`Exploring`),

        <r^_above xi^T> = std^2/4  g_b/g_above phi'_above W phi' g_a/g

    so B aligns with W but for phi', whose mean over inputs scales each neuron. (In Euler steps std^2/4 becomes
    std^2 s^2 a^m / (1 - a^2)^2 with s = dt/tau, a = 1 - s, and m = 2 steps from xi to r^ where dt is the delay.)
    In a `Network` in latent equilibrium (tau_r = tau_m, m = 0) both ratios of conductances are 1.

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
