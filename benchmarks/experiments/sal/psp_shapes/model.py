"""Shapes of the PSP and what they do to alignment (Gierlich et al., Figs. 10, 11)."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

import sal
from benchmarks.training import Metrics
from sal import RESULTS
from sal.theory import SpikeTimingDifferences, steady_state, two_neurons
from sal.two_weights import attractor, deviation, relative_deviation, relaxation


@dataclasses.dataclass(frozen=True)
class Shapes:
    """How far alignment is off, by PSP shape and bias.

    By theory alone, with sweeps. The paper says neither its time constants nor its ranges of weights and biases.
    """

    short: float = 1 / 3
    """Time constant of the short alpha-shaped PSP, in refractory periods."""
    long: float = 0.5
    """And of the long one."""
    steps: int = 10
    """Time steps per refractory period."""
    largest_weight: float = 1.0
    """Weights are between minus this and this."""
    largest_bias: float = 1.0
    """And biases between minus this and this."""
    weights: int = 9
    """How many weights W_21."""
    biases: int = 5
    """How many values of each bias."""


WINDOW = sal.Exponential(1.0)


def kernels(config: Shapes) -> dict[str, sal.AbstractKernel]:
    """The three PSPs."""
    return {
        "rectangular": sal.Rectangular(1.0),
        "short": sal.Alpha(config.short, 1.0),
        "long": sal.Alpha(config.long, 1.0),
    }


def weight_grid(config: Shapes) -> Float[Array, " weights"]:
    """W_21, ascending."""
    return jnp.linspace(-config.largest_weight, config.largest_weight, config.weights)


def bias_grid(config: Shapes) -> Float[Array, " biases"]:
    """b_1 or b_2, ascending."""
    return jnp.linspace(-config.largest_bias, config.largest_bias, config.biases)


def attractors(config: Shapes, psp: sal.AbstractKernel) -> Float[Array, "biases biases weights"]:
    """W_12 at rest, at [b_1, b_2, W_21] (Fig. 10c)."""
    w21, dt = weight_grid(config), 1 / config.steps

    def rest(b1, b2):
        alone = two_neurons((0.0, 0.0), jnp.stack([b1, b2]), psp, 1.0)
        return attractor(alone, w21, WINDOW, dt=dt, tolerance=1e-5)

    biases = bias_grid(config)
    return jax.lax.map(lambda b1: jax.lax.map(lambda b2: rest(b1, b2), biases), biases)


@eqx.filter_jit
def stdd(config: Shapes, psp: sal.AbstractKernel, weight: float, biases: tuple[float, float]) -> SpikeTimingDifferences:
    """The time differences of two neurons with equal weights (Fig. 10b)."""
    return steady_state(two_neurons((weight, weight), biases, psp, 1.0), dt=1 / config.steps).differences


def slowest_relaxation(config: Shapes, psp: sal.AbstractKernel) -> Float[Array, ""]:
    """The largest derivative of the update across the diagonal, over all biases: stable while negative."""
    biases, w21, dt = bias_grid(config), weight_grid(config), 1 / config.steps

    def at(b1, b2, weight):
        alone = two_neurons((0.0, 0.0), jnp.stack([b1, b2]), psp, 1.0)
        return relaxation(alone, jnp.stack([weight, weight]), WINDOW, dt=dt)

    grid = jnp.stack(jnp.meshgrid(biases, biases, w21, indexing="ij"), axis=-1).reshape(-1, 3)
    return jnp.max(jax.lax.map(lambda x: at(*x), grid))


@eqx.filter_jit
def deviations(config: Shapes, weight: float, lags: int) -> tuple[Array, Array]:
    """delta and Delta for a rectangular PSP at W_12 = W_21 = `weight` (Fig. 11), per unit of epsilon."""
    alone = two_neurons((0.0, 0.0), (0.0, 0.0), sal.Rectangular(1.0), 1.0)
    found = deviation(alone, jnp.full(2, weight), lags, dt=1 / config.steps)
    return found.density, found.integral


def sal_psp_shapes(config: Shapes, key: PRNGKeyArray) -> tuple[Metrics, sal.Network, RESULTS, dict[str, Array]]:
    """D over all biases, whether signs agree, and whether the diagonal is stable; records the attractors."""
    del key
    w21, metrics, found = weight_grid(config), {}, {}
    for name, psp in kernels(config).items():
        rest = found[name] = attractors(config, psp)
        distance = jax.vmap(jax.vmap(lambda g: relative_deviation(w21, g)[1]))(rest)
        agree = (jnp.sign(rest) == jnp.sign(w21)[None, None]) | (jnp.abs(w21) < 1e-6)[None, None]
        metrics |= {
            f"{name}_mean_deviation": jnp.mean(distance),
            f"{name}_largest_deviation": jnp.max(distance),
            f"{name}_signs_agree": jnp.mean(agree),
            f"{name}_slowest_relaxation": slowest_relaxation(config, psp),
        }
    return metrics, two_neurons((0.0, 0.0), (0.0, 0.0), sal.Rectangular(1.0), 1.0), RESULTS.successful, found
