"""Synapses between layers: maps that are linear in the presynaptic rates, for any number of leading batch axes."""

import abc
import itertools
import operator
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from gle.arrays import as_float


class AbstractConnection(eqx.Module):
    """W r + b. Errors go back through its transpose, and its gradients are local, whatever W looks like."""

    @abc.abstractmethod
    def __call__(self, rates: Float[Array, "*batch sources"]) -> Float[Array, "*batch neurons"]:
        """The currents into the neurons."""

    @property
    @abc.abstractmethod
    def sources(self) -> int:
        """Number of presynaptic neurons."""

    @property
    @abc.abstractmethod
    def neurons(self) -> int:
        """Number of postsynaptic neurons."""

    def transpose(
        self, errors: Float[Array, "*batch neurons"], rates: Float[Array, "*batch sources"]
    ) -> Float[Array, "*batch sources"]:
        """W^T e: the errors of the presynaptic neurons (the map being linear, `rates` only gives their shape)."""
        return jax.vjp(self, rates)[1](errors)[0]

    def gradient(
        self, errors: Float[Array, "*batch neurons"], rates: Float[Array, "*batch sources"]
    ) -> "AbstractConnection":
        """dE/dW = -e r^T and dE/db = -e (Eqs. 21, 22), averaged over the batch."""
        arrays, rest = eqx.partition(self, eqx.is_inexact_array)
        size = int(np.prod(errors.shape[:-1]))
        _, pullback = jax.vjp(lambda arrays: eqx.combine(arrays, rest)(rates), arrays)
        return pullback(-errors / size)[0]


def _weight(value: Any) -> Any:
    return as_float("weight", value)


def _bias(value: Any) -> Any:
    return as_float("bias", value)


class Dense(AbstractConnection):
    """All-to-all synapses; weight[i, j] leads from source j to neuron i, as in the paper."""

    weight: Float[Array, "neurons sources"] = eqx.field(converter=_weight)
    bias: Float[Array, " neurons"] | None = eqx.field(converter=_bias)

    def __check_init__(self):
        if jnp.ndim(self.weight) != 2:
            raise ValueError(f"weight must be [neurons, sources], but has shape {jnp.shape(self.weight)}.")
        if self.bias is not None and jnp.shape(self.bias) != (self.weight.shape[0],):
            raise ValueError(f"bias must be [{self.weight.shape[0]}], but has shape {jnp.shape(self.bias)}.")

    @classmethod
    def init(
        cls,
        sources: int,
        neurons: int,
        *,
        key: PRNGKeyArray,
        use_bias: bool = True,
        initialiser: Callable[[PRNGKeyArray, tuple[int, ...], Any], Array] | None = None,
        dtype: Any = None,
    ) -> "Dense":
        """Weights and biases drawn by `initialiser`; by default uniform within 1/sqrt(sources), as in PyTorch."""
        dtype = jax.dtypes.canonicalize_dtype(float) if dtype is None else dtype
        initialiser = _within(1 / np.sqrt(max(sources, 1))) if initialiser is None else initialiser
        weight_key, bias_key = jax.random.split(key)
        bias = initialiser(bias_key, (neurons,), dtype) if use_bias else None
        return cls(initialiser(weight_key, (neurons, sources), dtype), bias)

    def __call__(self, rates: Array) -> Array:
        currents = rates @ self.weight.T
        return currents if self.bias is None else currents + over_batch(self.bias, currents)

    @property
    def sources(self) -> int:
        return self.weight.shape[1]

    @property
    def neurons(self) -> int:
        return self.weight.shape[0]


