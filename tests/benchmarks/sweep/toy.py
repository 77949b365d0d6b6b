"""Cheap experiments with known outcomes."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import eventprop as ep
from benchmarks import RESULTS


@dataclasses.dataclass(frozen=True)
class Toy:
    """A parabola over the decades of the learning rate."""

    learning_rate: float = 1e-2
    momentum: float = 0.5
    width: int = 4
    steep: bool = False
    shape: tuple[int, ...] = (1, 2)


def accuracy(config: Toy, noise):
    """What `toy` measures, for NumPy and JAX values alike."""
    distance = (
        np.log10(config.learning_rate) if isinstance(config.learning_rate, float) else jnp.log10(config.learning_rate)
    ) + 3.0
    return 1.0 - (0.2 if config.steep else 0.1) * distance**2 - config.momentum / config.width + 0.01 * noise


def toy(config: Toy, key):
    value = accuracy(config, jax.random.uniform(key))
    return {"validation_accuracy": value, "test_accuracy": value - 0.01}, jnp.zeros(config.width), RESULTS.successful


def loses_spikes(config: Toy, key):
    """Loses spikes at momentum 0.5, is not finite at 0.25."""
    metrics, network, _ = toy(config, key)
    metrics["validation_accuracy"] = jnp.where(config.momentum == 0.25, jnp.nan, metrics["validation_accuracy"])
    result = ep.RESULTS.where(jnp.asarray(config.momentum == 0.5), ep.RESULTS.spikes_lost, ep.RESULTS.successful)
    return metrics, network, result


def raises_inside(config: Toy, key):
    """Raises while the compiled program runs, at momentum 0.5."""
    metrics, network, result = toy(config, key)
    momentum = eqx.error_if(jnp.asarray(config.momentum), config.momentum == 0.5, "momentum must not be 0.5")
    return {name: value + 0 * momentum for name, value in metrics.items()}, network, result


def raises_at_trace_time(config: Toy, key):
    """Cannot be traced at width 2."""
    if config.width == 2:
        raise ValueError("width must not be 2")
    return toy(config, key)


def needs_a_number(config: Toy, key):
    """The learning rate decides on a shape."""
    steps = jnp.ones(round(1 / config.learning_rate))
    return {"validation_accuracy": jnp.sum(steps) + config.momentum}, steps, RESULTS.successful


def sweep_values(function, config, grid, metric="validation_accuracy"):
    """The metric of every member, [settings, seeds], by a plain Python loop without jit or vmap."""
    return np.array(
        [
            [function(dataclasses.replace(config, **setting), jax.random.key(seed))[0][metric] for seed in grid.seeds]
            for setting in grid.settings
        ]
    )
