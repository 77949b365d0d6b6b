"""Synapses that share their weights across space."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from eventprop.connections.base import AbstractConnection, check_delay, check_dimensions
from eventprop.parameters import Parameter, numeric, whole


def _sizes(size: Any) -> tuple[int, ...]:
    if not isinstance(size, list | tuple):
        raise ValueError(f"size must be one number per spatial dimension, e.g. (28, 28), but is {size!r}.")
    return tuple(whole("size", n, least=1) for n in size)


class Conv(AbstractConnection):
    """A convolution in space: sources are an image [channels, *size], neurons another one, both numbered in C order.

        a spike of source (c, x) delivers weight[o, c, k] to neuron (o, y), where k = x + padding - stride y,

    as `equinox.nn.Conv` does with its own `weight` [out channels, in channels, *kernel]. One delay per synapse has
    the shape of the weight, and is shared like it.

    size: of the input, one number per spatial dimension. stride, padding: the same in every dimension.

    Raises ValueError if these do not fit each other, and for negative delays.
    """

    weight: Float[Array, "out in *kernel"] = eqx.field(converter=numeric("weight"))
    size: tuple[int, ...] = eqx.field(static=True, converter=_sizes)
    stride: int = eqx.field(static=True, converter=partial(whole, "stride", least=1), default=1)
    padding: int = eqx.field(static=True, converter=partial(whole, "padding"), default=0)
    delay: Parameter | None = eqx.field(converter=numeric("delay"), default=None)
    port: int = eqx.field(static=True, default=0)

    def __check_init__(self):
        shape = getattr(self.weight, "shape", None)
        if shape is None:
            return
        if len(shape) != len(self.size) + 2 or not self.size:
            raise ValueError(
                f"weight must be [out channels, in channels, *kernel] for an input of the size {self.size}, "
                f"but has the shape {shape}."
            )
        if min(self.output_size) < 1:
            raise ValueError(f"the kernel {shape[2:]} exceeds the input {self.size} with padding {self.padding}.")
        check_delay(self)

    @classmethod
    def init(
        cls,
        size: Sequence[int],
        in_channels: int,
        out_channels: int,
        kernel: int,
        initialiser: Callable[[PRNGKeyArray, tuple[int, ...], Any], Array],
        *,
        key: PRNGKeyArray,
        dtype: Any = None,
        **options: Any,
    ) -> "Conv":
        """Synapses with weights drawn by `initialiser` for the shape (*kernel, in channels, out channels)."""
        in_channels, out_channels = whole("in_channels", in_channels, 1), whole("out_channels", out_channels, 1)
        size, kernel = _sizes(size), whole("kernel", kernel, 1)
        dtype = jax.dtypes.canonicalize_dtype(float) if dtype is None else dtype
        drawn = initialiser(key, (kernel,) * len(size) + (in_channels, out_channels), dtype)
        return cls(jnp.moveaxis(drawn, (-1, -2), (0, 1)), size, **options)

    @property
    def output_size(self) -> tuple[int, ...]:
        """Size of the image of neurons."""
        kernel = self.weight.shape[2:]
        return tuple((n + 2 * self.padding - k) // self.stride + 1 for n, k in zip(self.size, kernel, strict=True))

    @property
    def sources(self) -> int:
        """Number of presynaptic neurons, channels x size."""
        return self.weight.shape[1] * math.prod(self.size)

    @property
    def neurons(self) -> int:
        """Number of postsynaptic neurons, channels x output size."""
        return self.weight.shape[0] * math.prod(self.output_size)

    def check_shapes(self, name: str) -> None:
        """Raise ValueError for weights with leading axes."""
        check_dimensions(name, self.weight, 2 + len(self.size), "[out channels, in channels, *kernel]")

    def spread(self, synapses: Array, index: Int[Array, " events"]) -> Float[Array, "events neurons"]:
        """Each source's kernel, seen from every neuron."""
        channel, *place = jnp.unravel_index(jnp.clip(index, 0, self.sources - 1), (synapses.shape[1], *self.size))
        dimensions, kernel = len(self.size), synapses.shape[2:]
        tap, inside = [], jnp.ones((index.shape[0], *(1,) * (dimensions + 1)), bool)
        for axis, (x, outputs, taps) in enumerate(zip(place, self.output_size, kernel, strict=True)):
            k = (x + self.padding)[:, None] - self.stride * jnp.arange(outputs)[None]
            k = jnp.expand_dims(k, [1, *(2 + other for other in range(dimensions) if other != axis)])
            inside &= (k >= 0) & (k < taps)
            tap.append(jnp.clip(k, 0, taps - 1))
        ones = (1,) * dimensions
        out = jnp.arange(synapses.shape[0]).reshape(1, -1, *ones)
        values = synapses[(out, channel.reshape(-1, 1, *ones), *tap)]
        return jnp.where(inside, values, 0).reshape(index.shape[0], self.neurons)

    def project(self, spikes: Float[Array, "*batch sources"]) -> Float[Array, "*batch neurons"]:
        """A convolution (a correlation, as everywhere in deep learning)."""
        batch = spikes.shape[:-1]
        found = jax.lax.conv_general_dilated(
            spikes.reshape(-1, self.weight.shape[1], *self.size),
            self.weight,
            window_strides=(self.stride,) * len(self.size),
            padding=((self.padding, self.padding),) * len(self.size),
        )
        return found.reshape(*batch, self.neurons)

    def table(self, index: Int[Array, " events"]) -> tuple[Float[Array, "events neurons"], Int[Array, " events"]]:
        """One row per event: written out for all sources, a convolution would be a large matrix."""
        return self.charges(index), jnp.arange(index.shape[0], dtype=jnp.int32)
