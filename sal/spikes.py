"""Spikes in time bins."""

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float


class Raster(eqx.Module):
    """Binned spikes: 1 where a neuron fires within a step, else 0. Axes between time and neurons are replicas."""

    spikes: Float[Array, "time *replicas neurons"]
    dt: float | Float[Array, ""]

    def __check_init__(self):
        if np.ndim(self.spikes) < 2:
            raise ValueError(f"Raster: spikes must have the shape [time, ..., neurons], got {np.shape(self.spikes)}")

    def __getitem__(self, neurons) -> "Raster":
        """The raster of some of the neurons: a slice or an array of indices."""
        return Raster(self.spikes[..., neurons], self.dt)
