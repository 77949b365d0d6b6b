"""Derivatives of neurons that hear each other: one pass over all that happened, in the order in which it did.

The moments are known (`recurrent`): arrivals from outside, spikes, and arrivals of these spikes. From one to the next
the state follows its closed form; a spike's time is that of an event (`event_time`), an arrival's that of its spike and
the delay. So what is computed is what happened, and JAX differentiates it: the transpose runs from the last moment to
the first, and jumps at every one of them, as the adjoint system of the EventProp paper does (Wunderlich & Pehle 2021,
Table 2), extended by delays and refractory periods.

With a delay per synapse an arrival is a moment of one neuron, else one of all.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from eventprop.adjoint import Implicit
from eventprop.closed_form import Membrane
from eventprop.events import event_time
from eventprop.loops import vary_alike
from eventprop.solvers.component import Component, arrivals_within
from eventprop.solvers.recurrent import Found
from eventprop.solvers.trial import LayerTrial

_SPIKE, _SAMPLE, _ARRIVAL = 0, 1, 2
"""Kinds of moments, in their order where they coincide: a spike comes before what arrives with it."""


class Moments(NamedTuple):
    """What happens when. Where nothing happens any more, the time is the end.

    value: the time without derivatives. since: the spike that a moment comes after, by a time `after`; the number of
    spikes stands for the time 0. A spike itself has its own number. neuron: whose moment it is; charge: what arrives,
    at all neurons or at this one; sample: the number of a sample among the times to save.
    """

    value: Float[Array, " moments"]
    kind: Int[Array, " moments"]
    neuron: Int[Array, " moments"]
    since: Int[Array, " moments"]
    after: Float[Array, " moments"]
    charge: Float[Array, "moments reached"]
    sample: Int[Array, " moments"]


class Course(NamedTuple):
    """Spike times as those of `Found`, potentials v at the samples, and the state (v, i, time held) at the end."""

    times: Float[Array, " spikes"]
    potentials: Float[Array, "times neurons"] | None
    coordinates: tuple[Array, Array, Array]


class State(NamedTuple):
    """(v, i) of neurons at time t, one for all or one each, with the ends of their refractory periods (None: no one
    ever has one)."""

    t: Array
    v: Array
    i: Array
    release: Array | None


@eqx.filter_custom_jvp
def course(component: Component, found: Found, ts: Array | None, *, slots: int, adjoint: Implicit) -> Course:
    """All that was found, as a function of the component and of the samples' times, with its derivatives.

    The pass over the moments is needed for potentials and derivatives only.
    """
    if ts is not None:
        return _follow(component, found, found.times, ts, slots, adjoint)
    end = _end(component, found)
    return Course(found.times, None, (found.v, found.i, _held(found.release, end)))


@course.def_jvp
def _course_jvp(primals, tangents, *, slots: int, adjoint: Implicit):
    component, found, ts = primals
    d_component, _, d_ts = tangents
    out = course(component, found, ts, slots=slots, adjoint=adjoint)
    given, tangent = (component, ts), (d_component, d_ts)
    perturbed = eqx.filter(given, jax.tree.map(lambda d: d is not None, tangent, is_leaf=lambda d: d is None))
    if not jax.tree.leaves(perturbed):
        return out, jax.tree.map(jnp.zeros_like, out)

    def follow(perturbed):
        component, ts = eqx.combine(perturbed, given)
        # Times that are functions of the component themselves: so second derivatives are right as well.
        return _follow(component, found, out.times, ts, slots, adjoint)

    # What is not perturbed is None in both arguments, so nothing is spent on its derivative.
    return out, jax.jvp(follow, (perturbed,), (tangent,))[1]


def _end(component: Component, found: Found) -> Array:
    end = component.trial.end
    return jnp.where(jnp.isfinite(end), end, found.end)


def _held(release: Array, end: Array) -> Array:
    return jnp.where(release > end, release - end, 0)


def _follow(
    component: Component, found: Found, times: Array, ts: Array | None, slots: int, adjoint: Implicit
) -> Course:
    """The course through the moments that were found; spikes are at `times`."""
    component, times, ts = vary_alike((component, times, ts))
    trial, spikes = component.trial, found.times.shape[0]
    end = _end(component, found)
    ts = None if ts is None else jnp.where(ts <= end, ts, end)
    moments = _in_order(_all_moments(component, found, slots, ts), end, spikes)
    shared = component.columns == 1
    clock = jnp.zeros_like(end) if shared else jnp.zeros_like(trial.v)
    # Only a state from elsewhere can be held where there is no refractory period.
    may_hold = trial.refractory is not None or trial.due is not None
    state = State(clock, trial.v, trial.i, jnp.broadcast_to(trial.hold, trial.v.shape) if may_hold else None)

    def moment(carry, now):
        state, record = carry
        time = _time(trial, state, record, times, now, adjoint)
        number = jnp.arange(trial.neurons, dtype=jnp.int32) if shared else now.neuron[None]
        before = _advance(_membrane_of(trial, number, shared), _pick(state, number, shared), time)
        fires = (now.kind == _SPIKE) & (number == now.neuron)
        v = jnp.where(fires, _of(trial.reset, number, shared), before.v)
        release = before.release
        if release is not None and trial.refractory is not None:
            release = jnp.where(fires, time + _of(trial.refractory, number, shared), release)
        after = State(before.t, v, before.i + now.charge, release)
        record = record.at[jnp.where(now.kind == _SPIKE, now.since, spikes)].set(time)
        # The last place stays 0: moments that come after no spike refer to it.
        record = record.at[spikes].set(0)
        seen = None if ts is None else after.v
        return (after if shared else _put(state, after, now.neuron), record), seen

    start = (state, jnp.zeros_like(found.times, shape=spikes + 1))
    (state, record), seen = lax.scan(moment, start, moments)
    last = _advance(trial.membrane, state, end)
    recorded = jnp.where(found.times < jnp.inf, record[:spikes], jnp.inf)
    held = jnp.zeros_like(last.v) if last.release is None else _held(last.release, end)
    return Course(recorded, _potentials(moments, seen, ts, trial.neurons), (last.v, last.i, held))


def _time(trial: LayerTrial, state: State, record: Array, times: Array, now: Any, adjoint: Implicit) -> Array:
    """When a moment is: a spike when the potential of its neuron reaches the threshold."""
    neuron = now.neuron
    scale = _at(trial.threshold, neuron) - _at(trial.reset, neuron)
    one = jax.tree.map(lambda x: _at(x, neuron), state)
    membrane = jax.tree.map(lambda x: _at(x, neuron), trial.membrane)
    is_spike = now.kind == _SPIKE
    # `lax.scan` forgets rules such as that of `event_time` when it is differentiated again after reverse mode, and then
    # takes the derivatives of this number: those of the spike.
    spike = event_time(
        jnp.where(is_spike, times.at[now.since].get(mode="clip"), now.value),
        (membrane, _at(trial.threshold, neuron), scale, one),
        membrane.tau_mem,
        guard=_guard,
        finite=is_spike,
        adjoint=adjoint,
    )
    return jnp.where(is_spike, spike, jnp.where(is_spike, 0, record[now.since]) + now.after)


def _guard(t: Array, args: tuple[Membrane, Array, Array, State]) -> Array:
    """How far the potential is above the threshold, in units of the threshold."""
    membrane, threshold, scale, state = args
    return (_advance(membrane, state, t).v - threshold) / scale


def _advance(membrane: Membrane, state: State, t: Array) -> State:
    """The state at a later time: a membrane moves from its release on."""
    elapsed = t - state.t
    if state.release is None:
        leak, decay, response = membrane.propagator(elapsed)
        v = state.v * leak + state.i * response
        return State(jnp.broadcast_to(t, state.t.shape), v, state.i * decay, None)
    held = jnp.where(state.release > state.t, jnp.where(state.release < t, state.release - state.t, elapsed), 0)
    free = elapsed - held
    leak, _, response = membrane.propagator(free)
    v = state.v * leak + state.i * membrane.decay(held) * response
    return State(jnp.broadcast_to(t, state.t.shape), v, state.i * membrane.decay(elapsed), state.release)


def _at(parameter: Array, neuron: Array) -> Array:
    return parameter if parameter.ndim == 0 else parameter.at[neuron].get(mode="promise_in_bounds")


def _of(parameter: Array, number: Array, shared: bool) -> Array:
    return parameter if shared else _at(parameter, number)


def _membrane_of(trial: LayerTrial, number: Array, shared: bool) -> Membrane:
    return jax.tree.map(lambda x: _of(x, number, shared), trial.membrane)


def _pick(state: State, number: Array, shared: bool) -> State:
    return jax.tree.map(lambda x: _of(x, number, shared), state)


def _put(state: State, one: State, neuron: Array) -> State:
    return jax.tree.map(lambda x, y: x.at[neuron].set(y[0], mode="promise_in_bounds"), state, one)


def _all_moments(component: Component, found: Found, slots: int, ts: Array | None) -> Moments:
    """Those of each kind, kind after kind, with times of what does not happen at infinity."""
    spikes, neurons = found.times.shape[0], component.neurons
    neuron = jnp.minimum(found.position // slots, neurons - 1)
    number = jnp.arange(spikes, dtype=jnp.int32)
    reached = neurons if component.columns == 1 else 1
    nothing = jnp.zeros_like(found.times, shape=(spikes, reached))
    parts = [_moments(_SPIKE, found.times, neuron, number, jnp.zeros_like(found.times), nothing)]
    for pathway in component.pathways:
        known = pathway.known
        parts.append(_arriving(component, pathway, known.times, known.index, spikes, known.times))
        if pathway.source is not None:
            sent = arrivals_within(pathway, found.times, neuron)
            delay = pathway.connection.delays(sent.index)
            delay = jnp.zeros_like(sent.times) if delay is None else delay
            parts.append(_arriving(component, pathway, sent.times, sent.index, number, delay))
    if ts is not None:
        parts += _samples(ts, neurons, reached, spikes)
    return Moments(*(jnp.concatenate(x) for x in zip(*parts, strict=True)))


def _moments(kind: int, value: Array, neuron: Any, since: Any, after: Array, charge: Array, sample: Any = 0) -> Moments:
    def whole(x):
        return jnp.broadcast_to(jnp.asarray(x, jnp.int32), value.shape)

    return Moments(lax.stop_gradient(value), whole(kind), whole(neuron), whole(since), after, charge, whole(sample))


def _arriving(component: Component, pathway: Any, times: Array, index: Array, since: Any, after: Array) -> Moments:
    """Arrivals by one pathway: `after` is the time since the spike number `since`, one column or one per synapse."""
    charges, events = pathway.connection.charges(index), times.shape[0]
    if component.columns == 1:
        charges = pathway.place(charges, component.neurons, 0.0)
        return _moments(_ARRIVAL, times[:, 0], 0, since, after[:, 0], charges)
    shape = (events, pathway.connection.neurons)
    neuron = jnp.broadcast_to(pathway.first + jnp.arange(shape[1], dtype=jnp.int32), shape)
    since = jnp.broadcast_to(jnp.reshape(jnp.asarray(since, jnp.int32), (-1, 1)), shape)
    times, neuron, since, after = (jnp.broadcast_to(x, shape).reshape(-1) for x in (times, neuron, since, after))
    return _moments(_ARRIVAL, times, neuron, since, after, charges.reshape(-1, 1))


def _samples(ts: Array, neurons: int, reached: int, spikes: int) -> list[Moments]:
    """One moment per sample, or one for each neuron."""
    number = jnp.arange(ts.shape[0], dtype=jnp.int32)
    each = 1 if reached == neurons else neurons
    times, number = jnp.repeat(ts, each), jnp.repeat(number, each)
    neuron = jnp.tile(jnp.arange(each, dtype=jnp.int32), ts.shape[0])
    nothing = jnp.zeros_like(ts, shape=(times.shape[0], reached))
    return [_moments(_SAMPLE, times, neuron, spikes, times, nothing, number)]


def _in_order(moments: Moments, end: Array, spikes: int) -> Moments:
    """Sorted by time and kind. Whatever is at the end or later does not happen, except for samples."""
    happens = (moments.value < end) | (moments.kind == _SAMPLE)
    kind = jnp.where(happens, moments.kind, _ARRIVAL)
    value = jnp.where(happens, moments.value, lax.stop_gradient(end))
    number = lax.iota(jnp.int32, kind.shape[0])
    value, kind, number = lax.sort((value, kind, number), num_keys=3)
    happens = happens[number]
    return Moments(
        value,
        kind,
        moments.neuron[number],
        jnp.where(happens, moments.since[number], spikes),
        jnp.where(happens, moments.after[number], end),
        jnp.where(happens[:, None], moments.charge[number], 0),
        moments.sample[number],
    )


def _potentials(moments: Moments, seen: Any, ts: Array | None, neurons: int) -> Array | None:
    """Those of the samples, [times, neurons], from the potentials that were seen at every moment."""
    if ts is None:
        return None
    shape = (ts.shape[0], neurons)
    row = jnp.where(moments.kind == _SAMPLE, moments.sample, ts.shape[0])
    empty = jnp.zeros_like(seen, shape=shape)
    if seen.shape[1] == neurons:
        return empty.at[row].set(seen, mode="drop")
    return empty.at[row, moments.neuron].set(seen[:, 0], mode="drop")
