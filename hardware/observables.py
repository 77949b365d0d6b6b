"""What measurements of an unplaced chip tell about its circuits: potentials, time constants, strengths, thresholds.

Nothing but samples and spikes goes in; all circuits at once, [circuits].
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float, Int

from eventprop import SpikeTrains
from eventprop.closed_form import Membrane
from hardware.device import Measurement
from hardware.limits import BSS2
from hardware.observe import MADC_GAIN

STEP = 1.02
"""Of a time constant, for the derivative of a response."""
SEEN = 0.7
"""µs at the end of a clamp when the membrane has come to where it is held."""
TAIL = 0.3
"""µs: a potential before a spike is extrapolated from so much time, twice."""


def mean_sample(measurement: Measurement, begin: float = 0.0) -> Float[Array, " circuits"]:
    """The mean CADC sample from `begin` on, LSB."""
    return _mean(measurement.cadc, (measurement.cadc_times >= begin)[:, None])


def mean_potential(measurement: Measurement, begin: float) -> Float[Array, " circuits"]:
    """The mean potential from `begin` on as the MADC sees it, LSB."""
    trace, t = _trace(measurement)
    return _mean(trace, t >= begin) / MADC_GAIN


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
    measurement: Measurement,
    guess: Float[Array, " circuits"],
    tau_mem: float,
    begin: float,
    sign: int | Array,
) -> Float[Array, " circuits"]:
    """tau_syn from a postsynaptic potential of this sign from `begin` on: a fit around `guess`, tau_mem known, µs.

    To first order in tau_syn - guess; beyond 0.3 to 3 times `guess` the result is that bound.
    """
    trace, t = _trace(measurement)
    after = jnp.maximum(t - begin, 0)
    psp = sign * _psp(after, tau_mem, guess)
    slope = sign * _psp(after, tau_mem, guess * STEP)
    slope = (slope - sign * _psp(after, tau_mem, guess / STEP)) / (STEP - 1 / STEP)
    _, a, b = _fit([jnp.ones_like(psp), psp, slope], trace, after <= 5 * guess[None])
    return guess * _corrected(b, a)


def strength(
    measurement: Measurement,
    tau_syn: Float[Array, " circuits"],
    tau_mem: float,
    begin: float,
    sign: int | Array,
) -> Float[Array, " circuits"]:
    """How steeply an event at `begin` moves the membrane at first, LSB/µs, from a fit of its whole response."""
    trace, t = _trace(measurement)
    psp = sign * _psp(jnp.maximum(t - begin, 0), tau_mem, tau_syn)
    _, height = _fit([jnp.ones_like(trace), psp], trace, jnp.maximum(t - begin, 0) <= 5 * tau_syn[None])
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
    v = _mean(trace, t < begin) / MADC_GAIN
    seen = strength(measurement, tau_syn, tau_mem, begin, sign)
    return seen * (reversal - reference) / (reversal - v)


def threshold(measurement: Measurement) -> Float[Array, " circuits"]:
    """The potential at which circuits spike, LSB: MADC samples before spikes, extrapolated; inf without spikes."""
    count = round(TAIL * BSS2.madc_rate)
    potentials, number = _before_spikes(measurement, np.arange(2 * count), 0.0)
    late, early = jnp.mean(potentials[:, :count], axis=1), jnp.mean(potentials[:, count:], axis=1)
    return jnp.where(number > 0, late + (late - early) / 2, jnp.inf)


def potential_before(
    measurement: Measurement, window: tuple[float, float], alone: float
) -> tuple[Float[Array, " circuits"], Int[Array, " circuits"]]:
    """The mean potential so long before spikes (µs, the shorter time first), LSB, and of how many spikes.

    Only of those with nothing before them for the time `alone`, no spike and not the beginning; 0 without any.
    """
    first, last = (round(each * BSS2.madc_rate) for each in window)
    potentials, number = _before_spikes(measurement, np.arange(first, last), alone)
    return jnp.mean(potentials, axis=1), number


def _before_spikes(measurement: Measurement, places: np.ndarray, alone: float) -> tuple[Array, Array]:
    """Potentials [circuits, places], so many samples before spikes, mean over spikes, and how many these are."""
    trains = measurement.spikes
    assert isinstance(trains, SpikeTrains) and measurement.madc is not None and measurement.madc_times is not None
    rate = 1 / (measurement.madc_times[1] - measurement.madc_times[0])
    before = jnp.concatenate([jnp.zeros_like(trains.times[:, :1]), trains.times[:, :-1]], axis=1)
    last = jnp.floor(jnp.where(trains.times < jnp.inf, trains.times, 0) * rate).astype(jnp.int32)
    known = (trains.times < jnp.inf) & (last > places[-1]) & (trains.times - before >= alone)
    at = jnp.maximum(last[..., None] - jnp.asarray(places)[None, None], 0)
    samples = measurement.madc.T[jnp.arange(at.shape[0])[:, None, None], at]
    number = jnp.sum(known, axis=1)
    mean = jnp.sum(jnp.where(known[..., None], samples, 0), axis=1) / jnp.maximum(number, 1)[:, None]
    return mean / MADC_GAIN, number


def adaptation_time(
    measurement: Measurement, guess: Float[Array, " circuits"], tau_mem: float, event: float, clamp: float
) -> Float[Array, " circuits"]:
    """tau_adaptation from what a circuit does after its first spike, to first order around `guess`, µs.

    It is clamped for `clamp`, rests, fires after `event`, is clamped again, and goes from there to rest, and away from
    it by -w psp(t), the response to a current that begins with w and decays with tau_adaptation. Between 0.3 and 3
    times `guess`.
    """
    after, inside, resets = _after_spike(measurement, tau_mem, event, clamp)
    psp = _psp(after, tau_mem, guess)
    slope = (_psp(after, tau_mem, guess * STEP) - _psp(after, tau_mem, guess / STEP)) / (STEP - 1 / STEP)
    _, a, b, *_ = _fit([jnp.ones_like(psp), -psp, -slope, *resets], _trace(measurement)[0], inside)
    return guess * _corrected(b, a)


def adaptation_strength(
    measurement: Measurement, tau: Float[Array, " circuits"], tau_mem: float, event: float, clamp: float
) -> Float[Array, " circuits"]:
    """The current of adaptation that begins with a spike, w exp(clamp / tau), LSB/µs: as `adaptation_time`."""
    after, inside, resets = _after_spike(measurement, tau_mem, event, clamp)
    psp = _psp(after, tau_mem, tau)
    _, height, *_ = _fit([jnp.ones_like(psp), -psp, *resets], _trace(measurement)[0], inside)
    return height * jnp.exp(clamp / tau) / MADC_GAIN


def _after_spike(
    measurement: Measurement, tau_mem: float, event: float, clamp: float
) -> tuple[Array, Array, tuple[Array, Array]]:
    """The time since the clamp of the spike opened, which samples count, and the ways back from both clamps.

    [samples, circuits]. Samples at the end of a clamp tell where its way begins.
    """
    trains, (_, t) = measurement.spikes, _trace(measurement)
    assert isinstance(trains, SpikeTrains)
    opens = trains.times[None, :, 0] + clamp
    after = jnp.maximum(t - opens, 0)
    late, early = t >= opens - SEEN, (t >= clamp - SEEN) & (t < event)
    first = jnp.where(early, jnp.exp(-jnp.maximum(t - clamp, 0) / tau_mem), 0)
    return after, late | early, (first, jnp.where(late, jnp.exp(-after / tau_mem), 0))


def _trace(measurement: Measurement) -> tuple[Array, Array]:
    assert measurement.madc is not None and measurement.madc_times is not None
    return measurement.madc, measurement.madc_times[:, None]


def _mean(samples: Array, inside: Array) -> Array:
    return jnp.sum(jnp.where(inside, samples, 0), axis=0) / jnp.sum(inside)


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
