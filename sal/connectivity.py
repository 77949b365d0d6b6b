"""Who is connected to whom. `W_ij` leads from neuron j to neuron i."""

import abc
import itertools
from collections.abc import Callable, Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from sal._numbers import as_float
from sal.spikes import Raster

Start = int | Int[Array, ""]
Fire = Callable[[Start, Float[Array, " block"]], tuple[Float[Array, " block"], Bool[Array, " block"]]]
"""Given the first neuron of a block and what drives the block: its new traces and its spikes."""


class AbstractSynapses(eqx.Module):
    """The synapses of a network in the form in which a simulation reads them, step by step."""

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


class AbstractConnectivity(eqx.Module):
    """The weights of a network."""

    @property
    @abc.abstractmethod
    def neurons(self) -> int:
        """How many neurons there are."""

    @property
    @abc.abstractmethod
    def sources(self) -> int:
        """How many neurons synapses come from: all of them."""

    @abc.abstractmethod
    def signals(self, spikes: Raster) -> tuple["AbstractConnectivity", "AbstractConnectivity"]:
        """`self` with the spikes of its sources, and of its neurons, at each weight, and None elsewhere."""

    @abc.abstractmethod
    def synapses(self) -> AbstractSynapses:
        """What a simulation reads: masks and transpositions are done once, before its first step."""


class Recurrent(AbstractConnectivity):
    """Every neuron may be connected to every other; neurons are swept one by one.

    `weight` has the shape [neurons, neurons] = [post, pre]. `mask` is False where there is no synapse; without one
    there are all but those of neurons onto themselves, so that the diagonal of `weight` has no effect.
    """

    weight: Float[Array, "_post _pre"] = eqx.field(converter=lambda x: as_float("Recurrent: weight", x))
    mask: Bool[Array, "_rows _columns"] | None = eqx.field(
        default=None, converter=lambda x: None if x is None else jnp.asarray(x)
    )

    def __check_init__(self):
        shape = np.shape(self.weight)
        if len(shape) != 2 or shape[0] != shape[1] or 0 in shape:
            raise ValueError(f"Recurrent: weight must have the shape [neurons, neurons], of some neurons, got {shape}")
        if self.mask is not None and (self.mask.shape != shape or self.mask.dtype != bool):
            raise ValueError(
                f"Recurrent: mask must be bools in the shape of the weight, {shape}, got {self.mask.dtype} in "
                f"the shape {self.mask.shape}"
            )

    @property
    def neurons(self) -> int:
        return np.shape(self.weight)[0]

    @property
    def sources(self) -> int:
        return self.neurons

    @property
    def effective(self) -> Float[Array, "neurons neurons"]:
        """The weights, zero where there is no synapse."""
        return jnp.where(~np.eye(self.neurons, dtype=bool) if self.mask is None else self.mask, self.weight, 0)

    def signals(self, spikes: Raster) -> tuple["AbstractConnectivity", "AbstractConnectivity"]:
        both = eqx.tree_at(lambda c: (c.weight, c.mask), self, (spikes, None), is_leaf=lambda x: x is None)
        return both, both

    def synapses(self) -> "RecurrentSynapses":
        return RecurrentSynapses(self.effective)


class RecurrentSynapses(AbstractSynapses):
    """Those of `Recurrent`."""

    weight: Float[Array, "neurons neurons"]

    def drive(self, traces: Array) -> Array:
        return self.weight @ traces

    def sweep(self, fire: Fire, traces: Array) -> tuple[Array, Array]:
        def one(neuron, carry):
            traces, drives, spikes = carry
            drive = jnp.sum(self.weight[neuron] * traces, keepdims=True)
            trace, spike = fire(neuron, drive)
            return tuple(
                lax.dynamic_update_slice_in_dim(array, new, neuron, 0)
                for array, new in ((traces, trace), (drives, drive), (spikes, spike))
            )

        start = traces, jnp.zeros_like(traces), jnp.zeros_like(traces, bool)
        _, drives, spikes = lax.fori_loop(0, traces.shape[0], one, start)
        return drives, spikes


class Layered(AbstractConnectivity):
    """Layers with connections upwards and downwards between neighbours only; the layers are swept from the bottom.

    Both `forward[l]` and `backward[l]` have the shape [layer l + 1, layer l]: what reaches layer l from above is
    backward[l]^T x, so that the two are equal where synapses are symmetric (`sal.align(transposed=True)` learns the
    latter). Neurons are numbered from the bottom layer on.
    """

    forward: tuple[Float[Array, "_above _below"], ...]
    backward: tuple[Float[Array, "_above _below"], ...]

    def __init__(self, forward: Sequence[Array], backward: Sequence[Array]):
        self.forward, self.backward = (
            tuple(as_float(f"Layered: {name}[{layer}]", w) for layer, w in enumerate(weights))
            for name, weights in (("forward", forward), ("backward", backward))
        )

    def __check_init__(self):
        up, down = [np.shape(w) for w in self.forward], [np.shape(w) for w in self.backward]
        if not up or down != up or any(len(shape) != 2 or 0 in shape for shape in up):
            raise ValueError(
                "Layered: there must be backward weights of the same shape, [above, below], for all forward weights, "
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

    @property
    def sources(self) -> int:
        return self.neurons

    def split(self, x: Array) -> tuple[Array, ...]:
        """Values of all neurons, [..., neurons], layer by layer."""
        return _split(x, self.layers)

    def synapses(self) -> "LayeredSynapses":
        # Within the loop over time a transposition would take longer than one before it.
        return LayeredSynapses(self.forward, tuple(w.T for w in self.backward), self.layers)

    def signals(self, spikes: Raster) -> tuple["AbstractConnectivity", "AbstractConnectivity"]:
        parts = tuple(Raster(part, spikes.dt) for part in self.split(spikes.spikes))

        def place(parts: tuple[Raster, ...]) -> "AbstractConnectivity":
            # B stands in the place of W: seen from there its spikes are those of W (see `sal.align(transposed=True)`).
            return eqx.tree_at(lambda c: (c.forward, c.backward), self, (parts, parts))

        return place(parts[:-1]), place(parts[1:])


class LayeredSynapses(AbstractSynapses):
    """Those of `Layered`, upwards [above, below] and downwards [below, above]."""

    upward: tuple[Float[Array, "_above _below"], ...]
    downward: tuple[Float[Array, "_below _above"], ...]
    layers: tuple[int, ...] = eqx.field(static=True)

    def drive(self, traces: Array) -> Array:
        parts = _split(traces, self.layers)
        return jnp.concatenate([self._into(layer, parts) for layer in range(len(parts))])

    def sweep(self, fire: Fire, traces: Array) -> tuple[Array, Array]:
        parts = list(_split(traces, self.layers))
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
            drives.append(self.upward[layer - 1] @ traces[layer - 1])
        if layer < len(self.upward):
            drives.append(self.downward[layer] @ traces[layer + 1])
        return sum(drives[1:], start=drives[0])


def _split(x: Array, layers: tuple[int, ...]) -> tuple[Array, ...]:
    return tuple(jnp.split(x, np.cumsum(layers)[:-1], axis=-1))
