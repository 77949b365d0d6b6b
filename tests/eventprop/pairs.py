"""Two neurons of one kind as a network, and what becomes of it by brute force."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import eventprop as ep
from tests.eventprop import neuron_reference
from tests.eventprop.golden_neurons import TIMES
from tests.eventprop.neuron_table import Case


class Wire(NamedTuple):
    """From a neuron (None: the input) to a neuron: so much of the charge of its case at every receptor, so much later.

    Of the input receptor p hears the source p.
    """

    source: int | None
    target: int
    share: float
    delay: float


TOPOLOGIES = {
    "feed-forward": (Wire(None, 0, 1.0, 0.0), Wire(None, 1, 0.9, 1.3), Wire(0, 1, 0.5, 0.7)),
    "recurrent": (
        *(Wire(None, 0, 1.0, 0.0), Wire(None, 1, 0.9, 1.3), Wire(0, 1, 0.5, 0.7)),
        *(Wire(1, 0, 0.3, 1.9), Wire(0, 0, 0.2, 3.1), Wire(1, 1, 0.1, 2.3)),
    ),
}
READOUTS = {"feed-forward": TOPOLOGIES["feed-forward"][:2]}
"""For neurons that do not spike: both hear the input."""
KEY = jax.random.key(5)


def topologies(case: Case) -> dict[str, tuple[Wire, ...]]:
    """Those in which the neuron can stand."""
    return TOPOLOGIES if case.neuron.events else READOUTS


def spikes_of(ports: int, t: Any = TIMES) -> ep.Spikes:
    """The input, whose sources are as many as the receptors."""
    return ep.Spikes(jnp.asarray(t), jnp.arange(len(TIMES), dtype=jnp.int32) % ports)


def network(cases: list[Case], wires: tuple[Wire, ...]) -> ep.Network:
    """Every neuron is a population of its own, so that what it draws is its own."""
    sources = max(len(case.charges) for case in cases)
    projections = []
    for wire in wires:
        case = cases[wire.target]
        for port, charge in enumerate(case.charges):
            heard = (np.arange(sources) == port) if wire.source is None else np.ones(1)
            weight, delay = jnp.asarray(wire.share * charge * heard[None]), jnp.asarray(wire.delay)
            projections.append((wire.source, wire.target, ep.Dense(weight, delay=delay, port=port)))
    return ep.Network([case.neuron for case in cases], projections)


def by_force(case: Case, wires: tuple[Wire, ...], t1: float) -> list[tuple[np.ndarray, Any]]:
    """(spike times, state at t1) of both neurons, by the reference for one.

    Each is simulated with what the other has sent as known so far, until nothing changes: causes precede effects.
    """
    ports = len(case.charges)
    keys = [jax.random.fold_in(KEY, number) for number in range(2)]
    known: dict[Any, Any] = {}

    def alone(number: int, arrivals: tuple) -> Any:
        key = keys[number] if isinstance(case.neuron, ep.Stochastic) else None
        if (number, arrivals) not in known:
            known[number, arrivals] = neuron_reference.of_neuron(case.neuron, arrivals, t1, key)
        return known[number, arrivals]

    found: list[Any] = [(np.zeros(0), None)] * 2
    for _ in range(60):
        arrivals: list[list] = [[], []]
        for wire in wires:
            if wire.source is None:
                sent = [(t, k % ports) for k, t in enumerate(TIMES)]
            else:
                sent = [(t, port) for t in found[wire.source][0] for port in range(ports)]
            arrivals[wire.target] += [
                (float(t) + wire.delay, port, wire.share * case.charges[port])
                for t, port in sent
                if t + wire.delay < t1
            ]
        now = [alone(number, tuple(sorted(each))) for number, each in enumerate(arrivals)]
        if all(np.array_equal(a[0], b[0]) for a, b in zip(found, now, strict=True)):
            return now
        found = now
    raise AssertionError("no end")
