"""Connections and feed-forward networks."""

from collections.abc import Callable, Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from eventprop.neurons.base import AbstractNeuron
from eventprop.parameters import numeric, whole


class Dense(eqx.Module):
    """All-to-all synapses: a spike of source i adds weight[j, i] to the current of neuron j.

    Rows are postsynaptic as in the paper's Table 1, whose columns of W are presynaptic; its w_ij elsewhere is i -> j.

    Lists and whole numbers become floats. Raises ValueError for other shapes, and for precisions other than float32 and
    float64.
    """

    weight: Float[Array, "neurons sources"] = eqx.field(converter=numeric("weight"))

    def __check_init__(self):
        shape = () if isinstance(self.weight, float) else getattr(self.weight, "shape", None)
        if shape is not None and len(shape) != 2:
            raise ValueError(f"weight must be [neurons, sources], but has shape {shape}.")

    @classmethod
    def init(
        cls,
        sources: int,
        neurons: int,
        initialiser: Callable[[PRNGKeyArray, tuple[int, ...], Any], Array],
        *,
        key: PRNGKeyArray,
        dtype: Any = None,
    ) -> "Dense":
        """Synapses with weights drawn by `initialiser`, e.g. `Dense.init(5, 200, Normal(1.5, 0.78), key=key)`.

        It is asked for the shape (sources, neurons), as those of `jax.nn.initializers` expect, and what it draws is
        transposed.
        """
        sources, neurons = whole("sources", sources, least=1), whole("neurons", neurons, least=1)
        dtype = jax.dtypes.canonicalize_dtype(float) if dtype is None else dtype
        return cls(initialiser(key, (sources, neurons), dtype).T)

    @property
    def sources(self) -> int:
        """Number of presynaptic neurons."""
        return self.weight.shape[1]

    @property
    def neurons(self) -> int:
        """Number of postsynaptic neurons."""
        return self.weight.shape[0]


class FeedForward(eqx.Module):
    """Layers of neurons, each driven by the spikes of the one before.

        FeedForward([(Dense.init(5, 200, ...), LIF(...)), (Dense.init(200, 3, ...), LIF(...))])

    Only the last layer may be without spikes (`LI`). Raises ValueError where layers do not fit together.
    """

    layers: tuple[tuple[Dense, AbstractNeuron], ...]

    def __init__(self, layers: Iterable[tuple[Dense, AbstractNeuron]]):
        self.layers = tuple(_layer(number, layer) for number, layer in enumerate(layers))
        if not self.layers:
            raise ValueError("a network needs at least one layer (connection, neuron).")
        for number, (connection, neuron) in enumerate(self.layers):
            if 0 in connection.weight.shape:
                raise ValueError(
                    f"the weight of layer {number} has the shape {connection.weight.shape}, [neurons, sources]: it "
                    "needs at least one of each (a source may be silent)."
                )
            for parameter in jax.tree.leaves(neuron):
                if jnp.ndim(parameter) == 1 and jnp.shape(parameter)[0] != connection.neurons:
                    raise ValueError(
                        f"layer {number} has {connection.neurons} neurons, but a parameter of its "
                        f"{type(neuron).__name__} has {jnp.shape(parameter)[0]} values."
                    )
        for number, ((lower, neuron), (upper, _)) in enumerate(zip(self.layers, self.layers[1:], strict=False)):
            if not neuron.events:
                raise ValueError(
                    f"layer {number} ({type(neuron).__name__}) does not spike, so layer {number + 1} is silent."
                )
            if lower.neurons != upper.sources:
                raise ValueError(
                    f"layer {number} has {lower.neurons} neurons, but layer {number + 1} has {upper.sources} sources."
                )


def _layer(number: int, layer: Any) -> tuple[Dense, AbstractNeuron]:
    pair = tuple(layer) if isinstance(layer, list | tuple) else (layer,)
    if len(pair) != 2 or not isinstance(pair[0], Dense) or not isinstance(pair[1], AbstractNeuron):
        raise ValueError(f"layer {number} must be a pair (Dense, neuron), but is {layer!r}.")
    return pair[0], pair[1]
