"""From numbers to spikes: one trial each, `jax.vmap` for a batch. Any unit of time; ms by convention."""

from collections.abc import Sequence
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PRNGKeyArray, Real

from eventprop.failures import error_if
from eventprop.parameters import (
    AnyScalar,
    Scalar,
    as_float,
    check_finite,
    check_not_negative,
    check_positive,
    check_scalars,
    numeric,
    whole,
)
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
        check_finite("t_max", self.t_max, "let the latest spike come within the trial")

    def __call__(self, features: Real[Array | np.ndarray, "features"] | Sequence[AnyScalar]) -> Spikes:
        """The spikes of one trial, sorted; coincident ones in the order of their sources.

        A feature outside [0, 1], or NaN, is an error when the values are known, as are traced times out of order.
        """
        x: Array = as_float("features", features)
        if jnp.ndim(x) != 1:
            shape = jnp.shape(x)
            raise ValueError(f"features must be those of one trial, a vector, got shape {shape}; use jax.vmap")
        x = error_if(x, ~((x >= 0) & (x <= 1)), "Latency: features must lie in [0, 1]; rescale the data")
        bias = 0 if self.t_bias is None else jnp.asarray(self.t_bias)
        ordered = (jnp.asarray(self.t_min) >= 0) & (self.t_min < self.t_max) & (self.t_max < jnp.inf) & (bias >= 0)
        x = error_if(x, ~ordered, "Latency: 0 <= t_min < t_max < inf and t_bias >= 0 do not hold; correct these times")
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
    sources: int = eqx.field(static=True, converter=partial(whole, "sources", least=1))
    t_max: Scalar = eqx.field(converter=numeric("t_max"))
    capacity: int = eqx.field(static=True, converter=partial(whole, "capacity", least=1))

    def __check_init__(self):
        check_scalars(rate=self.rate, t_max=self.t_max)
        check_not_negative("rate", self.rate, "it counts spikes")
        check_positive("t_max", self.t_max)

    def __call__(self, *, key: PRNGKeyArray) -> Spikes:
        """The spikes of one trial."""
        gap_key, index_key = jax.random.split(key)
        # The one event more than there is room for tells whether any is missing.
        gaps = jax.random.exponential(gap_key, (self.capacity + 1,))
        rate, t_max = jnp.asarray(self.rate, gaps.dtype), jnp.asarray(self.t_max, gaps.dtype)
        valid = (rate >= 0) & (rate < jnp.inf) & (t_max > 0)
        gaps = error_if(gaps, ~valid, "Poisson: rate must be finite and not negative, t_max positive; correct them")
        fires = rate > 0  # (no gradient of infinite gaps)
        # Rounding differs along a parallel sum, so that neighbours closer than that might swap.
        times = lax.cummax(jnp.cumsum(gaps / jnp.where(fires, rate * self.sources, 1)))
        times = jnp.where(fires, times, jnp.inf)
        message = f"Poisson: more events than `capacity`, {self.capacity}; raise it"
        times = error_if(times, times[-1] < t_max, message)[:-1]
        present = times < t_max
        index = jax.random.randint(index_key, (self.capacity,), 0, self.sources, jnp.int32)
        return Spikes(jnp.where(present, times, jnp.inf), jnp.where(present, index, 0))
