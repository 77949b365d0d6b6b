"""The free motion of a population between events, rebuilt from the events: one scan, linear in their number.

Nothing is searched here: when inputs arrive and when neurons spike is known. Everything is plain differentiable code,
so derivatives of any order hold in forward and reverse mode, and those with respect to spike times are the jumps of the
paper's Table 2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from eventprop.closed_form import Membrane, expand
from eventprop.solvers.trial import LayerTrial


class Pieces(NamedTuple):
    """Stretches of free motion, one after the other: each from `begin` on, for `duration`, from the state (v, i).

    Potentials are relative to the bias. `free` (None: all): 0 where a refractory membrane is held at `v`.
    """

    membrane: Membrane
    begin: Float[Array, "pieces columns"]
    duration: Float[Array, "pieces columns"]
    v: Float[Array, "pieces neurons"]
    i: Float[Array, "pieces neurons"]
    free: Bool[Array, "pieces neurons"] | None

    def potential(self, elapsed: Float[Array, "pieces columns"]) -> Float[Array, "pieces neurons"]:
        """v after a time `elapsed` [pieces, columns] in each piece."""
        leak, _, response = self.membrane.align(2).propagator(elapsed)
        moved = leak * self.v + response * self.i
        return moved if self.free is None else jnp.where(self.free, moved, self.v)


class _Events(NamedTuple):
    """What happens to each neuron, in order: inputs deliver a charge, spikes reset, releases end refractory periods."""

    times: Float[Array, "events columns"]
    charge: Float[Array, "events neurons"]
    spike: Bool[Array, "events neurons"] | None
    release: Bool[Array, "events neurons"] | None


def pieces(trial: LayerTrial, spikes: Float[Array, "slots neurons"] | None) -> Pieces:
    """All stretches of a trial whose spikes are known (`inf`: none; None: neurons without threshold)."""
    events = _events(trial, spikes)
    begin = jnp.concatenate([jnp.zeros_like(events.times[:1]), events.times])
    duration = jnp.concatenate([events.times, jnp.broadcast_to(trial.end, begin[:1].shape)]) - begin
    free = _free(trial, events)
    keep, decay, gain = trial.membrane.align(2).propagator(duration[:-1])
    if free is not None:
        keep, gain = jnp.where(free[:-1], keep, 1), jnp.where(free[:-1], gain, 0)
    added = jnp.zeros_like(events.charge)
    if events.spike is not None:
        keep, gain = jnp.where(events.spike, 0, keep), jnp.where(events.spike, 0, gain)
        added = jnp.where(events.spike, expand(trial.reset, 2), 0)
    v, i = _states(trial, keep, gain, decay, added, events.charge)
    return Pieces(trial.membrane, begin, duration, v, i, free)


def _events(trial: LayerTrial, spikes: Array | None) -> _Events:
    charge = trial.charges(trial.index) * trial.present
    if spikes is None:
        return _Events(trial.times, charge, None, None)
    # A neuron's own events come first: an input at the moment of a spike counts after it. Each release follows its
    # spike at once, so that the order holds where both round to one time.
    spike = spikes < trial.end
    times, kinds = spikes[:, None], jnp.ones((1, 1, 1), bool)
    held = trial.hold[None]
    if trial.refractory is not None:
        times = jnp.stack([spikes, spikes + expand(trial.refractory, 2)], axis=1)
        kinds = jnp.array([True, False])[None, :, None]
        spike = jnp.repeat(spike, 2, axis=0)
    shape = (-1, trial.neurons)
    own = jnp.concatenate([held, times.reshape(shape)])
    inside = own < trial.end
    of_spikes = jnp.broadcast_to(kinds, times.shape).reshape(shape)
    is_spike = inside & jnp.pad(of_spikes & spike, ((1, 0), (0, 0)))
    is_release = inside & jnp.pad(~of_spikes & spike, ((1, 0), (0, 0)), constant_values=True)
    inputs = jnp.broadcast_to(trial.times, (trial.times.shape[0], trial.neurons))
    count = inputs.shape[0]
    times = jnp.concatenate([jnp.where(inside, own, trial.end), inputs])
    order = jnp.argsort(lax.stop_gradient(times), axis=0, stable=True)

    def in_order(x):
        return jnp.take_along_axis(x, order, axis=0)

    charge = jnp.concatenate([jnp.zeros((own.shape[0], trial.neurons), charge.dtype), charge])
    spike, release = (jnp.pad(x, ((0, count), (0, 0))) for x in (is_spike, is_release))
    return _Events(in_order(times), in_order(charge), in_order(spike), in_order(release))


def _free(trial: LayerTrial, events: _Events) -> Array | None:
    """Whether each neuron moves in each piece: it is held from a spike to the release that follows."""
    if events.spike is None or events.release is None:
        return None
    number = lax.broadcasted_iota(jnp.int32, events.spike.shape, 0)
    last = lax.cummax(jnp.where(events.spike | events.release, number, -1), axis=0)
    free_after = ~events.spike if trial.refractory is not None else jnp.ones_like(events.spike)
    since = jnp.take_along_axis(free_after, jnp.maximum(last, 0), axis=0)
    at_first = trial.hold <= 0
    return jnp.concatenate([at_first[None], jnp.where(last < 0, at_first[None], since)])


def _states(
    trial: LayerTrial, keep: Array, gain: Array, decay: Array, added: Array, charge: Array
) -> tuple[Array, Array]:
    """(v, i) at 0 and after each event, which maps them to (keep v + gain i + added, decay i + charge)."""
    keep, gain, decay = (jnp.broadcast_to(x, charge.shape) for x in (keep, gain, decay))
    if jax.default_backend() == "cpu":

        def step(state, event):
            v, i = state
            keep, gain, decay, added, charge = event
            state = keep * v + gain * i + added, decay * i + charge
            return state, state

        _, (v, i) = lax.scan(step, (trial.v, trial.i), (keep, gain, decay, added, charge), unroll=4)
    else:

        def combine(first, then):
            (k, g, d, a, c), (k2, g2, d2, a2, c2) = first, then
            return k2 * k, k2 * g + g2 * d, d2 * d, k2 * a + g2 * c + a2, d2 * c + c2

        keep, gain, decay, added, charge = lax.associative_scan(combine, (keep, gain, decay, added, charge))
        v, i = keep * trial.v + gain * trial.i + added, decay * trial.i + charge
    return jnp.concatenate([trial.v[None], v]), jnp.concatenate([trial.i[None], i])


def integral(pieces: Pieces) -> Float[Array, "pieces neurons"]:
    """The integral of v over each piece.

        tau_mem v' = -v + i  =>  int v = int i - tau_mem [v(end) - v(begin)],

    which is tau_mem (1 - leak) v + (tau_syn (1 - decay) - tau_mem response) i.
    """
    membrane, duration = pieces.membrane.align(2), pieces.duration
    of_v = -membrane.tau_mem * jnp.expm1(-duration / membrane.tau_mem)
    response = membrane.propagator(duration)[2]
    of_i = -membrane.tau_syn * jnp.expm1(-duration / membrane.tau_syn) - membrane.tau_mem * response
    moved = of_v * pieces.v + of_i * pieces.i
    return moved if pieces.free is None else jnp.where(pieces.free, moved, pieces.v * duration)


def top(pieces: Pieces) -> Float[Array, "pieces neurons"]:
    """The maximum of v inside each piece, -inf where it lies at an end.

    V' = 0 means i = v. With a = 1/tau_mem, b = 1/tau_syn it happens once at most, and is a maximum for i > v before, at

        t = ln(1 + (b - a) x) / (b - a),     x = (i - v) / (a i + (b - a) v),

    at equal time constants t = tau (1 - v / i); and there v = i exp(-b t).
    """
    membrane = pieces.membrane.align(2)
    a, b = 1 / membrane.tau_mem, 1 / membrane.tau_syn
    v, i = pieces.v, pieces.i
    denominator = a * i + (b - a) * v
    peaks = (i > v) & (i > 0) & (denominator > 0)
    x = jnp.where(peaks, i - v, 0) / jnp.where(peaks, denominator, 1)
    t = _logarithm(b - a, x)
    peaks &= t < pieces.duration
    if pieces.free is not None:
        peaks &= pieces.free
    return jnp.where(peaks, i * jnp.exp(-b * jnp.where(peaks, t, 0)), -jnp.inf)


def _logarithm(rate: Array, x: Array) -> Array:
    """ln(1 + rate x) / rate, and x at rate 0, with accurate derivatives in both arguments."""
    z = rate * x
    small = jnp.abs(z) < 0.25
    # ln(1 + z) = 2 artanh(u) with u = z / (2 + z).
    u = jnp.where(small, z, 0) / (2 + jnp.where(small, z, 0))
    square, total = u * u, jnp.zeros_like(z)
    for n in range(10 if z.dtype == jnp.float64 else 5, -1, -1):
        total = total * square + 1 / (2 * n + 1)
    near = 2 * x / (2 + jnp.where(small, z, 0)) * total
    return jnp.where(small, near, jnp.log1p(jnp.where(small, 1, z)) / jnp.where(small, 1, rate))
