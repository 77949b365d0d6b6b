"""Layers: neurons with the synapses onto them, and what makes layers fit together."""

import itertools
from collections.abc import Callable, Sequence

import equinox as eqx
from jaxtyping import Array, ArrayLike, Float

from gle.activations import as_activation
from gle.connections import AbstractConnection
from gle.feedback import AbstractFeedback, Transpose
from gle.gates import AbstractGate, Derivative
from gle.neurons import AbstractNeurons, per_neuron, smallest


class Layer(AbstractNeurons):
    """Neurons and the synapses onto them.

    tau_m, tau_r: membrane and prospective time constants of each neuron, from one number or an array [neurons].
    activation: the rate function phi, a function or a module; `jax.nn.softmax` in an output layer with a
        `CrossEntropy`. The arrays of a module are parameters that learn, like weights. phi may mix the neurons.
    feedback: how errors reach the layer below.
    gate: how the potentials of this layer gate the errors that arrive from above, by default phi'.
    plastic: whether the layer learns. Errors pass no further down than to the lowest plastic layer.
    """

    connection: AbstractConnection
    tau_m: Float[Array, " neurons"]
    tau_r: Float[Array, " neurons"]
    feedback: AbstractFeedback
    activation: Callable[[Array], Array]
    gate: AbstractGate
    plastic: bool = eqx.field(static=True)

    def __init__(
        self,
        connection: AbstractConnection,
        tau_m: ArrayLike | Sequence[float | int],
        tau_r: ArrayLike | Sequence[float | int],
        activation: Callable[[Array], Array],
        *,
        feedback: AbstractFeedback | None = None,
        gate: AbstractGate = Derivative(),
        plastic: bool = True,
    ):
        if not isinstance(connection, AbstractConnection) or connection.neurons < 1:
            raise ValueError(
                f"connection must lead to at least one neuron, such as gle.Dense.init(3, 2), but is {connection}."
            )
        self.connection = connection
        self.tau_m = per_neuron("tau_m", tau_m, connection.neurons)
        self.tau_r = per_neuron("tau_r", tau_r, connection.neurons)
        self.activation = as_activation(activation, connection.neurons)
        self.feedback = Transpose() if feedback is None else feedback
        self.feedback.check(connection)
        self.gate = gate
        self.plastic = plastic


def check_layers(layers: tuple[Layer, ...]) -> None:
    """Refuses layers that no network can be made of."""
    if not layers or not all(isinstance(layer, Layer) for layer in layers):
        raise ValueError(f"layers must be at least one gle.Layer, but are {layers}.")
    for number, (lower, upper) in enumerate(itertools.pairwise(layers)):
        if lower.connection.neurons != upper.connection.sources:
            raise ValueError(
                f"layer {number} has {lower.connection.neurons} neurons, but layer {number + 1} has "
                f"{upper.connection.sources} sources."
            )
    passed = False
    for number, layer in enumerate(layers):
        passed = passed or layer.plastic
        tau_m, tau_r = (smallest(tau) for tau in (layer.tau_m, layer.tau_r))
        if not tau_m > 0:
            raise ValueError(f"tau_m of layer {number} must be positive, but is {tau_m} at least once.")
        if not (tau_r > 0 or (tau_r == 0 and not passed)):
            raise ValueError(
                f"tau_r of layer {number} is {tau_r} at least once, but errors pass through this layer: it must be "
                "positive there. (tau_r = 0 is for layers that do not learn, below all that do.)"
            )
