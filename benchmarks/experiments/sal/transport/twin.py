"""A twin of rate neurons: phaseless alignment learning of `gle` behind the seam of `sal`."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

import gle
import sal

DT, STREAMS = 0.01, 100
NOISE, NOISE_TIME = 0.05, 0.1
RATE, LATERAL, DECAY = 25.0, 0.05, 1e-5
"""As in `gle-phaseless`."""


class PhaselessTwin(sal.AbstractTwin):
    """A dendritic microcircuit with the weights of the layers, whose B learn by noise (`gle.phaseless`).

    Random inputs are shown for one unit of time each. Below the bottom layer stands one more, which drives it.
    """

    presentations: int = eqx.field(static=True)

    def learn(
        self,
        forward: Sequence[Float[Array, "_neurons _sources"]],
        biases: Sequence[Float[Array, " _neurons"]],
        backward: Sequence[Float[Array, "_neurons _sources"]],
        key: PRNGKeyArray,
    ) -> list[Float[Array, "_neurons _sources"]]:
        del biases
        inputs = forward[0].shape[1]
        noise_key, input_key = jax.random.split(key)
        up = [gle.Dense(2 * jnp.eye(inputs), None), *(gle.Dense(weight, None) for weight in forward)]
        back = [gle.FeedbackAlignment(gle.Dense(weight, None)) for weight in backward]
        circuit = gle.Microcircuit.self_predicting(up, back, jax.nn.sigmoid, delay=DT)
        stepper, optimiser = gle.Exploring(NOISE, NOISE_TIME, noise_key), self._rules(len(up))
        learner = gle.start(circuit, optimiser, stepper=stepper, batch=(STREAMS,))
        dynamic, static = eqx.partition(learner, eqx.is_array)

        def present(dynamic, key):
            shown = jax.random.uniform(key, (STREAMS, inputs), minval=-1.0)
            after, _, _ = gle.online(
                eqx.combine(dynamic, static),
                jnp.broadcast_to(shown, (round(1 / DT), *shown.shape)),
                dt=DT,
                optimiser=optimiser,
                stepper=stepper,
                observe=lambda network, signals: None,
                throw=False,
            )
            return eqx.filter(after, eqx.is_array), None

        dynamic, _ = jax.lax.scan(present, dynamic, jax.random.split(input_key, self.presentations))
        return [layer.connection.weight for layer in eqx.combine(dynamic, static).network.feedback]

    def _rules(self, layers: int) -> Any:
        """B by phaseless alignment, L^PI by gradient descent, nothing else."""
        names = [f"{kind}.{i}" for kind in ("up", "to_inter", "from_inter", "feedback") for i in range(layers)]
        rules: dict[Any, Any] = dict.fromkeys((*names, "fixed"), optax.set_to_zero())
        rules |= {f"from_inter.{i}": optax.sgd(LATERAL) for i in range(layers)}
        return optax.chain(optax.partition(rules, gle.circuit_labels), gle.phaseless(RATE, DECAY))
