"""A spiking neuron learns from another one's spikes by natural and Euclidean gradients (Kreutzer et al. 2022)."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

import gle
from benchmarks.errors import InvalidInput
from benchmarks.training import Metrics, Training, train
from gle import RESULTS

RULES = ("natural", "euclidean")
PLACES = ("soma", "dendrite")
"""Where synapses sit; a dendrite attenuates the distal ones."""
DT, UPDATE = 5e-4, 200
"""The time step in seconds, and how many of them make one update: weights change by 1e-3 and less meanwhile."""
MEMBRANE, SYNAPSE = 10e-3, 3e-3
"""Time constants of the PSP (e^(-t / membrane) - e^(-t / synapse)) / (membrane - synapse), in seconds."""
GAIN = 1 / (2 * (MEMBRANE + SYNAPSE))
"""The integral of the squared PSP, 38.46 per second: an input of rate r has the variance 38.46 r."""
HIGHEST, SLOPE, THRESHOLD = 100.0, 0.3, 10.0
"""Of the intensity of spikes."""


@dataclasses.dataclass(frozen=True)
class NaturalGradient:
    """A neuron learns by natural gradients.

    Four copies of a neuron with Poisson inputs learn from a teacher's spikes: by natural and by Euclidean gradients,
    with all synapses at the soma, and along a dendrite that attenuates them by a factor from 1 to `farthest`.
    """

    inputs: int = 100
    """One half of them has a low rate, the other a high one."""
    low: float = 10.0
    """In Hz."""
    high: float = 50.0
    farthest: float = 0.3
    """Attenuation of the most distal synapse of each half."""
    natural_rate: float = 6e-4
    euclidean_rate: float = 1.5e-6
    """Both per second, the paper's. (Its 4.5e-7 contains the slope, 0.3.)"""
    seconds: int = 40
    """Of simulated time per epoch."""
    epochs: int = 200

    def __post_init__(self):
        if self.inputs % 2:
            raise InvalidInput(f"inputs must be even, for two halves of different rate, but is {self.inputs}.")
        if not 0 < self.farthest <= 1:
            raise InvalidInput(f"farthest must be above 0, up to 1 for no attenuation, but is {self.farthest}.")


def intensity(v: Array) -> Array:
    """phi(V) = 100 sigma(0.3 (V - 10)) Hz."""
    return HIGHEST * jax.nn.sigmoid(SLOPE * (v - THRESHOLD))


def rates(config: NaturalGradient) -> Float[Array, " inputs"]:
    """Of the inputs, in Hz: they are the means mu of x, and 38.46 of them are its variances S."""
    half = config.inputs // 2
    return jnp.concatenate([jnp.full(half, config.low), jnp.full(half, config.high)])


