"""What measurements of an unplaced chip tell about its circuits: potentials, time constants, strengths, thresholds.

Nothing but samples and spikes goes in; all circuits at once, [circuits].
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float

from eventprop import SpikeTrains
from eventprop.closed_form import Membrane
from hardware.device import Measurement
from hardware.observe import MADC_GAIN

STEP = 1.02
"""Of a time constant, for the derivative of a response."""
TAIL = 0.3
"""µs: a potential before a spike is extrapolated from so much time, twice."""


def mean_sample(measurement: Measurement, begin: float = 0.0) -> Float[Array, " circuits"]:
    """The mean CADC sample from `begin` on, LSB."""
    inside = (measurement.cadc_times >= begin)[:, None]
    return jnp.sum(jnp.where(inside, measurement.cadc, 0), axis=0) / jnp.sum(inside)


def membrane_time(
    measurement: Measurement, guess: Float[Array, " circuits"], begin: float
) -> Float[Array, " circuits"]:
    """tau_mem of membranes that rise exponentially from `begin` on, from the MADC: a fit around `guess`, µs.

    V = V_0 - A exp(-s) - B s exp(-s) with s = (t - begin) / guess: tau = guess (1 + B / A) to first order; beyond
    0.3 to 3 times `guess` the result is that bound.
    """
    trace, t = _trace(measurement)
    s = jnp.maximum(t - begin, 0) / guess[None]
    decay = jnp.exp(-s)
    _, a, b = _fit([jnp.ones_like(decay), -decay, -s * decay], trace, (t >= begin) & (s <= 4))
    return guess * _corrected(b, a)


def synaptic_time(
    measurement: Measurement, guess: Float[Array, " circuits"], tau_mem: float, begin: float, sign: int | Array
) -> Float[Array, " circuits"]:
    """tau_syn from a postsynaptic potential of this sign from `begin` on: a fit around `guess`, tau_mem known, µs.

    To first order in tau_syn - guess; beyond 0.3 to 3 times `guess` the result is that bound.
    """
    trace, t = _trace(measurement)
    after = jnp.maximum(t - begin, 0)
    psp = sign * _psp(after, tau_mem, guess)
    slope = (sign * _psp(after, tau_mem, guess * STEP) - sign * _psp(after, tau_mem, guess / STEP)) / (STEP - 1 / STEP)
    _, a, b = _fit([jnp.ones_like(psp), psp, slope], trace, after <= 5 * guess[None])
    return guess * _corrected(b, a)


def strength(
    measurement: Measurement, tau_syn: Float[Array, " circuits"], tau_mem: float, begin: float, sign: int | Array
) -> Float[Array, " circuits"]:
    """How steeply an event at `begin` moves the membrane at first, LSB/µs, from a fit of its whole response."""
    trace, t = _trace(measurement)
    after = jnp.maximum(t - begin, 0)
    _, height = _fit([jnp.ones_like(trace), sign * _psp(after, tau_mem, tau_syn)], trace, after <= 5 * tau_syn[None])
    return height / MADC_GAIN


def relative_strength(
    measurement: Measurement,
    tau_syn: Float[Array, " circuits"],
    tau_mem: float,
    begin: float,
    sign: int | Array,
    reversal: Float[Array, " circuits"],
    reference: Float[Array, " circuits"],
) -> Float[Array, " circuits"]:
    """`strength` over (reversal - V) / (reversal - reference), V the mean potential before the event, LSB/µs."""
    trace, t = _trace(measurement)
    before = t < begin
    v = jnp.sum(jnp.where(before, trace, 0), axis=0) / jnp.sum(before) / MADC_GAIN
    return strength(measurement, tau_syn, tau_mem, begin, sign) * (reversal - reference) / (reversal - v)


def threshold(measurement: Measurement) -> Float[Array, " circuits"]:
    """The potential at which circuits spike, LSB: MADC samples before spikes, extrapolated; inf without spikes."""
    trains = measurement.spikes
    assert isinstance(trains, SpikeTrains) and measurement.madc is not None and measurement.madc_times is not None
    rate = 1 / (measurement.madc_times[1] - measurement.madc_times[0])
    count = round(TAIL * 29.4)
    last = jnp.floor(jnp.where(trains.times < jnp.inf, trains.times, 0) * rate).astype(jnp.int32)
    known = (trains.times < jnp.inf) & (last >= 2 * count)
    at = jnp.maximum(last[..., None] - jnp.arange(2 * count)[None, None], 0)
    samples = measurement.madc.T[jnp.arange(at.shape[0])[:, None, None], at]
    late, early = jnp.mean(samples[..., :count], axis=-1), jnp.mean(samples[..., count:], axis=-1)
    number = jnp.sum(known, axis=-1)
    mean = jnp.sum(jnp.where(known, late + (late - early) / 2, 0), axis=-1) / jnp.maximum(number, 1)
    return jnp.where(number > 0, mean / MADC_GAIN, jnp.inf)


def _trace(measurement: Measurement) -> tuple[Array, Array]:
    assert measurement.madc is not None and measurement.madc_times is not None
    return measurement.madc, measurement.madc_times[:, None]


def _psp(t: Array, tau_mem: float, tau_syn: Array) -> Array:
    """The response to a current into the membrane that begins with a slope of 1 per µs."""
    return tau_mem * Membrane(jnp.full_like(tau_syn, tau_mem), tau_syn).align(2).propagator(t)[2]


def _corrected(change: Array, height: Array) -> Array:
    """The factor that a fit has found. Where it has lost its way (no height) the sign of the change still tells."""
    factor = jnp.clip(1 + change / jnp.where(height > 0, height, 1), 0.3, 3.0)
    return jnp.where(height > 0, factor, jnp.where(change > 0, 3.0, 0.3))


def _fit(basis: Sequence[Array], trace: Array, inside: Array) -> tuple[Array, ...]:
    """Least squares of each circuit: the coefficients of the functions [samples, circuits] where `inside`."""
    stacked = jnp.stack([jnp.broadcast_to(each, trace.shape) * inside for each in basis])
    # Columns of one norm, for the sake of float32.
    norms = jnp.sqrt(jnp.sum(stacked**2, axis=1)) + 1e-12
    stacked = stacked / norms[:, None]
    normal = jnp.einsum("isc,jsc->cij", stacked, stacked, precision="highest")
    moments = jnp.einsum("isc,sc->ci", stacked, trace - jnp.mean(trace, axis=0)[None], precision="highest")
    ridge = 1e-6 * jnp.eye(len(basis), dtype=trace.dtype)
    found = cho_solve(cho_factor(normal + ridge[None]), moments[..., None])[..., 0].T
    return tuple(found / norms)