class Conv2d(AbstractConnection):
    """Convolution and, optionally, average pooling, between flattened [channels, height, width] maps.

    weight: [channels out, channels in, height, width] of the kernel; the image is not padded. Pooling over
    `pool` x `pool` windows is part of the (linear) synapses.
    """

    weight: Float[Array, "out in kh kw"] = eqx.field(converter=_weight)
    bias: Float[Array, " out"] | None = eqx.field(converter=_bias)
    shape: tuple[int, int, int] = eqx.field(static=True)
    pool: int = eqx.field(static=True)

    def __check_init__(self):
        if len(self.shape) != 3 or min(*self.shape, *self.weight.shape) < 1 or operator.index(self.pool) < 1:
            raise ValueError(
                "shape must be (channels, height, width), and channels, kernel and pool at least 1, "
                f"but are shape {self.shape}, weight {self.weight.shape} and pool {self.pool}."
            )
        channels, height, width = self.shape
        if self.weight.ndim != 4 or self.weight.shape[1] != channels:
            raise ValueError(f"weight must be [out, {channels}, height, width], but has shape {self.weight.shape}.")
        maps = (height - self.weight.shape[2] + 1, width - self.weight.shape[3] + 1)
        if min(maps) < 1 or maps[0] % self.pool or maps[1] % self.pool:
            raise ValueError(f"maps of {maps} neurons cannot be pooled by {self.pool}; change the kernel or pool.")

    @classmethod
    def init(
        cls,
        shape: tuple[int, int, int],
        channels: int,
        kernel: int,
        *,
        pool: int = 1,
        key: PRNGKeyArray,
        use_bias: bool = True,
        dtype: Any = None,
    ) -> "Conv2d":
        """A square kernel for an input of `shape` [channels, height, width]; uniform within 1/sqrt(fan-in)."""
        dtype = jax.dtypes.canonicalize_dtype(float) if dtype is None else dtype
        draw = _within(1 / np.sqrt(max(shape[0] * kernel * kernel, 1)))
        weight_key, bias_key = jax.random.split(key)
        bias = draw(bias_key, (channels,), dtype) if use_bias else None
        return cls(draw(weight_key, (channels, shape[0], kernel, kernel), dtype), bias, shape, pool)

    def __call__(self, rates: Array) -> Array:
        # A mean over windows after a convolution is a convolution with stride, by a smoothed kernel. It is a matrix
        # product here, because XLA's convolutions take more than ten times as long inside a loop on a CPU.
        p, (channels, *_), (_, rows, columns) = self.pool, self.shape, self.map_shape
        shifted = [
            jnp.pad(self.weight, ((0, 0), (0, 0), (i, p - 1 - i), (j, p - 1 - j)))
            for i, j in itertools.product(range(p), repeat=2)
        ]
        kernel = jnp.mean(jnp.stack(shifted), axis=0)
        out, _, kh, kw = kernel.shape
        images = rates.reshape(-1, *self.shape)
        patches = [
            images[:, :, i : i + p * rows : p, j : j + p * columns : p]
            for i, j in itertools.product(range(kh), range(kw))
        ]
        matrix = jnp.stack(patches, axis=2).reshape(len(images), channels * kh * kw, rows * columns)
        maps = jnp.einsum("ow,nwp->nop", kernel.reshape(out, -1), matrix)
        if self.bias is not None:
            maps = maps + self.bias[None, :, None]
        return maps.reshape(*rates.shape[:-1], -1)

    @property
    def sources(self) -> int:
        return int(np.prod(self.shape))

    @property
    def neurons(self) -> int:
        out, _, kh, kw = self.weight.shape
        _, height, width = self.shape
        return out * ((height - kh + 1) // self.pool) * ((width - kw + 1) // self.pool)

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """[channels, height, width] of the neurons, the `shape` of the next layer."""
        out, _, kh, kw = self.weight.shape
        _, height, width = self.shape
        return out, (height - kh + 1) // self.pool, (width - kw + 1) // self.pool


class Identity(AbstractConnection):
    """One fixed synapse of weight 1 per neuron, as between the layers of a lag line (Fig. 13c)."""

    size: int = eqx.field(static=True, converter=operator.index)

    def __check_init__(self):
        if self.size < 1:
            raise ValueError(f"size must be at least 1, the number of neurons, but is {self.size}.")

    def __call__(self, rates: Array) -> Array:
        return rates

    @property
    def sources(self) -> int:
        return self.size

    @property
    def neurons(self) -> int:
        return self.size


def over_batch(parameter: Float[Array, " neurons"], like: Float[Array, "*batch neurons"]) -> Array:
    """A parameter of the neurons with as many axes as `like`, so that it is repeated over the batch."""
    return parameter.reshape((1,) * (like.ndim - 1) + (-1,))


def _within(bound: float) -> Callable[[PRNGKeyArray, tuple[int, ...], Any], Array]:
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)
