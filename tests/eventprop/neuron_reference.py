"""One neuron by brute force: its equations written out in NumPy, and its own description, integrated by SciPy.

Both are followed in a time s of their own, ds = sqrt(1 + V'^2) dt, in which an upstroke takes as long as it is high:
however sharp it is, no step falls below the spacing of floating-point numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

import eventprop as ep

Arrival = tuple[float, int, float]
"""When, at which port, and what."""


def follow(field: Callable, guards: Sequence[Callable], y: np.ndarray, wait: float) -> tuple[float, np.ndarray, int]:
    """(time, state, which guard) at the first rise of a guard through 0, or after `wait` (which: their number).

    y[0] is the potential. A guard at 0 or above is an event now.
    """
    for number, guard in enumerate(guards):
        if guard(y) >= 0:
            return 0.0, y, number
    if wait <= 0:
        return 0.0, y, len(guards)

    def scaled(s, x):
        dy = field(x[1:])
        return np.concatenate([[1.0], dy]) / np.sqrt(1 + dy[0] ** 2)

    stops = [*(lambda s, x, g=g: g(x[1:]) for g in guards), lambda s, x: x[0] - wait]
    for stop in stops:
        stop.terminal, stop.direction = True, 1
    found = solve_ivp(
        scaled, (0.0, 1e9), np.concatenate([[0.0], y]), "DOP853", events=stops, rtol=1e-12, atol=1e-12, max_step=20.0
    )
    assert found.status == 1, found.message
    which = next(number for number, times in enumerate(found.t_events) if len(times))
    end = found.y_events[which][0]
    return float(end[0]), end[1:], which


def simulate(
    field: Callable,
    events: Sequence[tuple[Callable, Callable, bool]],
    receive: Callable,
    y: np.ndarray,
    arrivals: Sequence[Arrival],
    t1: float,
) -> tuple[np.ndarray, np.ndarray]:
    """(spike times, state at t1). events: (guard(y), jump(y), emits)."""
    t, spikes = 0.0, []
    for until, port, charge in [*sorted(arrivals), (t1, None, 0.0)]:
        while True:
            passed, y, which = follow(field, [guard for guard, _, _ in events], y, until - t)
            t += passed
            if which == len(events):
                break
            spikes += [t] * events[which][2]
            y = events[which][1](y)
        if port is not None:
            y = receive(y, port, charge)
        t = until
    return np.array(spikes), y


def of_neuron(neuron: ep.AbstractNeuron, arrivals: Sequence[Arrival], t1: float, key: Any = None) -> tuple[Any, Any]:
    """(spike times, state at t1) of a single neuron by its own field, guards, jumps and receptors."""
    y = neuron.init(1, np.float64)
    y = neuron.begin(y, key) if isinstance(neuron, ep.Stochastic) else y
    flat, back = ravel_pytree(y)

    def on_arrays(function):
        jitted = jax.jit(lambda flat, *rest: ravel_pytree(function(back(flat), *rest))[0])
        return lambda flat, *rest: np.asarray(jitted(flat, *rest))

    field = on_arrays(lambda y: neuron.vector_field(0.0, y, key))
    events = []
    for event in neuron.events:
        guard = on_arrays(lambda y, event=event: event.guard(0.0, y, key))
        jump = on_arrays(lambda y, event=event: event.jump(0.0, y, key))
        events.append((lambda flat, guard=guard: guard(flat)[0], jump, event.emits))

    def receive(flat, port, charge):
        return np.asarray(ravel_pytree(neuron.receive(back(jnp.asarray(flat)), port, jnp.full(1, charge)))[0])

    spikes, flat = simulate(field, events, receive, np.asarray(flat), arrivals, t1)
    return spikes, back(jnp.asarray(flat))


@dataclass(frozen=True)
class Equations:
    """A neuron written out: drift(v, w, current) -> (v', w'), threshold(w), jump(w) -> (v, w), start (v, w)."""

    drift: Callable
    threshold: Callable
    jump: Callable
    start: tuple[float, float]


def of_equations(neuron: Any, arrivals: Sequence[Arrival], t1: float) -> tuple[np.ndarray, np.ndarray]:
    """(spike times, [v, w, time held, receptors ...] at t1) by the equations below, with the neuron's parameters."""
    equations = WRITTEN[type(neuron)](neuron)
    tau_syn = np.array(neuron.synapses.tau_syn)
    reversal = getattr(neuron.synapses, "reversal", None)
    once = isinstance(neuron.refractory, ep.FiresOnce)
    period = np.inf if once else neuron.refractory or 0.0

    def field(y):
        v, w, held, s = y[0], y[1], y[2], y[3:]
        current = np.sum(s) if reversal is None else np.sum(s * (np.array(reversal) - v))
        dv, dw = equations.drift(v, w, current)
        return np.array([0.0 if held > 0 else dv, dw, -1.0 if 0 < held < np.inf else 0.0, *(-s / tau_syn)])

    def receive(y, port, charge):
        return y + charge * (np.arange(len(y)) == 3 + port)

    y = np.array([*equations.start, 0.0, *np.zeros(len(tau_syn))])
    t, spikes = 0.0, []
    for until, port, charge in [*sorted(arrivals), (t1, None, 0.0)]:
        while t < until:
            held = y[2]
            if held > 0:
                wait = min(held, until - t)
                free = np.array([*y[:2], *y[3:]])
                passed, free, _ = follow(lambda x, y=y: np.delete(field(np.insert(x, 2, 1.0)), 2), [], free, wait)
                y = np.insert(free, 2, max(held - passed, 0.0) if wait < held else 0.0)
                t += passed
                continue
            passed, y, which = follow(field, [lambda y: y[0] - equations.threshold(y[1])], y, until - t)
            t += passed
            if which == 0:
                spikes.append(t)
                y = np.array([*equations.jump(y[1]), period, *y[3:]])
            else:
                break
        y = y if port is None else receive(y, port, charge)
        t = until
    return np.array(spikes), y


