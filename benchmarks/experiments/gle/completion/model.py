"""A recurrent least-action network completes traces (after Senn et al. 2023, whose recordings are not public).

The traces are synthetic: mixtures of three oscillations and of one random walk that forgets.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

import gle
from benchmarks.training import Metrics, outcome
from gle import RESULTS

PERIODS = (47.0, 83.0, 131.0)
"""Of the oscillations, in ms."""


@dataclasses.dataclass(frozen=True)
class Completion:
    """Synthetic traces, completed by a least-action network."""

    visible: int = 16
    free: int = 4
    """How many of them are left free in the test."""
    hidden: int = 16
    duration: float = 4000.0
    test_duration: float = 2000.0
    epochs: int = 20
    dt: float = 1.0
    tau: float = 10.0
    beta: float = 1.0
    """Nudging while learning, of all traces."""
    test_beta: float = 10.0
    """Nudging in the test, of the traces that are not free."""
    learning_rate: float = 1e-2
    largest_norm: float = 3.9
    """Bound on |W|: below 4, I - W phi' has an inverse, whatever the state is, as the slopes of the sigmoid are 1/4."""


def sources(key: PRNGKeyArray, steps: int, dt: float) -> Float[Array, "time 4"]:
    """Oscillations of random phase, and an AR(1) process of variance 1."""
    phase_key, noise_key = jax.random.split(key)
    t = jnp.arange(steps)[:, None] * dt
    phase = jax.random.uniform(phase_key, (1, len(PERIODS)), maxval=2 * jnp.pi)
    waves = jnp.sin(2 * jnp.pi * t / jnp.array(PERIODS)[None] + phase)
    noise = jax.random.normal(noise_key, (steps,))
    kept = 0.97

    def forget(x, n):
        x = kept * x + jnp.sqrt(1 - kept**2) * n
        return x, x

    _, walk = jax.lax.scan(forget, jnp.zeros(()), noise)
    return jnp.concatenate([waves, walk[:, None]], axis=1)


class Record(eqx.Module):
    """Of the free traces in the test: the truth and what the network makes of it, [time, free]."""

    truth: Float[Array, "time free"]
    completed: Float[Array, "time free"]


def correlations(one: Float[Array, "time free"], other: Float[Array, "time free"]) -> Float[Array, " free"]:
    """Of each trace with its completion."""
    one, other = one - jnp.mean(one, axis=0)[None], other - jnp.mean(other, axis=0)[None]
    return jnp.sum(one * other, axis=0) / jnp.sqrt(jnp.sum(one**2, axis=0) * jnp.sum(other**2, axis=0))


def bounded(largest: float | Array) -> optax.GradientTransformation:
    """Cuts the singular values of W at `largest` after each update; stands last."""

    def cut(updates: gle.LeastAction, params: gle.LeastAction) -> gle.LeastAction:
        left, values, right = jnp.linalg.svd(params.weight + updates.weight)
        excess = jnp.maximum(values - largest, 0)
        return eqx.tree_at(lambda x: x.weight, updates, updates.weight - (left * excess[None]) @ right)

    return optax.stateless(cut)  # pyright: ignore[reportArgumentType]


def completed(learner: gle.Learner, traces: Float[Array, "time visible"], config: Completion):
    """What the network holds in the place of the free traces, and a result, once the start is forgotten.

    It goes on from where learning left it: far from the minimum, as with all potentials zero, energies are not convex.
    """
    beta = jnp.full(config.visible, config.test_beta).at[config.visible - config.free :].set(0.0)
    clamped = eqx.tree_at(lambda network: network.beta, learner.network, beta)
    inputs, targets = streams(traces, config)
    _, outputs, result = gle.online(
        gle.Learner(clamped, learner.state, None), inputs, targets, dt=config.dt, throw=False
    )
    forgotten = round(20 * config.tau / config.dt)
    return outputs[forgotten:, -config.free :], traces[forgotten:, -config.free :], result


def streams(traces: Float[Array, "time visible"], config: Completion) -> tuple[Array, Array]:
    """No input, and the traces as targets with their slopes."""
    return jnp.zeros((len(traces), 2)), gle.with_slopes(traces, config.dt)


def gle_completion(config: Completion, key: PRNGKeyArray) -> tuple[Metrics, gle.LeastAction, RESULTS, Record]:
    """Correlations of the free traces with the truth on signals that were not learned: the lowest, and the mean."""
    mix_key, train_key, test_key, weight_key = jax.random.split(key, 4)
    mix = 0.3 * jax.random.normal(mix_key, (len(PERIODS) + 1, config.visible))
    train, test = (
        sources(k, round(duration / config.dt), config.dt) @ mix
        for k, duration in ((train_key, config.duration), (test_key, config.test_duration))
    )
    neurons = config.visible + config.hidden
    weight = 0.1 * jax.random.truncated_normal(weight_key, -3, 3, (neurons, neurons))
    network = gle.LeastAction(
        weight,
        jnp.zeros((neurons, 1)),
        jax.nn.sigmoid,
        tau=config.tau,
        beta=jnp.full(config.visible, config.beta),
        mask=~jnp.eye(neurons, dtype=bool),
    )
    optimiser = optax.chain(optax.sgd(config.learning_rate), bounded(config.largest_norm))
    dynamic, static = eqx.partition(gle.start(network, optimiser), eqx.is_array)

    def epoch(dynamic, _):
        learner = eqx.combine(dynamic, static)
        nothing = lambda network, signals: None  # noqa: E731
        options = {"dt": config.dt, "optimiser": optimiser, "observe": nothing, "throw": False}
        after, _, result = gle.online(learner, *streams(train, config), **options)
        return eqx.filter(after, eqx.is_array), result

    dynamic, results = jax.lax.scan(epoch, dynamic, length=config.epochs)
    learner = eqx.combine(dynamic, static)
    found, truth, last = completed(learner, test, config)
    result = outcome(results)
    found_correlations = correlations(found, truth)
    metrics = {
        "test_correlation": jnp.mean(found_correlations),
        "lowest_test_correlation": jnp.min(found_correlations),
    }
    return metrics, learner.network, RESULTS.where(result == RESULTS.successful, last, result), Record(truth, found)