def attenuation(config: NaturalGradient, place: str) -> Float[Array, " inputs"]:
    """alpha of each synapse: w at the soma is alpha times w."""
    if place == "soma":
        return jnp.ones(config.inputs)
    return jnp.tile(jnp.linspace(1.0, config.farthest, config.inputs // 2), 2)


def optimiser(config: NaturalGradient, rule: str, place: str) -> optax.GradientTransformation:
    """What turns dE/dw of the weights at this place into their change."""
    if rule == "euclidean":
        return optax.sgd(config.euclidean_rate)
    alpha, mu = attenuation(config, place), rates(config)
    return optax.chain(
        gle.natural_gradient(intensity, alpha * mu, alpha**2 * GAIN * mu), optax.sgd(config.natural_rate)
    )


def joint(
    w: Float[Array, " inputs"], teacher: Float[Array, " inputs"], mu: Float[Array, " inputs"], nodes: int = 24
) -> tuple[Array, Array, Array]:
    """(V, V*, probability): nodes of a quadrature of both potentials, which are jointly normal as their inputs are."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    one, other = (jnp.asarray(x.ravel(), w.dtype) for x in np.meshgrid(points, points))
    probability = jnp.asarray(np.outer(weights, weights).ravel() / weights.sum() ** 2, w.dtype)
    own, both, theirs = (jnp.sum(GAIN * mu * x) for x in (w * w, w * teacher, teacher * teacher))
    own = jnp.maximum(own, jnp.finfo(w.dtype).tiny)
    rest = jnp.sqrt(jnp.maximum(theirs - both**2 / own, 0))
    return w @ mu + jnp.sqrt(own) * one, teacher @ mu + both / jnp.sqrt(own) * one + rest * other, probability


def cost(w: Float[Array, " inputs"], teacher: Float[Array, " inputs"], mu: Float[Array, " inputs"]) -> Array:
    """E[phi* log(phi* / phi) + phi - phi*], the divergence of the teacher's spikes from ours, in nats per second."""
    v, theirs, probability = joint(w, teacher, mu)
    # log phi* - log phi, which is accurate where they are all but equal.
    difference = (
        SLOPE * (theirs - v) + jax.nn.softplus(SLOPE * (v - THRESHOLD)) - jax.nn.softplus(SLOPE * (theirs - THRESHOLD))
    )
    return jnp.sum(probability * intensity(theirs) * (difference + jnp.expm1(-difference)))


def expected_gradient(
    w: Float[Array, " inputs"], teacher: Float[Array, " inputs"], mu: Float[Array, " inputs"]
) -> Float[Array, " inputs"]:
    """d cost / dw = E[f(V, V*) x], f = (phi - phi*) phi' / phi, which is mu E[f] + S w E[df/dV] + S w* E[df/dV*]."""

    def f(v, theirs):
        return (intensity(v) - intensity(theirs)) * jax.grad(lambda v: jnp.log(intensity(v)))(v)

    v, theirs, probability = joint(w, teacher, mu)
    mean, own, other = (
        jnp.sum(probability * jax.vmap(g)(v, theirs)) for g in (f, jax.grad(f, argnums=0), jax.grad(f, argnums=1))
    )
    return mu * mean + GAIN * mu * (w * own + teacher * other)


def path(
    config: NaturalGradient, rule: str, start: Float[Array, " inputs"], teacher: Float[Array, " inputs"], steps: int
) -> Float[Array, "steps inputs"]:
    """Somatic weights second by second, along the expected gradient."""
    transform, mu = optimiser(config, rule, "soma"), rates(config)

    def one(w, _):
        gradient = expected_gradient(w[0], teacher, mu)[None]
        return optax.apply_updates(w, transform.update(gradient, transform.init(w), w)[0]), w[0]

    return jax.lax.scan(one, start[None], length=steps)[1]


class State(eqx.Module):
    """What changes: the copies' weights at their places, filters of the inputs, and what all began with."""

    weights: dict[str, Float[Array, "1 inputs"]]
    filters: Float[Array, "2 inputs"]
    """Spikes, low-pass filtered by the membrane and by the synapse."""
    start: Float[Array, " inputs"]
    teacher: Float[Array, " inputs"]
    key: PRNGKeyArray


COPIES = {f"{rule}_{place}": (rule, place) for rule in RULES for place in PLACES}


class NaturalGradientTraining(Training):
    """The problem of a configuration."""

    epochs: int
    steps_per_epoch: int
    config: NaturalGradient

    def __init__(self, config: NaturalGradient):
        self.config, self.epochs = config, config.epochs
        self.steps_per_epoch = round(config.seconds / (DT * UPDATE))

    def init(self, key: PRNGKeyArray) -> State:
        keys, n = jax.random.split(key, 3), self.config.inputs
        start, teacher = (jax.random.uniform(k, (n,), minval=-1.0) / n for k in keys[:2])
        weights = {name: (start / attenuation(self.config, place))[None] for name, (_, place) in COPIES.items()}
        filters = jnp.array([[MEMBRANE], [SYNAPSE]]) * rates(self.config)[None]
        return State(weights, filters, start, teacher, keys[2])

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        def update(carry, key):
            weights, filters = carry
            filters, x, y = self._observe(filters, state.teacher, key)
            return ({name: self._learn(name, w, x, y) for name, w in weights.items()}, filters), None

        keys = jax.random.split(jax.random.fold_in(state.key, number), self.steps_per_epoch)
        (weights, filters), _ = jax.lax.scan(update, (state.weights, state.filters), keys)
        metrics, mu = {}, rates(self.config)
        for name, (_, place) in COPIES.items():
            w = attenuation(self.config, place) * weights[name][0]
            metrics[f"cost_{name}"] = cost(w, state.teacher, mu)
            norm = jnp.linalg.norm(state.start - state.teacher)
            metrics[f"distance_{name}"] = jnp.linalg.norm(w - state.teacher) / norm
        return State(weights, filters, state.start, state.teacher, state.key), metrics

    def _observe(self, filters: Array, teacher: Array, key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        """(filters after a while, the PSPs x [time, inputs] meanwhile, the teacher's spikes [time])."""
        input_key, spike_key = jax.random.split(key)
        mu = rates(self.config)
        arriving = jax.random.bernoulli(input_key, DT * mu[None], (UPDATE, len(mu))).astype(mu.dtype)
        decay = jnp.exp(-DT / jnp.array([[MEMBRANE], [SYNAPSE]]))

        def step(filters, spikes):
            filters = decay * filters + spikes[None]
            return filters, (filters[0] - filters[1]) / (MEMBRANE - SYNAPSE)

        filters, x = jax.lax.scan(step, filters, arriving)
        y = jax.random.bernoulli(spike_key, DT * intensity(x @ teacher)).astype(mu.dtype)
        return filters, x, y

    def _learn(self, name: str, weight: Array, x: Array, y: Array) -> Any:
        """The weights after one step along -sum (Y - phi dt) phi' / phi x."""
        rule, place = COPIES[name]
        transform, seen = optimiser(self.config, rule, place), attenuation(self.config, place)[None] * x
        v = seen @ weight[0]
        gradient = ((DT * intensity(v) - y) * jax.vmap(jax.grad(lambda v: jnp.log(intensity(v))))(v)) @ seen
        return optax.apply_updates(weight, transform.update(gradient[None], transform.init(weight), weight)[0])

    def finish(self, state: State) -> tuple[Metrics, State, RESULTS]:
        return {}, state, RESULTS.successful


def natural_gradient(config: NaturalGradient, key: PRNGKeyArray) -> tuple[Metrics, State, RESULTS]:
    """Costs in nats per second, and distances of somatic weights from the teacher's relative to those of the start."""
    return train(NaturalGradientTraining(config), key)
