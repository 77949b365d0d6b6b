"""Bars of three directions, by the microcircuit with and without prospective coding (Haider et al. 2021, Fig. 5)."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

import gle
from benchmarks.training import Metrics, outcome
from gle import RESULTS

LABELS = (0, 0, 0, 1, 1, 1, 2, 2)


@dataclasses.dataclass(frozen=True)
class Bars:
    """Bars of three directions, by the dendritic microcircuit."""

    presentations: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 50.0)
    """How long an image is shown, in ms; the membranes have 5.26 ms."""
    epochs: int = 1000
    blocks: int = 20
    """How often the circuit is tested."""
    hidden: int = 30
    dt: float = 0.1
    """Also how long potentials take to the neighbours."""
    lower_rate: float = 0.5
    """Rates are per ms."""
    upper_rate: float = 0.1
    interneuron_rate: float = 0.2


def patterns() -> Float[Array, "8 9"]:
    """Three horizontal, three vertical and two diagonal bars in 3 x 3 images."""
    one = np.eye(3)
    rows = [np.outer(one[i], np.ones(3)) for i in range(3)]
    images = [*rows, *(row.T for row in rows), one, one[::-1]]
    return jnp.asarray(np.stack(images).reshape(8, 9), float)


def clipped(lower: float, upper: float) -> optax.GradientTransformation:
    """Keeps the weights of hidden neurons within +-lower, those of the others within +-upper."""

    def transform(updates: Any, params: Any) -> Any:
        def keep(update, weight, label):
            bound = lower if label == "up.0" else upper
            return jnp.clip(weight + update, -bound, bound) - weight

        return jax.tree.map(keep, updates, params, gle.circuit_labels(params))

    return optax.stateless(transform)


def rules(config: Bars) -> optax.GradientTransformation:
    """Rates of W and L^IP; B and L^PI are fixed."""
    rates = {"up.0": config.lower_rate, "up.1": config.upper_rate, "to_inter.0": config.interneuron_rate}
    transforms: dict[Any, Any] = {name: optax.sgd(rate * config.dt) for name, rate in rates.items()}
    transforms |= dict.fromkeys(("from_inter.0", "feedback.0", "fixed"), optax.set_to_zero())
    return optax.chain(optax.partition(transforms, gle.circuit_labels), clipped(4.0, 5.0))


def circuit(config: Bars, prospective: bool, key: PRNGKeyArray) -> gle.Microcircuit:
    """9-30-3, W and B uniform within +-1, predicting itself."""
    drawn = gle.Microcircuit.draw((9, config.hidden, 3), jax.nn.softplus, key=key)
    return gle.Microcircuit.self_predicting(
        drawn.up, drawn.feedback, jax.nn.softplus, delay=config.dt, prospective=prospective
    )


def learn(config: Bars, presentation: float, prospective: bool, key: PRNGKeyArray):
    """(circuit, accuracy after each block, result): every image once per epoch, in random order, without a pause."""
    steps, optimiser = round(presentation / config.dt), rules(config)
    images, labels = patterns(), jnp.asarray(LABELS)
    targets = jnp.where(jax.nn.one_hot(labels, 3) > 0, 1.0, 0.1)
    learner = gle.start(circuit(config, prospective, key), optimiser)
    dynamic, static = eqx.partition(learner, eqx.is_array)

    def epoch(carry, key):
        dynamic, last = carry
        order = jax.random.permutation(key, len(LABELS))
        shown, wanted = (jnp.repeat(x[order], steps, axis=0) for x in (images, targets))
        # Hidden potentials take one step to the outputs, and so do the targets: else outputs learn new targets from
        # the image before.
        streams = shown, jnp.concatenate([last[None], wanted[:-1]])
        learner = eqx.combine(dynamic, static)
        nothing = lambda network, signals: None  # noqa: E731
        after, _, result = gle.online(
            learner, *streams, dt=config.dt, optimiser=optimiser, observe=nothing, throw=False
        )
        return (eqx.filter(after, eqx.is_array), wanted[-1]), result

    def block(carry, key):
        carry, results = jax.lax.scan(epoch, carry, jax.random.split(key, config.epochs // config.blocks))
        _, outputs, _ = gle.online(
            eqx.combine(carry[0], static), jnp.repeat(images, steps, axis=0), dt=config.dt, throw=False
        )
        shown = outputs.reshape(len(LABELS), steps, 3)
        # Neurons that lag have the first half of the presentation to settle.
        mean = jnp.mean(shown[:, 0 if prospective else steps // 2 :], axis=1)
        accuracy = jnp.mean((jnp.argmax(mean, axis=-1) == labels).astype(float))
        return carry, (accuracy, results)

    keys = jax.random.split(jax.random.fold_in(key, 1), config.blocks)
    (dynamic, _), (accuracy, results) = jax.lax.scan(block, (dynamic, targets[0]), keys)
    return eqx.combine(dynamic, static).network, accuracy, outcome(results)


class Record(eqx.Module):
    """Accuracy [presentations, blocks], with prospective coding and without."""

    prospective: Float[Array, "presentations blocks"]
    lagging: Float[Array, "presentations blocks"]


def gle_bars(config: Bars, key: PRNGKeyArray) -> tuple[Metrics, gle.Microcircuit, RESULTS, Record]:
    """Accuracy in the end for each presentation time; the lowest with prospective coding."""
    curves, metrics, network, results = {}, {}, None, []
    for prospective in (True, False):
        name = "prospective" if prospective else "lagging"
        found = []
        for presentation in config.presentations:
            network, accuracy, result = learn(config, presentation, prospective, key)
            metrics[f"{name}_accuracy_{presentation:g}"] = accuracy[-1]
            found.append(accuracy)
            results.append(result)
        curves[name] = jnp.stack(found)
    metrics["prospective_accuracy"] = jnp.min(curves["prospective"][:, -1])
    result = results[0]
    for other in results[1:]:
        result = RESULTS.where(result == RESULTS.successful, other, result)
    assert network is not None
    return metrics, network, result, Record(**curves)
