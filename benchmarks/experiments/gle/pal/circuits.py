"""Microcircuits that differ in their feedback weights B alone, and how they learn."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

import gle
import sal
from benchmarks.experiments.gle.five_ways import feedback, nothing
from gle import RESULTS

DT = 0.1
"""Also how long potentials take to the neighbours."""
NOISE, NOISE_TIME = 0.05, 0.2
"""Of the apical dendrites; the high-pass of the rates has the same time constant."""


@dataclasses.dataclass(frozen=True)
class Rates:
    """How the circuits learn. Rates are per ms."""

    epochs: int = 60
    batch_size: int = 20
    presentation: float = 1.0
    """How long an image is shown, in ms. Each batch starts at rest: the noise in the rates is a thousandth of what an
    image changes in them, and B would have to average these jumps away."""
    lower_rate: float = 500.0
    upper_rate: float = 0.5
    to_inter_rate: float = 1.0
    from_inter_rate: float = 5.0
    kp_decay: float = 2e-3
    """Of W and B at the top, by Kolen and Pollack, per step and learning rate."""
    pal_steps: float = 1000.0
    """How many steps B remembers: 1 / (rate decay) of phaseless alignment."""
    pal_decay: float = 1e-6
    sal_rate: float = 0.3
    sal_duration: float = 1000.0
    """Of the spiking twin, in ms per epoch and replica, of 32."""


def circuit(
    method: str, up: Sequence[Float[Array, "_neurons _sources"]], back: Sequence[Float[Array, "_neurons _sources"]]
) -> gle.Microcircuit:
    """Logistic cells with these W and B that predict themselves."""
    forward = [gle.Dense(weight, None) for weight in up]
    backward = [feedback(method, gle.Dense(weight, None)) for weight in back]
    return gle.Microcircuit.self_predicting(forward, backward, jax.nn.sigmoid, delay=DT)


def rules(method: str, config: Rates) -> optax.GradientTransformation:
    """Of a circuit with one hidden layer: W takes one step per batch, by the mean gradient, all others one per dt.

    Were W to change while B learns from a thousandth of a rate, that would drown it.
    """
    upper = optax.sgd(config.upper_rate * config.presentation)
    if method == "kp":
        upper = optax.chain(optax.add_decayed_weights(config.kp_decay), upper)
    lower = optax.sgd(config.lower_rate * config.presentation)
    lower, upper = (optax.MultiSteps(x, steps_of(config)).gradient_transformation() for x in (lower, upper))
    transforms: dict[Any, Any] = {
        "up.0": lower,
        "up.1": upper,
        "to_inter.0": optax.sgd(config.to_inter_rate * DT),
        "from_inter.0": optax.sgd(config.from_inter_rate * DT),
        "feedback.0": upper if method == "kp" else optax.set_to_zero(),
        "fixed": optax.set_to_zero(),
    }
    rule = optax.partition(transforms, gle.circuit_labels)
    if method != "pal":
        return rule
    return optax.chain(rule, gle.phaseless(1 / (config.pal_steps * config.pal_decay), config.pal_decay))


def steps_of(config: Rates) -> int:
    """Of a presentation."""
    return round(config.presentation / DT)


def begin(network: gle.Microcircuit, method: str, config: Rates) -> gle.Learner:
    """Before the first batch."""
    stepper = gle.Exploring(NOISE, NOISE_TIME, jax.random.key(0))
    return gle.start(network, rules(method, config), stepper=stepper, batch=(config.batch_size,))


def teach(
    learner: gle.Learner,
    rule: optax.GradientTransformation,
    config: Rates,
    inputs: Float[Array, "batch sources"],
    targets: Float[Array, "batch outputs"],
    key: PRNGKeyArray,
) -> tuple[gle.Learner, RESULTS]:
    """The learner after it has seen a batch, with noise, and learned at every step."""
    stepper = gle.Exploring(NOISE, NOISE_TIME, key)
    learner = gle.settle(learner, inputs, targets, stepper=stepper, throw=False)
    stream, target = (jnp.broadcast_to(x, (steps_of(config), *x.shape)) for x in (inputs, targets))
    learner, _, result = gle.online(
        learner, stream, target, dt=DT, optimiser=rule, stepper=stepper, observe=nothing, throw=False
    )
    return learner, result


def dream(learner: gle.Learner, config: Rates, key: PRNGKeyArray) -> gle.Learner:
    """The learner with the B that a spiking twin of the hidden and top layers has learned, and L^PI = -B^T."""
    twin = sal.SALNet(config.sal_rate, updates=1, duration=config.sal_duration)
    network = learner.network
    weight, b = network.up[1].weight, network.feedback[0].connection.weight
    (b,) = twin.learn([weight], [jnp.zeros(len(weight))], [b], key)
    places = lambda c: (c.feedback[0].connection.weight, c.from_inter[0].weight)  # noqa: E731
    return learner._replace(network=eqx.tree_at(places, network, (b, -b.T)))


def angle(network: gle.Microcircuit) -> Float[Array, ""]:
    """Between B and W at the top, in degrees."""
    back: Any = network.feedback[0]
    weight = network.up[1].weight
    return sal.angle(weight, weight if isinstance(back, gle.Transpose) else back.connection.weight)
