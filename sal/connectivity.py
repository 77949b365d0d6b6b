"""Who is connected to whom. `W_ij` leads from neuron j to neuron i."""

import abc
import itertools
from collections.abc import Callable, Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

Start = int | Int[Array, ""]
Fire = Callable[[Start, Float[Array, " block"]], tuple[Float[Array, " block"], Bool[Array, " block"]]]
"""Given the first neuron of a block and what drives the block: its new traces and its spikes."""


class AbstractConnectivity(eqx.Module):
    """The synapses of a network."""

    @property
    @abc.abstractmethod
    def neurons(self) -> int:
        """How many neurons there are."""

    @abc.abstractmethod
    def drive(self, traces: Float[Array, " neurons"]) -> Float[Array, " neurons"]:
        """sum_j W_ij x_j for all neurons i, given the traces x."""

    @abc.abstractmethod
    def sweep(
        self, fire: Fire, traces: Float[Array, " neurons"]
    ) -> tuple[Float[Array, " neurons"], Bool[Array, " neurons"]]:
        """Lets one block of neurons after the other `fire`, each driven by the new traces of those before it.

        Neurons of a block do not see each other. Returns what drove each neuron, and the spikes.
        """


class Dense(AbstractConnectivity):
    """Every neuron may be connected to every other; neurons are swept one by one.

    `mask` is False where there is no synapse.
    """

    weights: Float[Array, "_post _pre"]
    mask: Bool[Array, "_rows _columns"] | None = None

    def __check_init__(self):
        shape = np.shape(self.weights)
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(f"Dense: weights must have the shape [neurons, neurons], got {shape}")
        if self.mask is not None and np.shape(self.mask) != shape:
            raise ValueError(f"Dense: mask must have the shape of the weights, {shape}, got {np.shape(self.mask)}")

    @property
    def neurons(self) -> int:
        return np.shape(self.weights)[0]

    @property
    def effective(self) -> Float[Array, "neurons neurons"]:
        """The weights, zero where there is no synapse."""
        return self.weights if self.mask is None else jnp.where(self.mask, self.weights, 0)

    def drive(self, traces: Array) -> Array:
        return self.effective @ traces

    def sweep(self, fire: Fire, traces: Array) -> tuple[Array, Array]:
        weights = self.effective

        def one(neuron, carry):
            traces, drives, spikes = carry
            drive = jnp.sum(weights[neuron] * traces, keepdims=True)
            trace, spike = fire(neuron, drive)
            return tuple(
                lax.dynamic_update_slice_in_dim(array, new, neuron, 0)
                for array, new in ((traces, trace), (drives, drive), (spikes, spike))
            )

        start = traces, jnp.zeros_like(traces), jnp.zeros(traces.shape, bool)
        _, drives, spikes = lax.fori_loop(0, self.neurons, one, start)
        return drives, spikes


class Layered(AbstractConnectivity):
    """Layers with connections upwards and downwards between neighbours only; the layers are swept from the bottom.

    `forward[l]` has the shape [layer l + 1, layer l], `backward[l]` the shape [layer l, layer l + 1]. Neurons are
    numbered from the bottom layer on.
    """

    forward: tuple[Float[Array, "above below"], ...]
    backward: tuple[Float[Array, "below above"], ...]

    def __init__(self, forward: Sequence[Array], backward: Sequence[Array]):
        self.forward, self.backward = tuple(forward), tuple(backward)

    def __check_init__(self):
        up, down = [np.shape(w) for w in self.forward], [np.shape(w) for w in self.backward]
        if not up or [shape[::-1] for shape in down] != up:
            raise ValueError(
                "Layered: there must be backward weights of the transposed shape for all forward weights, "
                f"got forward {up} and backward {down}"
            )
        for lower, upper in itertools.pairwise(up):
            if upper[1] != lower[0]:
                raise ValueError(f"Layered: forward weights of shape {upper} cannot follow those of shape {lower}")

    @property
    def layers(self) -> tuple[int, ...]:
        """The number of neurons per layer, from the bottom."""
        return (np.shape(self.forward[0])[1], *(np.shape(w)[0] for w in self.forward))

    @property
    def neurons(self) -> int:
        return sum(self.layers)

    def split(self, x: Array) -> tuple[Array, ...]:
        """Values of all neurons, [..., neurons], layer by layer."""
        return tuple(jnp.split(x, np.cumsum(self.layers)[:-1], axis=-1))

    def drive(self, traces: Array) -> Array:
        parts = self.split(traces)
        return jnp.concatenate([self._into(layer, parts) for layer in range(len(parts))])

    def sweep(self, fire: Fire, traces: Array) -> tuple[Array, Array]:
        parts = list(self.split(traces))
        starts = np.cumsum((0, *self.layers))
        drives, spikes = [], []
        for layer in range(len(parts)):
            drive = self._into(layer, parts)
            parts[layer], spike = fire(int(starts[layer]), drive)
            drives.append(drive)
            spikes.append(spike)
        return jnp.concatenate(drives), jnp.concatenate(spikes)

    def _into(self, layer: int, traces: Sequence[Array]) -> Array:
        drives = []
        if layer > 0:
            drives.append(self.forward[layer - 1] @ traces[layer - 1])
        if layer < len(self.forward):
            drives.append(self.backward[layer] @ traces[layer + 1])
        return sum(drives[1:], start=drives[0])
