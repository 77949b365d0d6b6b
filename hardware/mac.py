"""The analog matrix-vector mode of the chip ("hagen"): 5-bit inputs, signed 6-bit weights, 8-bit outputs."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from eventprop.failures import error_if
from eventprop.parameters import as_float, check_not_negative, check_type, whole
from hardware.quantise import floor_to, round_to

ROWS = 128
"""Signed rows of one block: a row pair each."""
COLUMNS = 512
"""Columns of one chip, in both halves."""
MOST_INPUT, MOST_WEIGHT = 31, 63
LEAST_OUTPUT, MOST_OUTPUT = -128, 127
PATTERN = 3.2 / 51
"""Standard deviation of the columns' gain, relative to its mean."""


class Mac(eqx.Module):
    """The analog multiplier of one chip.

        y_j = clip( sum_b clip( floor( g_j sends sum_(i in block b) x_i w_ji + N(0, noise) ), -128, 127 ), -128, 127 )

    with blocks b of 128 inputs, which are added up digitally. gain: g, one for all or one per column, [512]; neuron j
    of a layer sits in the column j mod 512. noise: standard deviation in LSB, drawn anew for every block. sends: how
    often each input is sent (a Python number). The numbers are hxtorch's; `Mac.fabricate` draws a fixed pattern.

    Limit: the bend of large negative outputs (from -100 to -115 on) is left out, as it is in hxtorch's own model.
    """

    gain: Float[Array, "*columns"] = eqx.field(converter=jnp.asarray, default=0.002)  # pyright: ignore
    noise: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=2.0)  # pyright: ignore
    sends: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        if np.shape(self.gain) not in ((), (COLUMNS,)):
            raise ValueError(f"gain must be one number or one per column, [{COLUMNS}], but is {np.shape(self.gain)}.")
        if np.shape(self.noise) != ():
            raise ValueError(f"noise must be one number, but has the shape {np.shape(self.noise)}.")
        check_not_negative("gain", self.gain)
        check_not_negative("noise", self.noise)
        whole("sends", self.sends, 1)

    @classmethod
    def fabricate(cls, key: PRNGKeyArray, gain: float = 0.002, noise: float = 2.0, sends: int = 1) -> "Mac":
        """A chip whose columns differ: 3.2 LSB (standard deviation) at an output of 51."""
        return cls(gain * (1 + PATTERN * jax.random.normal(key, (COLUMNS,))), noise, sends)

    def __call__(
        self, x: Float[Array, "*batch sources"], weight: Float[Array, "neurons sources"], key: PRNGKeyArray | None
    ) -> Float[Array, "*batch neurons"]:
        """x W^T on the chip, in whole LSB; gradients straight through, without noise and quantisers.

        x: 0 to 31, weight: -63 to 63, both rounded first. key: for the noise; None leaves it out. Raises an error for
        numbers out of range: scale them (`converting_relu` makes inputs of outputs).
        """
        x = jnp.asarray(as_float("x", x))
        if x.shape[-1:] != weight.shape[1:]:
            raise ValueError(f"x must be [{weight.shape[1]}] for weights {weight.shape}, but has the shape {x.shape}.")
        x = _in_range("input", round_to(x, -jnp.inf, jnp.inf), 0, MOST_INPUT)
        weight = _in_range("weight", round_to(weight, -jnp.inf, jnp.inf), -MOST_WEIGHT, MOST_WEIGHT)
        neurons, sources = weight.shape
        blocks = -(-sources // ROWS)
        padding = blocks * ROWS - sources
        rows = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, padding)]).reshape(*x.shape[:-1], blocks, ROWS)
        columns = jnp.pad(weight, ((0, 0), (0, padding))).reshape(neurons, blocks, ROWS)
        products = jnp.einsum("...br,nbr->...bn", rows, columns, precision="highest")
        gain = jnp.broadcast_to(self.gain, (COLUMNS,))[np.arange(neurons) % COLUMNS].astype(products.dtype)
        analog = products * lax.expand_dims(gain * self.sends, range(products.ndim - 1))
        if key is not None:
            analog = analog + self.noise.astype(analog.dtype) * jax.random.normal(key, analog.shape, analog.dtype)
        return _clipped(jnp.sum(_clipped(analog), axis=-2))


class Linear(eqx.Module):
    """A layer like `equinox.nn.Linear` whose product is analog: `layer(x, key=key)`, x [in_features] of 0 to 31.

    Its weights [out_features, in_features] are in LSB, floats of -63 to 63 that are rounded on their way to the chip;
    `bias` [out_features] is added digitally. Layers that exceed the chip are split: over inputs in blocks of 128, over
    outputs in parts of 512, `runs` of them one after the other. Further arguments as `equinox.nn.Linear` has them.
    No gradient reaches `mac`, the multiplier is the chip's (keep it out of weight decay, too). To fit one,
    differentiate a `Mac` itself.
    """

    weight: Float[Array, "out_features in_features"]
    bias: Float[Array, " out_features"] | None
    mac: Mac

    def __init__(
        self, in_features: int, out_features: int, mac: Mac, use_bias: bool = False, *, dtype: Any = None, key: Any
    ):
        self.weight = _initial_weight((out_features, in_features), in_features, mac, dtype, key)
        self.bias = jnp.zeros(out_features, dtype) if use_bias else None
        self.mac = mac

    @property
    def runs(self) -> int:
        """How often the chip has to be run for one input."""
        return _runs(*self.weight.shape)

    def __call__(self, x: Float[Array, " in_features"], *, key: PRNGKeyArray | None = None) -> Array:
        """The output [out_features], whole LSB of -128 to 127."""
        y = lax.stop_gradient(self.mac)(x, self.weight, key)
        return y if self.bias is None else _clipped(y + self.bias)


