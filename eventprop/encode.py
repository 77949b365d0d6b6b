"""From numbers to spikes: one trial each, `jax.vmap` for a batch. Any unit of time; ms by convention."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PRNGKeyArray, Real

from eventprop.parameters import AnyScalar, Scalar, as_float, check_not_negative, check_positive, check_scalars, numeric
from eventprop.spikes import Spikes, sorted_positions


class Latency(eqx.Module):
    """One spike per feature, the later the larger it is: t = t_min + x (t_max - t_min) for x in [0, 1].

    A bias spike at `t_bias`, if given, comes from one more source after the features' (Wunderlich and Pehle, 2021:
    t_min = 10, t_max = 40, t_bias = 20 ms). Differentiable in the features and in the times. Raises `ValueError` for
    negative times and for t_max <= t_min.
    """

    t_min: Scalar = eqx.field(converter=numeric("t_min"))
    t_max: Scalar = eqx.field(converter=numeric("t_max"))
    t_bias: Scalar | None = eqx.field(converter=numeric("t_bias"), default=None)

    def __check_init__(self):
        check_scalars(t_min=self.t_min, t_max=self.t_max, t_bias=self.t_bias)
        check_not_negative("t_min", self.t_min, "times start at 0")
        check_not_negative("t_bias", self.t_bias, "times start at 0")
        check_positive("t_max - t_min", self.t_max, "let the latest spike come after the earliest", minus=self.t_min)

    def __call__(self, features: Real[Array | np.ndarray, "features"] | Sequence[AnyScalar]) -> Spikes:
        """The spikes of one trial, sorted; coincident ones in the order of their sources.

        A feature outside [0, 1], or NaN, is an error when the values are known.
        """
        x: Array = as_float("features", features)
        if jnp.ndim(x) != 1:
            shape = jnp.shape(x)
            raise ValueError(f"features must be those of one trial, a vector, got shape {shape}; use jax.vmap")
        x = eqx.error_if(x, ~((x >= 0) & (x <= 1)), "Latency: features must lie in [0, 1]; rescale the data")
        times = self.t_min + x * (self.t_max - self.t_min)
        if self.t_bias is not None:
            times = jnp.append(times, jnp.asarray(self.t_bias, times.dtype))
        order = sorted_positions(lax.stop_gradient(times), lax.iota(jnp.int32, times.size))
        return Spikes(times[order], order)


class Poisson(eqx.Module):
    """Independent Poisson spike trains of equal rate, from time 0 to `t_max`.

    The trains of all sources together are one Poisson process of rate `sources * rate`: its gaps are exponential, and
    each of its events belongs to any source with equal probability. That is exact, and sorted from the start.

    - `rate`: spikes per unit of time and source: 200 Hz is 0.2 where times are in ms.
    - `sources`: their number.
    - `t_max`: the end of the trains.
    - `capacity`: room for the events of all sources; leave a few standard deviations, sqrt(sources rate t_max), above
      the mean. Events that do not fit are an error, never dropped.
    """

    rate: Scalar = eqx.field(converter=numeric("rate"))
    sources: int = eqx.field(static=True)
    t_max: Scalar = eqx.field(converter=numeric("t_max"))
    capacity: int = eqx.field(static=True)

    def __check_init__(self):
        check_scalars(rate=self.rate, t_max=self.t_max)
        check_not_negative("rate", self.rate, "it counts spikes")
        check_positive("t_max", self.t_max)
        for name, value in (("sources", self.sources), ("capacity", self.capacity)):
            if not isinstance(value, int | np.integer):
                raise ValueError(f"{name} must be a whole number, but is {value!r}.")
            check_positive(name, value)

    def __call__(self, *, key: PRNGKeyArray) -> Spikes:
        """The spikes of one trial."""
        gap_key, index_key = jax.random.split(key)
        # The one event more than there is room for tells whether any is missing.
        gaps = jax.random.exponential(gap_key, (self.capacity + 1,)) / (self.rate * self.sources)
        # Rounding differs along a parallel sum, so that neighbours closer than that might swap.
        times = lax.cummax(jnp.cumsum(gaps))
        times = eqx.error_if(times, times[-1] < self.t_max, "Poisson: more events than `capacity`; raise it")
        times = times[:-1]
        present = times < self.t_max
        index = jax.random.randint(index_key, (self.capacity,), 0, self.sources, jnp.int32)
        return Spikes(jnp.where(present, times, jnp.inf), jnp.where(present, index, 0))
