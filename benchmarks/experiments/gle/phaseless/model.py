"""Feedback weights align with fixed forward weights by noise (Max et al. 2024, Fig. 3)."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

import gle
from benchmarks.training import Metrics, outcome
from gle import RESULTS


@dataclasses.dataclass(frozen=True)
class Phaseless:
    """Feedback weights of a microcircuit align by noise."""

    sizes: tuple[int, ...] = (5, 20, 10, 20, 5)
    bound: float = 1.0
    """All weights are drawn uniformly within +-bound."""
    presentations: int = 200
    replicas: int = 100
    """Inputs side by side, of which one step learns the mean."""
    presentation: float = 1.0
    dt: float = 0.01
    noise: float = 0.05
    noise_time: float = 0.1
    backward_rate: float = 25.0
    """Per step. The paper's rate of 50 per ms is 0.5 per step; a hundred replicas allow a hundred times that, half of
    which, for twice as long, leaves less noise in B."""
    lateral_rate: float = 0.05
    """Per step, that of L^PI."""
    decay: float = 1e-5


def rules(config: Phaseless) -> optax.GradientTransformation:
    """L^PI learns by gradient descent, B by phaseless alignment, nothing else."""
    names = [f"{kind}.{i}" for kind in ("up", "to_inter", "from_inter", "feedback") for i in range(len(config.sizes))]
    transforms: dict[Any, Any] = dict.fromkeys((*names, "fixed"), optax.set_to_zero())
    transforms |= {f"from_inter.{i}": optax.sgd(config.lateral_rate) for i in range(len(config.sizes))}
    return optax.chain(
        optax.partition(transforms, gle.circuit_labels), gle.phaseless(config.backward_rate, config.decay)
    )


def angles(circuit: gle.Microcircuit) -> Float[Array, " layers"]:
    """Between B and W of each pair of layers, in degrees."""

    def angle(forward, backward):
        w, b = forward.weight.ravel(), backward.connection.weight.ravel()
        return jnp.degrees(jnp.arccos(jnp.clip(w @ b / (jnp.linalg.norm(w) * jnp.linalg.norm(b)), -1, 1)))

    return jnp.stack([angle(w, b) for w, b in zip(circuit.up[1:], circuit.feedback, strict=True)])


def gle_phaseless(config: Phaseless, key: PRNGKeyArray) -> tuple[Metrics, gle.Microcircuit, RESULTS, Array]:
    """Angles in the end, layer by layer from the bottom; the record holds them after each presentation."""
    weight_key, noise_key, input_key = jax.random.split(key, 3)
    drawn = gle.Microcircuit.draw(config.sizes, jax.nn.sigmoid, key=weight_key, bound=config.bound)
    circuit = gle.Microcircuit.self_predicting(drawn.up, drawn.feedback, jax.nn.sigmoid, delay=config.dt)
    stepper, optimiser = gle.Exploring(config.noise, config.noise_time, noise_key), rules(config)
    learner = gle.start(circuit, optimiser, stepper=stepper, batch=(config.replicas,))
    dynamic, static = eqx.partition(learner, eqx.is_array)
    steps = round(config.presentation / config.dt)

    def present(dynamic, key):
        input = jax.random.uniform(key, (config.replicas, config.sizes[0]))
        after, _, result = gle.online(
            eqx.combine(dynamic, static),
            jnp.broadcast_to(input, (steps, *input.shape)),
            dt=config.dt,
            optimiser=optimiser,
            stepper=stepper,
            observe=lambda network, signals: None,
            throw=False,
        )
        return eqx.filter(after, eqx.is_array), (angles(after.network), result)

    dynamic, (found, results) = jax.lax.scan(present, dynamic, jax.random.split(input_key, config.presentations))
    metrics = {f"angle_{number + 1}": angle for number, angle in enumerate(found[-1])}
    metrics["largest_angle"] = jnp.max(found[-1])
    return metrics, eqx.combine(dynamic, static).network, outcome(results), found
