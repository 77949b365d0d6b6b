"""SAL between neurons that obey Dale's law (Gierlich et al., Fig. 9)."""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

import sal
from benchmarks.errors import InvalidInput
from benchmarks.training import Metrics
from sal import RESULTS
from sal.dale import EXCITATORY


@dataclasses.dataclass(frozen=True)
class Dale:
    """SAL between neurons that only excite or only inhibit.

    Two excitatory neurons excite each other directly and inhibit each other through inhibitory ones; SAL acts on the
    direct weights W_EE. Reduced: 4e5 time steps per point of the phase plane (the authors' code: 2e6).
    """

    points: int = 21
    """Values of each direct weight in the phase plane, from 0 to `largest`."""
    largest: float = 2.0
    indirect: float = -1.0
    """W_EI."""
    recruiting: float = 4.0
    """W_IE."""
    bias: float = 0.0
    """b_E."""
    bias_inhibitory: float = -2.0
    """b_I."""
    spread: float = 0.2
    """Standard deviation of all other weights and biases in the heterogeneous circuit, one per seed."""
    duration: int = 16_000
    """Refractory periods per point of the phase plane and of the rates."""
    steps: int = 25
    """Time steps per refractory period."""
    learning_rate: float = 0.02
    """Of the courses: change of a weight per pair of coincident spikes."""
    learning: int = 20_000
    """Refractory periods of the courses, in which weights are recorded a hundred times."""


STARTS = ((0.2, 1.8), (1.9, 0.4))
"""Direct weights (W_12, W_21) at which courses begin: both learn in the first, W_12 alone in the second."""
LEARNS = ((1.0, 1.0), (1.0, 0.0))
RECORDS, CHUNK = 100, 20
"""Records of a course; refractory periods that are simulated in one piece."""


class Circuit(NamedTuple):
    """All of a pair but its direct weights: both numbers of each kind."""

    indirect: Float[Array, "2"]
    recruiting: Float[Array, "2"]
    bias: Float[Array, "2"]
    bias_inhibitory: Float[Array, "2"]


class Found(NamedTuple):
    """What the figures show."""

    plane: Float[Array, "2 points points 2"]
    """Drift of (W_12, W_21) per refractory period at [circuit, W_12, W_21]; the circuits are `circuits`."""
    attractor: Float[Array, "2 points"]
    """W_12 at rest, at each W_21; NaN where it is not within the plane."""
    effective: Float[Array, "2 2 points"]
    """W_eff at [circuit, 1 <- 2 at the attractor or 2 <- 1, W_21]."""
    rates: Float[Array, "2 points"]
    """Activity of a neuron with input through both pathways, and through one weight W_eff that breaks the law."""
    courses: Float[Array, "2 records 2"]


def weight_grid(config: Dale) -> Float[Array, " points"]:
    """Direct weights, ascending."""
    return jnp.linspace(0.0, config.largest, config.points)


def circuits(config: Dale, key: PRNGKeyArray) -> list[Circuit]:
    """A homogeneous and a heterogeneous one."""
    values = (config.indirect, config.recruiting, config.bias, config.bias_inhibitory)
    draws = config.spread * jax.random.normal(key, (4, 2))
    even = [jnp.full(2, value, float) for value in values]
    return [Circuit(*even), Circuit(*(x + draw for x, draw in zip(even, draws, strict=True)))]


def network(circuit: Circuit, direct: Float[Array, "2"]) -> sal.Network:
    """In refractory periods."""
    return sal.dale_pair(direct, 1.0, **circuit._asdict())


def effective(circuit: Circuit, direct: Float[Array, "*points 2"]) -> Float[Array, "*points 2"]:
    """(W_12, W_21) as they act: the way to neuron 1 begins at neuron 2."""
    other = [x[::-1] for x in (circuit.recruiting, circuit.bias, circuit.bias_inhibitory)]
    batch = jnp.broadcast_shapes(direct.shape, (2,))
    return sal.effective_weight(direct, *(jnp.broadcast_to(x, batch) for x in (circuit.indirect, *other)))


def stdp() -> sal.STDP:
    """Of the excitatory neurons."""
    window = sal.Exponential(1.0)
    return sal.STDP(window, window, 1.0, sal.NearestPairs(), sal.one_by_one(2))


def drift(config: Dale, circuit: Circuit, direct: Float[Array, "2"], key: PRNGKeyArray) -> Float[Array, "2"]:
    """Of (W_12, W_21) under SAL, per refractory period and learning rate."""
    rule, dt = stdp(), 1 / config.steps

    def add(carry, solution):
        total, traces = carry
        spikes = solution.spikes[::2]
        sums, traces = rule.update(traces, spikes, spikes)
        return total + sums.anticausal - sums.causal, traces

    start = jnp.zeros((2, 2)), rule.init((2,), (2,), dt)
    (total, _), _, _ = simulated(config, network(circuit, direct), add, start, key)
    return jnp.stack([total[0, 1], total[1, 0]]) / config.duration


def simulated(config: Dale, net: sal.AbstractNetwork, add, start, key: PRNGKeyArray, observe=None):
    """`add` over a run, in pieces."""
    chunks = config.duration // CHUNK
    return sal.accumulate(
        add, start, net, float(CHUNK), chunks=chunks, dt=1 / config.steps, key=key, observe=observe, throw=False
    )


