"""The deep network of Gierlich et al., Fig. 7a and Table 3, for batches of images with the samples last."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from sal.feedback import Connection
from sal.transports import Transpose

CHANNELS = 64
KERNEL = 5
DENSE = (384, 192, 10)


class Convolution(eqx.Module):
    """Convolution without padding of a batch of images, the samples last, as one matrix product.

    (XLA's own convolutions take 50 times as long inside a loop on a CPU.)
    """

    weight: Float[Array, "out in height width"]
    bias: Float[Array, " out"]

    @classmethod
    def init(cls, sources: int, key: PRNGKeyArray) -> "Convolution":
        """Drawn as `equinox.nn.Conv2d`."""
        layer = eqx.nn.Conv2d(sources, CHANNELS, KERNEL, key=key)
        assert layer.bias is not None
        return cls(layer.weight, layer.bias[:, 0, 0])

    def __call__(self, x: Float[Array, "in height width samples"]) -> Float[Array, "out y x samples"]:
        out, _, kh, kw = self.weight.shape
        _, height, width, samples = x.shape
        rows, columns = height - kh + 1, width - kw + 1
        patches = [x[:, i : i + rows, j : j + columns] for i in range(kh) for j in range(kw)]
        matrix = jnp.stack(patches, axis=1).reshape(-1, rows * columns * samples)
        maps = self.weight.reshape(out, -1) @ matrix + self.bias[:, None]
        return maps.reshape(out, rows, columns, samples)


class BatchNorm(eqx.Module):
    """(x - mean) / sqrt(variance + 1e-5) for each map, times a scale and plus a shift that are learned."""

    scale: Float[Array, " channels"]
    shift: Float[Array, " channels"]
    mean: Float[Array, " channels"]
    variance: Float[Array, " channels"]

    @classmethod
    def init(cls) -> "BatchNorm":
        """Without effect."""
        return cls(jnp.ones(CHANNELS), jnp.zeros(CHANNELS), jnp.zeros(CHANNELS), jnp.ones(CHANNELS))

    def measured(self, x: Float[Array, "channels y x samples"]) -> "BatchNorm":
        """With the moments of a batch."""
        moments = jnp.mean(x, (1, 2, 3)), jnp.var(x, (1, 2, 3))
        return BatchNorm(self.scale, self.shift, *moments)

    def averaged(self, batch: "BatchNorm") -> "BatchNorm":
        """With moments that went a tenth of the way towards those of a batch."""
        pairs = (self.mean, batch.mean), (self.variance, batch.variance)
        return BatchNorm(self.scale, self.shift, *(0.9 * old + 0.1 * new for old, new in pairs))

    def __call__(self, x: Float[Array, "channels y x samples"]) -> Float[Array, "channels y x samples"]:
        factor = self.scale * jax.lax.rsqrt(self.variance + 1e-5)
        offset = self.shift - factor * self.mean
        return x * factor[:, None, None, None] + offset[:, None, None, None]


class ConvNet(eqx.Module):
    """Twice convolution, ReLU, pooling and batch normalisation, then dense layers; for images, the samples last."""

    convolutions: list[Connection]
    norms: list[BatchNorm]
    dense: list[Connection]

    def __init__(self, shape: tuple[int, ...], key: PRNGKeyArray):
        keys = jax.random.split(key, 2 + len(DENSE))
        channels, *size = shape
        for _ in range(2):
            size = [(extent - KERNEL + 1) // 2 for extent in size]
        convolutions = [Convolution.init(sources, k) for sources, k in zip((channels, CHANNELS), keys, strict=False)]
        sources = (CHANNELS * size[0] * size[1], *DENSE)
        dense = [eqx.nn.Linear(n, m, key=k) for n, m, k in zip(sources, DENSE, keys[2:], strict=False)]
        self.convolutions, self.dense = (
            [Connection(layer, Transpose()) for layer in block] for block in (convolutions, dense)
        )
        self.norms = [BatchNorm.init() for _ in convolutions]

    def __call__(self, images: Float[Array, "channels height width samples"]) -> Float[Array, "samples classes"]:
        return self.measure(images, training=False)[0]

    def measure(
        self, images: Float[Array, "channels height width samples"], *, training: bool = True
    ) -> tuple[Float[Array, "samples classes"], list[BatchNorm]]:
        """Logits, in training with each batch's own moments, and the normalisations that were in use."""
        x, norms = images, []
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = pool(jax.nn.relu(convolution(x)))
            norms.append(norm.measured(x) if training else norm)
            x = norms[-1](x)
        x = x.reshape(-1, x.shape[-1])
        for number, layer in enumerate(self.dense):
            x = jax.vmap(layer, in_axes=-1, out_axes=-1)(jax.nn.relu(x) if number else x)
        return x.T, norms


def pool(x: Float[Array, "channels height width samples"]) -> Float[Array, "channels y x samples"]:
    """The maximum of each 2 x 2 window."""
    channels, height, width, samples = x.shape
    return x.reshape(channels, height // 2, 2, width // 2, 2, samples).max((2, 4))