class Conv(eqx.Module):
    """A layer like `equinox.nn.Conv` whose products are analog: x [in_channels, *size] of 0 to 31.

    weight [out_channels, in_channels, *kernel_size] in LSB. Every position of the kernel is one vector of inputs, split
    as in `Linear`, without gradients in `mac`.
    """

    weight: Float[Array, "out_channels in_channels *kernel"]
    bias: Float[Array, " out_channels"] | None
    mac: Mac
    stride: tuple[int, ...] = eqx.field(static=True)
    padding: tuple[tuple[int, int], ...] = eqx.field(static=True)

    def __init__(
        self,
        num_spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        mac: Mac,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        use_bias: bool = False,
        *,
        dtype: Any = None,
        key: PRNGKeyArray,
    ):
        kernel = _per_dimension(kernel_size, num_spatial_dims)
        fan_in = in_channels * int(np.prod(kernel))
        self.weight = _initial_weight((out_channels, in_channels, *kernel), fan_in, mac, dtype, key)
        self.bias = jnp.zeros(out_channels, dtype) if use_bias else None
        self.mac = mac
        self.stride = _per_dimension(stride, num_spatial_dims)
        self.padding = tuple((p, p) for p in _per_dimension(padding, num_spatial_dims))

    @property
    def runs(self) -> int:
        """How often the chip has to be run for one position of the kernel."""
        return _runs(self.weight.shape[0], int(np.prod(self.weight.shape[1:])))

    def __call__(self, x: Float[Array, "in_channels *size"], *, key: PRNGKeyArray | None = None) -> Array:
        """The output [out_channels, *positions], whole LSB of -128 to 127."""
        x = jnp.asarray(as_float("x", x))
        if x.ndim != self.weight.ndim - 1 or x.shape[0] != self.weight.shape[1]:
            raise ValueError(
                f"x must be [{self.weight.shape[1]}, *size] of {self.weight.ndim - 2} dimensions, but has the shape "
                f"{x.shape}; use jax.vmap for a batch."
            )
        patches = lax.conv_general_dilated_patches(
            x[None], self.weight.shape[2:], self.stride, self.padding, precision=lax.Precision.HIGHEST
        )[0]
        y = lax.stop_gradient(self.mac)(
            jnp.moveaxis(patches, 0, -1), self.weight.reshape(self.weight.shape[0], -1), key
        )
        return jnp.moveaxis(y if self.bias is None else _clipped(y + _like(self.bias, y)), -1, 0)


def converting_relu(y: Float[Array, "..."], shift: int = 2) -> Float[Array, "..."]:
    """Outputs as inputs of the next layer: clip(floor(y / 2^shift), 0, 31), straight through within that range."""
    return floor_to(y / 2**shift, 0, MOST_INPUT)


def _clipped(y: Array) -> Array:
    return floor_to(y, LEAST_OUTPUT, MOST_OUTPUT)


def _like(bias: Array, y: Array) -> Array:
    return lax.expand_dims(bias, range(y.ndim - 1))


def _in_range(name: str, values: Array, least: int, most: int) -> Array:
    outside = jnp.any((values < least) | (values > most))
    message = f"an {name}" if name[0] in "aeiou" else f"a {name}"
    return error_if(values, outside, f"{message} of the MAC mode lies outside {least} to {most}: scale or clip it.")


def _runs(neurons: int, sources: int) -> int:
    return -(-sources // ROWS) * -(-neurons // COLUMNS)


def _per_dimension(value: int | Sequence[int], dimensions: int) -> tuple[int, ...]:
    values = (value,) * dimensions if isinstance(value, int) else tuple(value)
    if len(values) != dimensions:
        raise ValueError(f"{values} must have one number for each of {dimensions} dimensions.")
    return values


def _initial_weight(shape: tuple[int, ...], fan_in: int, mac: Mac, dtype: Any, key: PRNGKeyArray) -> Array:
    """Uniform, so that inputs of about 10 lead to outputs of about 30 (root mean square), within the 6 bits."""
    check_type("mac", mac, Mac)
    width = 30 * 3**0.5 / (10 * jnp.mean(mac.gain) * mac.sends * fan_in**0.5)
    dtype = jax.dtypes.canonicalize_dtype(float) if dtype is None else dtype
    return jnp.minimum(width, MOST_WEIGHT).astype(dtype) * jax.random.uniform(key, shape, dtype, -1, 1)