def activity(config: Dale, net: sal.Network, key: PRNGKeyArray) -> Float[Array, " neurons"]:
    """How much of the time neurons are refractory."""

    def add(total, solution):
        return total + jnp.mean(solution.observed, axis=0)

    total, _, _ = simulated(config, net, add, jnp.zeros(net.neurons), key, observe=sal.refractory_states)
    return total / (config.duration // CHUNK)


def rates(config: Dale, key: PRNGKeyArray) -> Float[Array, "2 points"]:
    """Of neuron 2, which neuron 1 reaches through both pathways, or directly (Fig. 9b); nothing goes back."""
    homogeneous, grid = circuits(config, key)[0], weight_grid(config)

    def both(direct: Array) -> Array:
        one_way = homogeneous._replace(indirect=homogeneous.indirect.at[0].set(0.0))
        return activity(config, network(one_way, jnp.stack([jnp.zeros(()), direct])), key)[2]

    def alone(direct: Array) -> Array:
        weight = effective(homogeneous, jnp.stack([direct, direct]))[1]
        pair = sal.two_neurons((0.0, weight), homogeneous.bias, sal.Rectangular(1.0), 1.0)
        return activity(config, pair, key)[1]

    return jnp.stack([jax.vmap(both)(grid), jax.vmap(alone)(grid)])


def resting(grid: Float[Array, " points"], drifts: Float[Array, " points"]) -> Float[Array, ""]:
    """Where the drift along `grid` falls through zero first, by linear interpolation; NaN if it does not."""
    falls = (drifts[:-1] > 0) & (drifts[1:] <= 0)
    at = jnp.argmax(falls)
    share = drifts[at] / jnp.where(falls[at], drifts[at] - drifts[at + 1], 1.0)
    return jnp.where(jnp.any(falls), grid[at] + share * (grid[at + 1] - grid[at]), jnp.nan)


def course(config: Dale, circuit: Circuit, start: Array, learns: Array, key: PRNGKeyArray) -> Float[Array, "records 2"]:
    """Direct weights over time, kept on their side of zero."""
    dt = 1 / config.steps
    masked = jnp.zeros((4, 4)).at[0, 2].set(learns[0]).at[2, 0].set(learns[1])
    window = sal.Exponential(1.0)
    whole = sal.STDP(window, window, 1.0, sal.NearestPairs(), sal.one_by_one(4))
    rate = config.learning_rate
    aligning = sal.align(rate, whole, causal=-masked, anticausal=masked)
    rule = optax.chain(aligning, sal.keep_signs(EXCITATORY))
    begin = network(circuit, start)

    def chunk(carry, _):
        weights, state, memory = carry
        moved = eqx.tree_at(lambda net: net.connectivity.weight, begin, weights)
        run = sal.simulate(moved, 1.0, dt=dt, key=key, state=state, throw=False)
        change, memory = rule.update(jnp.zeros_like(weights), memory, weights, pre=run.spikes, post=run.spikes)
        return (weights + change, run.state, memory), None

    def record(carry, _):
        carry, _ = jax.lax.scan(chunk, carry, None, length=config.learning // RECORDS)
        return carry, jnp.stack([carry[0][0, 2], carry[0][2, 0]])

    weights = begin.connectivity.weight  # pyright: ignore[reportAttributeAccessIssue]
    return jax.lax.scan(record, (weights, begin.init(dt), rule.init(weights)), None, length=RECORDS)[1]


def sal_dale(config: Dale, key: PRNGKeyArray) -> tuple[Metrics, sal.Network, RESULTS, Found]:
    """Where the direct weights rest, in their own and in effective coordinates, and what both pathways do to rates."""
    if config.duration % CHUNK or config.learning % RECORDS:
        raise InvalidInput(
            f"duration must be a multiple of {CHUNK} and learning of {RECORDS}, but they are {config.duration} and "
            f"{config.learning}."
        )
    draw, plane_key, rate_key, course_key = jax.random.split(key, 4)
    grid, both = weight_grid(config), circuits(config, draw)

    def plane(circuit: Circuit) -> Float[Array, "points points 2"]:
        pairs = jnp.stack(jnp.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
        keys = jax.random.split(plane_key, len(pairs))
        found = jax.vmap(lambda direct, key: drift(config, circuit, direct, key))(pairs, keys)
        return found.reshape(config.points, config.points, 2)

    planes = jax.lax.map(plane, jax.tree.map(lambda *x: jnp.stack(x), *both))
    attractor = jnp.stack([jax.vmap(lambda x: resting(grid, x), in_axes=1)(found[..., 0]) for found in planes])
    acting = jnp.stack(
        [effective(circuit, jnp.stack([rest, grid], axis=-1)).T for circuit, rest in zip(both, attractor, strict=True)]
    )
    follow = jax.vmap(lambda start, learns: course(config, both[0], start, learns, course_key))
    courses = follow(jnp.array(STARTS), jnp.array(LEARNS))
    activities = rates(config, rate_key)
    distance = jnp.abs(acting[:, 0] - acting[:, 1])[:, 1:-1]
    metrics = {
        "rate_difference": jnp.max(jnp.abs(activities[0] - activities[1])),
        "distance_from_diagonal": jnp.nanmean(distance[0]),
        "heterogeneous_distance": jnp.nanmean(distance[1]),
        "lowest_effective": jnp.nanmin(acting[0, 0]),
        "both_final_difference": jnp.abs(courses[0, -1, 0] - courses[0, -1, 1]),
        "one_distance_to_target": jnp.abs(courses[1, -1, 0] - STARTS[1][1]),
    }
    return (
        metrics,
        network(both[0], jnp.array(STARTS[0])),
        RESULTS.successful,
        Found(planes, attractor, acting, activities, courses),
    )
