"""Spikes in time bins."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

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

    def __getitem__(self, neurons) -> "Raster":
        """The raster of some of the neurons: a slice or an array of indices."""
        return Raster(self.spikes[..., neurons], self.dt)