def _alif(n: ep.ALIF) -> Equations:
    beta, threshold = n.adaptation.beta, isinstance(n.adaptation, ep.AdaptiveThreshold)
    limit, drain = (beta, 0.0) if threshold else (0.0, beta)
    reset = n.reset.value if isinstance(n.reset, ep.ResetToValue) else 0.0
    return Equations(
        lambda v, w, current: ((-v + current + n.bias - drain * w) / n.tau_mem, -w / n.adaptation.tau),
        lambda w: n.threshold + limit * w,
        lambda w: (reset, w + 1),
        (0.0, 0.0),
    )


def _qif(n: ep.QIF) -> Equations:
    return Equations(
        lambda v, w, current: (((v - n.rest) * (v - n.critical) + current + n.bias) / n.tau_mem, 0.0),
        lambda w: n.peak,
        lambda w: (n.reset, 0.0),
        (n.rest, 0.0),
    )


def _exp(x: float) -> float:
    """Up to squares that do not overflow, for trial steps beyond the peak."""
    return np.exp(min(x, 300.0))


def _eif(n: ep.EIF) -> Equations:
    def drift(v, w, current):
        upstroke = n.sharpness * _exp((v - n.onset) / n.sharpness)
        return (-(v - n.rest) + upstroke + current + n.bias) / n.tau_mem, 0.0

    return Equations(drift, lambda w: n.peak, lambda w: (n.reset, 0.0), (n.rest, 0.0))


def _izhikevich(n: ep.Izhikevich) -> Equations:
    return Equations(
        lambda v, u, current: (0.04 * v**2 + 5 * v + 140 - u + current + n.bias, n.a * (n.b * v - u)),
        lambda u: n.peak,
        lambda u: (n.c, u + n.d),
        (-65.0, -65.0 * n.b),
    )


def _adex(n: ep.AdEx) -> Equations:
    def drift(v, w, current):
        leak, upstroke = -n.g * (v - n.E), n.g * n.D * _exp((v - n.V_T) / n.D)
        return (leak + upstroke - w + current + n.bias) / n.C, (n.a * (v - n.E) - w) / n.tau_w

    return Equations(drift, lambda w: n.peak, lambda w: (n.V_r, w + n.b), (n.E, 0.0))


WRITTEN = {ep.ALIF: _alif, ep.QIF: _qif, ep.EIF: _eif, ep.Izhikevich: _izhikevich, ep.AdEx: _adex}
