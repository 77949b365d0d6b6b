"""Spiking networks with hidden units learn small images and complete them."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

import sal
from benchmarks.training import Metrics, Training, outcome, train
from sal import RESULTS

SIDE = 3
VISIBLE = SIDE**2
METHODS = ("plain", "tempered")
"""How the sleep phase samples. Both begin with the same weights and draw the same random numbers while awake."""


@dataclasses.dataclass(frozen=True)
class Images:
    """Hidden units learn bars and stripes, and complete them.

    Images of 3 x 3 pixels, so that everything can be enumerated: 14 patterns, all equally likely. A layer of hidden
    units learns by wake-sleep, with images clamped while awake; all chains persist. Asleep, the network samples alone,
    or with copies at higher temperatures, which take it from image to image. Time is in refractory periods.
    """

    hidden: int = 8
    epochs: int = 20
    """Measurements of D_KL."""
    cycles: int = 200
    """Wake and sleep phases per epoch."""
    wake: float = 20.0
    """Duration of a wake phase, of each image."""
    sleep: float = 20.0
    """And of a sleep phase, of each chain."""
    chains: int = 14
    """Networks that sleep side by side."""
    betas: tuple[float, ...] = (1.0, 0.7, 0.45, 0.25)
    """Inverse temperatures of the copies."""
    swaps: int = 4
    """How often they exchange their states per sleep phase."""
    learning_rate: float = 0.5
    """At the beginning; it falls linearly, epoch by epoch, towards zero."""
    steps: int = 10
    """Time steps per refractory period."""
    completion: int = 500
    """Refractory periods in which a part of an image is completed."""


Parameters = dict[str, Float[Array, "..."]]
"""`weight` [hidden, visible] and `bias` of all units."""


def patterns() -> Bool[np.ndarray, "patterns pixels"]:
    """All images in which every row, or every column, has one colour."""
    rows = [np.tile(np.array(bits)[:, None], (1, SIDE)) for bits in np.ndindex(*(2,) * SIDE)]
    return np.unique([image.ravel() for bar in rows for image in (bar, bar.T)], axis=0).astype(bool)


def build(parameters: Parameters) -> sal.Network:
    """Images below, hidden units above."""
    weight = parameters["weight"]
    return sal.Network(sal.Layered([weight], [weight]), parameters["bias"], 1.0)


def model(parameters: Parameters) -> sal.Boltzmann:
    """What the network samples from."""
    weight = parameters["weight"]
    units = VISIBLE + weight.shape[0]
    full = jnp.zeros((units, units)).at[VISIBLE:, :VISIBLE].set(weight).at[:VISIBLE, VISIBLE:].set(weight.T)
    return sal.Boltzmann(full, parameters["bias"])


def held(images: Bool[Array, "images pixels"], hidden: int, known: int = VISIBLE) -> sal.Clamp:
    """The first `known` pixels of each image."""
    neurons = jnp.broadcast_to(jnp.arange(VISIBLE + hidden) < known, (len(images), VISIBLE + hidden))
    return sal.Clamp(neurons, jnp.pad(images, ((0, 0), (0, hidden))) & neurons)


def parts(moments: sal.Moments) -> Parameters:
    """Moments where there are parameters."""
    return {"weight": moments.weight[VISIBLE:, :VISIBLE], "bias": moments.bias}


class State(eqx.Module):
    """What changes, per method: parameters, chains awake [images], asleep [chains] (and copies)."""

    parameters: dict[str, Parameters]
    awake: dict[str, sal.State]
    asleep: dict[str, sal.State]
    key: PRNGKeyArray
    result: RESULTS


class ImagesTraining(Training):
    """The problem of a configuration; an epoch is `cycles` of wake and sleep."""

    epochs: int
    steps_per_epoch: int
    config: Images

    def __init__(self, config: Images):
        self.config, self.epochs, self.steps_per_epoch = config, config.epochs, config.cycles

    def init(self, key: PRNGKeyArray) -> State:
        config, (weight_key, key) = self.config, jax.random.split(key)
        weight = 0.1 * jax.random.normal(weight_key, (config.hidden, VISIBLE))
        start = {"weight": weight, "bias": jnp.zeros(VISIBLE + config.hidden)}
        silent = build(start).init(1 / config.steps)

        def many(*shape: int) -> sal.State:
            return jax.tree.map(lambda x: jnp.broadcast_to(x, (*shape, *x.shape)), silent)

        copies = {"plain": (), "tempered": (len(config.betas),)}
        asleep = {name: many(config.chains, *copies[name]) for name in METHODS}
        awake = {name: many(len(patterns())) for name in METHODS}
        return State(dict.fromkeys(METHODS, start), awake, asleep, key, RESULTS.successful)

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        rate = self.config.learning_rate * (1 - number / self.config.epochs)
        state, _ = jax.lax.scan(lambda state, _: (self._cycle(state, rate), None), state, length=self.config.cycles)
        data = jnp.zeros(2**VISIBLE).at[sal.state_index(jnp.asarray(patterns()))].set(1 / len(patterns()))
        metrics = {}
        for name in METHODS:
            visible = sal.marginal(model(state.parameters[name]).probabilities(), VISIBLE)
            metrics[f"kl_{name}"] = sal.kl_divergence(data, visible)
            metrics[f"mass_{name}"] = jnp.sum(jnp.where(data > 0, visible, 0))
        return state, metrics

    def _cycle(self, state: State, rate: Float[Array, ""]) -> State:
        key, wake_key, sleep_key = jax.random.split(state.key, 3)
        parameters, awake, asleep, result = {}, {}, {}, state.result
        for name, sleep in zip(METHODS, (self._plain, self._tempered), strict=True):
            network = build(state.parameters[name])
            wake, awake[name], first = sal.wake_moments(
                network,
                self.config.wake,
                clamp=held(jnp.asarray(patterns()), self.config.hidden),
                dt=1 / self.config.steps,
                key=wake_key,
                states=state.awake[name],
                throw=False,
            )
            dream, asleep[name], results = jax.vmap(lambda s, k, network=network, sleep=sleep: sleep(network, s, k))(
                state.asleep[name], jax.random.split(sleep_key, self.config.chains)
            )
            rule = sal.wake_sleep(rate)
            moments = {"wake": parts(wake), "sleep": parts(jax.tree.map(lambda x: jnp.mean(x, axis=0), dream))}
            zeros = jax.tree.map(jnp.zeros_like, state.parameters[name])
            updates, _ = rule.update(zeros, rule.init(zeros), **moments)
            parameters[name] = jax.tree.map(jnp.add, state.parameters[name], updates)
            result = outcome(outcome(result, results), first)
        return State(parameters, awake, asleep, key, result)

    def _plain(self, network: sal.Network, state: sal.State, key: PRNGKeyArray):
        return sal.measure_moments(
            network, self.config.sleep, dt=1 / self.config.steps, key=key, state=state, throw=False
        )

    def _tempered(self, network: sal.Network, states: sal.State, key: PRNGKeyArray):
        config, swaps = self.config, self.config.swaps

        def add(total: sal.Moments, solution: sal.Solution) -> sal.Moments:
            new = sal.state_moments(solution.observed)
            return jax.tree.map(lambda total, x: total + x / swaps, total, new)

        units = network.neurons
        moments, states, result, _ = sal.accumulate_tempered(
            add,
            sal.Moments(jnp.zeros((units, units)), jnp.zeros(units)),
            network,
            config.sleep / swaps,
            betas=jnp.array(config.betas),
            chunks=swaps,
            dt=1 / config.steps,
            key=key,
            states=states,
            observe=sal.refractory_states,
            throw=False,
        )
        return moments, states, result

    def finish(self, state: State) -> tuple[Metrics, Parameters, RESULTS]:
        """Completes the last row of every image whose other rows are alike and of two colours: it must be the same."""
        parameters = state.parameters["tempered"]
        images, found = completed(self.config, parameters, jax.random.fold_in(state.key, 0))
        expected = jax.vmap(lambda image: conditional(parameters, image))(images)
        missing = slice(VISIBLE - SIDE, VISIBLE)
        right = (found[:, missing] > 0.5) == images[:, missing]
        metrics = {
            "completed": jnp.mean(jnp.all(right, axis=1)),
            "completion_error": jnp.mean(jnp.abs(found[:, missing] - expected[:, missing])),
        }
        return metrics, parameters, state.result


def completed(
    config: Images, parameters: Parameters, key: PRNGKeyArray
) -> tuple[Bool[Array, "images pixels"], Float[Array, "images pixels"]]:
    """Images whose last row follows from the others, and the activities of all pixels with these rows clamped."""
    rows = patterns().reshape(-1, SIDE, SIDE)
    told = np.all(rows[:, 0] == rows[:, 1], axis=1) & (rows[:, 0].min(axis=1) != rows[:, 0].max(axis=1))
    images = jnp.asarray(patterns()[told])
    clamps = held(images, config.hidden, VISIBLE - SIDE)

    def one(clamp: sal.Clamp, key: PRNGKeyArray) -> Float[Array, " pixels"]:
        network, dt = build(parameters), 1 / config.steps
        _, state, _ = sal.measure_activities(network, 50.0, dt=dt, key=key, clamp=clamp, throw=False)
        activities, _, _ = sal.measure_activities(
            network, float(config.completion), dt=dt, key=key, state=state, clamp=clamp, throw=False
        )
        return activities[:VISIBLE]

    return images, jax.vmap(one)(clamps, jax.random.split(key, len(images)))


def conditional(parameters: Parameters, image: Bool[Array, " pixels"]) -> Float[Array, " pixels"]:
    """Mean pixels of the model where the first two rows are those of `image`, by enumeration."""
    p = sal.marginal(model(parameters).probabilities(), VISIBLE)
    states = sal.all_states(VISIBLE)
    known = VISIBLE - SIDE
    p = jnp.where(jnp.all(states[:, :known] == image[None, :known], axis=1), p, 0)
    return p @ states / jnp.sum(p)


def images(config: Images, key: PRNGKeyArray) -> tuple[Metrics, Parameters, RESULTS]:
    """Train one network per method."""
    return train(ImagesTraining(config), key)
