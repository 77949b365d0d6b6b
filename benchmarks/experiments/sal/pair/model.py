"""Two neurons whose weights align: time course and phase plane (Gierlich et al., Fig. 2d, e)."""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

import sal
from benchmarks.training import Metrics
from sal import RESULTS
from sal.theory import SpikeTimingDifferences, expected_update, steady_state, two_neurons


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two reciprocal weights align, in simulation and theory."""

    w12: float = -0.5
    """The weight from neuron 2 to neuron 1."""
    w21: float = 1.5
    b1: float = 0.0
    b2: float = 0.0
    learning_rate: float = 5e-3
    """Change of a weight per pair of coincident spikes."""
    duration: int = 20_000
    """Simulated time in refractory periods; weights are recorded a hundred times."""
    steps: int = 10
    """Time steps per refractory period."""
    replicas: int = 20
    """Independent simulations."""


RECORDS = 100


class Course(NamedTuple):
    """Weights (W_12, W_21) over time."""

    both: Float[Array, "*replicas records 2"]
    """Both learn."""
    one: Float[Array, "*replicas records 2"]
    """Only W_21 learns."""


def network(config: Pair) -> sal.Network:
    """In refractory periods, with the paper's rectangular PSP."""
    return two_neurons((config.w12, config.w21), (config.b1, config.b2), sal.Rectangular(1.0), 1.0)


def simulated(config: Pair, key: PRNGKeyArray, learns: Float[Array, "2"]) -> Float[Array, "records 2"]:
    """The weights in a simulation with spikes; `learns` is 1 for weights that learn, else 0."""
    start = network(config)
    window = sal.Exponential(1.0)
    stdp = sal.STDP(window, window, 1.0, sal.NearestPairs(), sal.one_by_one(2))
    rule = sal.align(config.learning_rate, stdp)
    dt = 1 / config.steps
    mask = jnp.zeros((2, 2)).at[0, 1].set(learns[0]).at[1, 0].set(learns[1])

    def period(carry, _):
        weights, state, memory = carry
        moved = eqx.tree_at(lambda net: net.connectivity.weight, start, weights)
        run = sal.simulate(moved, 1.0, dt=dt, key=key, state=state, throw=False)
        change, memory = rule.update(jnp.zeros_like(weights), memory, pre=run.spikes, post=run.spikes)
        return (weights + jnp.asarray(change) * mask, run.state, memory), None

    def record(carry, _):
        carry, _ = jax.lax.scan(period, carry, None, length=config.duration // RECORDS)
        return carry, jnp.stack([carry[0][0, 1], carry[0][1, 0]])

    weights = start.connectivity.effective  # pyright: ignore[reportAttributeAccessIssue]
    carry = (weights, start.init(), rule.init(weights))
    return jax.lax.scan(record, carry, None, length=RECORDS)[1]


def expected(config: Pair, learns: Float[Array, "2"]) -> Float[Array, "records 2"]:
    """The weights according to the theory: their mean change, integrated by Heun's method."""
    dt = 1 / config.steps
    span = config.learning_rate * config.duration / RECORDS

    def slope(weights: Array) -> Array:
        moved = two_neurons(weights, (config.b1, config.b2), sal.Rectangular(1.0), 1.0)
        differences = steady_state(moved, dt=dt).differences
        return learns * differences.rate * expected_update(differences, sal.Exponential(1.0))

    def record(weights, _):
        trial = weights + span * slope(weights)
        weights = weights + span / 2 * (slope(weights) + slope(trial))
        return weights, weights

    return jax.lax.scan(record, jnp.array([config.w12, config.w21]), None, length=RECORDS)[1]


@eqx.filter_jit
def differences(config: Pair, weights: tuple[float, float]) -> SpikeTimingDifferences:
    """How the time between nearest spikes is distributed at the weights (W_12, W_21) (Fig. 2c)."""
    pair = two_neurons(weights, (config.b1, config.b2), sal.Rectangular(1.0), 1.0)
    return steady_state(pair, dt=1 / config.steps).differences


BOTH, ONE = (1.0, 1.0), (0.0, 1.0)


def courses(config: Pair, key: PRNGKeyArray) -> tuple[Course, Course]:
    """Simulated in replicas, and expected."""
    keys = jax.random.split(key, config.replicas)

    def replicas(learns):
        return jax.vmap(lambda key: simulated(config, key, jnp.array(learns)))(keys)

    theory = Course(*(expected(config, jnp.array(learns)) for learns in (BOTH, ONE)))
    return Course(replicas(BOTH), replicas(ONE)), theory


def sal_pair(config: Pair, key: PRNGKeyArray) -> tuple[Metrics, sal.Network, RESULTS, tuple[Course, Course]]:
    """How far the weights are apart in the end, and how far simulation and theory."""
    found, theory = courses(config, key)
    mean = Course(*(jnp.mean(course, axis=0) for course in found))
    metrics = {}
    for name, target in (("both", (config.w12 + config.w21) / 2), ("one", config.w12)):
        course = getattr(mean, name)
        metrics |= {
            f"{name}_final_difference": jnp.abs(course[-1, 1] - course[-1, 0]),
            f"{name}_distance_to_target": jnp.max(jnp.abs(course[-1] - target)),
            f"{name}_distance_from_theory": jnp.max(jnp.abs(course - getattr(theory, name))),
        }
    metrics["replica_std"] = jnp.std(found.both[:, -1, 1])
    return metrics, network(config), RESULTS.successful, (found, theory)
