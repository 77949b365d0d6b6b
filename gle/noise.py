"""Noise in what neurons send: temporally correlated, drawn step by step from an explicit key."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from gle.arrays import as_number, concrete
from gle.connections import AbstractConnection
from gle.costs import AbstractCost
from gle.network import Network
from gle.neurons import Rates
from gle.signals import State
from gle.steppers import AbstractStepper


class NoisyState(NamedTuple):
    """State of the stepper inside, and of the noise: [2, *batch, units], the inputs and all neurons side by side."""

    inside: Any
    noise: Float[Array, "2 *batch units"]
    key: PRNGKeyArray


def _std(value: ArrayLike) -> Array:
    if concrete(value) and not np.all(np.asarray(value) >= 0):
        raise ValueError(f"std of the noise must be at least 0, but is {value}.")
    return jnp.asarray(as_number("std", value), float)


def _tau(value: ArrayLike) -> Array:
    if concrete(value) and not np.all(np.asarray(value) > 0):
        raise ValueError(f"tau of the noise must be above 0, but is {value}.")
    return jnp.asarray(as_number("tau", value), float)


class NoisyRates(AbstractStepper):
    """Any stepper, with noise on every rate that is sent: of the inputs, the hidden neurons and the outputs.

        r_i -> r_i + std x_i,    x'' = -2 x' / tau - x / tau^2 + white noise    (Ellenberger et al., Fig. 9e)

    Each x_i is white noise through two leaky integrators, scaled to variance 1: stationary, independent of the others,
    of autocorrelation (1 + |t|/tau) exp(-|t|/tau), and sampled exactly for any dt. Whoever receives a rate gets the
    noisy one: the layer above, its plasticity, the cost, and `observe`. (Of an output it is the potential that is
    noisy, so that softmax outputs stay rates.) Back come the errors of the neurons, without noise of their own.

    - `std`: standard deviation of the noise, in units of the rates.
    - `tau`: its time constant. The noise that a Gaussian kernel of width s makes has the same curvature of the
        autocorrelation at t = 0 with tau = sqrt(2) s.
    - `key`: of the noise; the state carries it on. `start` and `settle` begin with the same noise for the same key.

    Raises ValueError for a negative `std`, a `tau` that is not positive, and for `RTRL` and `RFLO`, whose gradients are
    not local.
    """

    stepper: AbstractStepper
    std: Float[Array, ""] = eqx.field(converter=_std)
    tau: Float[Array, ""] = eqx.field(converter=_tau)
    key: PRNGKeyArray

    def __check_init__(self):
        if type(self.stepper).gradient is not AbstractStepper.gradient:
            raise ValueError(
                f"stepper must learn by local plasticity, unlike {type(self.stepper).__name__}: its sensitivities know "
                "nothing of the noise. Use Step, Algorithm1 or Instantaneous."
            )

    def init(self, network: Network, state: State) -> NoisyState:
        u, now, later = state.u[0], *jax.random.split(self.key)
        noise = jax.random.normal(now, (2, *u.shape[:-1], sum(_units(network))), u.dtype)
        return NoisyState(self.stepper.init(network, state), noise, later)

    def step(self, network: Network, state: NoisyState, input: Rates, target: Rates | None, dt: ArrayLike):
        now, later = jax.random.split(state.key)
        noise = _advance(state.noise, jnp.asarray(dt / self.tau, state.noise.dtype), now)
        of_input, *of_layers = jnp.split(self.std * noise[0], np.cumsum(_units(network))[:-1], axis=-1)
        inside, signals = self.stepper.step(_disturbed(network, of_input, of_layers), state.inside, input, target, dt)
        *_, output = potentials = (*signals.potential[:-1], signals.potential[-1] + of_layers[-1])
        rates = [rate + x for rate, x in zip(signals.rate[:-1], of_layers[:-1], strict=True)]
        rates.append(network.layers[-1].activation(output))
        signals = signals._replace(input=input + of_input, potential=potentials, rate=tuple(rates))
        return NoisyState(inside, noise, later), signals

    def limit(self) -> float:
        return self.stepper.limit()


class _Disturbed(AbstractConnection):
    """A connection whose neurons receive rates with this noise on them."""

    connection: AbstractConnection
    noise: Rates

    def __call__(self, rates: Rates) -> Rates:
        return self.connection(rates + self.noise)

    @property
    def sources(self) -> int:
        return self.connection.sources

    @property
    def neurons(self) -> int:
        return self.connection.neurons


class _DisturbedCost(AbstractCost):
    """A cost that reads the potentials of the outputs with this noise on them."""

    cost: AbstractCost
    noise: Rates

    def check(self, activation: Callable[[Array], Array]) -> None:
        self.cost.check(activation)

    def __call__(self, potentials: Array, target: Array, activation: Callable[[Array], Array]) -> Array:
        return self.cost(potentials + self.noise, target, activation)


def _disturbed(network: Network, of_input: Rates, of_layers: list[Rates]) -> Network:
    """The network in which everybody who reads a rate reads it with noise."""
    below = zip(network.layers, (of_input, *of_layers[:-1]), strict=True)
    layers = [eqx.tree_at(lambda x: x.connection, layer, _Disturbed(layer.connection, x)) for layer, x in below]
    cost = _DisturbedCost(network.cost, of_layers[-1])
    return Network(layers, cost, beta=network.beta, coupling=network.coupling)


def _units(network: Network) -> list[int]:
    """Number of inputs, and of neurons in each layer."""
    return [network.layers[0].connection.sources, *(layer.connection.neurons for layer in network.layers)]


def _advance(noise: Float[Array, "2 *shape"], s: Float[Array, ""], key: PRNGKeyArray) -> Float[Array, "2 *shape"]:
    """(x, tau x') after s = dt / tau: z -> F z + n with F = exp(-s) (1 + s, s; -s, 1 - s) and Cov n = 1 - F F^T."""
    x, slope = noise
    first, second = jax.random.normal(key, noise.shape, noise.dtype)
    kept, decayed = jnp.exp(-s), jnp.exp(-2 * s)
    # 1 - exp(-2s) (1 + 2s + 2s^2) without its cancellation at small s.
    variance = jax.scipy.special.gammainc(jnp.asarray(3.0, s.dtype), 2 * s)
    covariance, slope_variance = 2 * s**2 * decayed, variance + 4 * s * decayed
    common = covariance / jnp.sqrt(slope_variance)
    own = jnp.sqrt(variance - common**2)
    return jnp.stack(
        [
            kept * ((1 + s) * x + s * slope) + own * first + common * second,
            kept * ((1 - s) * slope - s * x) + jnp.sqrt(slope_variance) * second,
        ]
    )
