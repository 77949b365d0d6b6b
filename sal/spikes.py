"""Spikes in time bins, as numbers and as bits."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, UInt8

from sal._numbers import as_float, as_static


class Raster(eqx.Module):
    """Binned spikes: 1 where a neuron fires within a step of `dt`, else 0. Axes between time and neurons are replicas.

    `jax.vmap(..., out_axes=1)` over a simulation that returns a raster makes one with replicas.

    This constructor looks at shapes only, and works on traced arrays; bools and integers become floats. Data come in
    through `from_counts`. `dt` is static.
    """

    spikes: Float[Array, "time *replicas neurons"] = eqx.field(converter=lambda x: as_float("Raster: spikes", x))
    dt: float = eqx.field(static=True, converter=lambda x: as_static("Raster: dt", x))

    def __check_init__(self):
        if not self.dt > 0:
            raise ValueError(f"Raster: dt must be positive, got {self.dt}")
        if np.ndim(self.spikes) < 2:
            raise ValueError(f"Raster: spikes must have the shape [time, ..., neurons], got {np.shape(self.spikes)}")

    @staticmethod
    def from_counts(counts: ArrayLike, dt: float) -> "Raster":
        """A raster from data, [time, ..., neurons].

        Raises `ValueError` for entries other than 0 and 1, and for a `dt` that is not positive.
        """
        spikes = np.asarray(counts)
        wrong = ~np.isin(spikes, (0, 1))
        if np.any(wrong):
            raise ValueError(
                f"counts must be 0 or 1, got {spikes[wrong][0]}; choose dt so that no neuron fires twice within a step"
            )
        return Raster(jnp.asarray(spikes, float), dt)

    def packed(self) -> "PackedRaster":
        """The same spikes, one bit each: a thirty-second of the memory."""
        spikes = jnp.asarray(self.spikes)
        return PackedRaster(jnp.packbits(spikes > 0, axis=-1), spikes.shape[-1], self.dt)

    def __getitem__(self, neurons) -> "Raster":
        """The raster of some of the neurons: a slice or an array of indices."""
        return Raster(self.spikes[..., neurons], self.dt)


class PackedRaster(eqx.Module):
    """A raster stored as bits, eight neurons to a byte, to keep and to save; `unpacked` to calculate.

    `Raster.packed` makes one. So that no numbers are stored on the way, let `simulate` observe bits, and leave
    `Solution.spikes` alone: what a compiled program does not use it does not store.

        run = simulate(network, t1, dt=dt, key=key, observe=lambda moment: jnp.packbits(moment.spikes))
        raster = PackedRaster(run.observed, network.neurons, dt)

    Raises `ValueError` for bits that are no bytes, or another number of them than the neurons fill.
    """

    bits: UInt8[Array, "time *replicas bytes"]
    neurons: int = eqx.field(static=True)
    dt: float = eqx.field(static=True, converter=lambda x: as_static("PackedRaster: dt", x))

    def __check_init__(self):
        if self.bits.dtype != jnp.uint8 or self.bits.shape[-1] != -(-self.neurons // 8):
            raise ValueError(
                f"PackedRaster: bits must be bytes (uint8), {-(-self.neurons // 8)} for {self.neurons} neurons, got "
                f"{self.bits.dtype} of the shape {self.bits.shape}; use Raster.packed or jnp.packbits(spikes, axis=-1)"
            )

    def unpacked(self) -> Raster:
        """The raster, of floats."""
        return Raster(jnp.unpackbits(self.bits, axis=-1, count=self.neurons), self.dt)
