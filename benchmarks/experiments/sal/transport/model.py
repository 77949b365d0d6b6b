"""Seven ways for errors to get back, on one network and one axis: the angle between W and B over time."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

import sal
from benchmarks.experiments.sal.transport.twin import PhaselessTwin
from benchmarks.training import Metrics, Training, train
from sal import RESULTS

METHODS = ("bp", "fa", "scfa", "kp", "pal", "sal", "rdd")
KINDS = {"bp": sal.Transpose, "scfa": sal.SignConcordant, "kp": sal.KolenPollack}
"""All others keep B in `sal.Fixed`, where feedback alignment leaves it and a twin writes what it has learned."""


@dataclasses.dataclass(frozen=True)
class Transport:
    """Seven ways to transport weights, on one network.

    A network of tanh units learns to mimic one like it. Before each epoch PAL, in a rate circuit, SAL and RDD, in
    spiking networks, look for the backward weights. All start from the same W and, but for bp, the same B.
    """

    sizes: tuple[int, ...] = (16, 16, 12, 8)
    epochs: int = 60
    batches: int = 100
    """Per epoch."""
    batch_size: int = 32
    learning_rate: float = 0.05
    decay: float = 5e-3
    """lambda of Kolen and Pollack's weight decay."""
    scale: float = 2.0
    """Weights are drawn from U(-s, s), s = scale / sqrt(inputs)."""
    sal_rate: float = 0.3
    sal_duration: float = 1000.0
    """Per epoch and replica, of 32, in ms."""
    rdd_duration: float = 40_000.0
    """Per epoch and layer, in ms of all replicas."""
    pal_presentations: int = 10
    """Inputs per epoch, of a hundred streams, each shown for one unit of time."""


class Model(eqx.Module):
    """Dense layers with tanh between them."""

    layers: list

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        *below, top = self.layers
        for layer in below:
            x = jnp.tanh(layer(x))
        return top(x)


class State(eqx.Module):
    """What changes."""

    models: dict[str, Model]
    teacher: Model
    key: PRNGKeyArray


class TransportTraining(Training):
    """The problem of a configuration."""

    epochs: int
    steps_per_epoch: int
    config: Transport

    def __init__(self, config: Transport):
        self.config, self.epochs, self.steps_per_epoch = config, config.epochs, config.batches

    def init(self, key: PRNGKeyArray) -> State:
        student, teacher, back, key = jax.random.split(key, 4)
        plain = self._draw(student)
        models = {name: sal.with_feedback(plain, KINDS.get(name, sal.Fixed), key=back) for name in METHODS}
        return State(models, self._draw(teacher), key)

    def _draw(self, key: PRNGKeyArray) -> Model:
        sizes = self.config.sizes
        keys = jax.random.split(key, len(sizes) - 1)
        layers = [eqx.nn.Linear(n, m, key=k) for n, m, k in zip(sizes, sizes[1:], keys, strict=False)]
        return Model([eqx.tree_at(lambda x: x.weight, layer, self.config.scale * layer.weight) for layer in layers])

    def twins(self) -> dict[str, sal.AbstractTwin]:
        """What looks for B: rate neurons of `gle`, or spiking neurons."""
        config = self.config
        return {
            "pal": PhaselessTwin(config.pal_presentations),
            "sal": sal.SALNet(config.sal_rate, updates=1, duration=config.sal_duration),
            "rdd": sal.RDDNet(duration=config.rdd_duration),
        }

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        twin_key, data_key = jax.random.split(jax.random.fold_in(state.key, number))
        shape = (self.config.batches, self.config.batch_size, self.config.sizes[0])
        inputs = jax.random.normal(data_key, shape)
        targets = jax.vmap(jax.vmap(state.teacher))(inputs)
        twins, models, metrics = self.twins(), {}, {}
        for name, model in state.models.items():
            if name in twins:
                model = sal.symmetrize(model, twins[name], key=twin_key)
            models[name], losses = self._descend(model, inputs, targets, self.config.decay if name == "kp" else 0.0)
            # The lowest B carries no error.
            angles = [layer.angle for layer in models[name].layers[1:]]
            metrics |= {f"angle_{name}": sum(angles) / len(angles), f"loss_{name}": jnp.mean(losses)}
        return State(models, state.teacher, state.key), metrics

    def _descend(self, model: Model, inputs: Array, targets: Array, decay: float | Array) -> tuple[Model, Array]:
        rule = optax.chain(optax.add_decayed_weights(decay), optax.sgd(self.config.learning_rate))
        parts: Any = eqx.partition(model, sal.plastic_leaves(model))
        parameters, rest = parts

        def loss(parameters, x, y):
            return jnp.mean(jnp.sum((jax.vmap(eqx.combine(parameters, rest))(x) - y) ** 2, axis=-1))

        def step(carry, batch):
            parameters, memory = carry
            value, slopes = jax.value_and_grad(loss)(parameters, *batch)
            updates, memory = rule.update(slopes, memory, parameters)
            return (optax.apply_updates(parameters, updates), memory), value

        (parameters, _), losses = jax.lax.scan(step, (parameters, rule.init(parameters)), (inputs, targets))
        return eqx.combine(parameters, rest), losses

    def finish(self, state: State) -> tuple[Metrics, dict[str, Model], RESULTS]:
        return {}, state.models, RESULTS.successful


def transport(config: Transport, key: PRNGKeyArray) -> tuple[Metrics, dict[str, Model], RESULTS]:
    """Train one network per method."""
    return train(TransportTraining(config), key)
