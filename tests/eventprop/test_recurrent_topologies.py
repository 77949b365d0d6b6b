"""Mutually recurrent populations of different neurons: against the reference, whole and cut anywhere."""

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
from eventprop.solvers.base import resting_state
from tests.eventprop import network_reference
from tests.eventprop.network_reference import Projection
from tests.eventprop.reference import Neuron

SIZES, INPUTS, EVENTS, SLOTS, UNDER_WAY, T1 = (5, 4), 3, 20, 60, 100, 40.0
EDGES = ((None, 0), (None, 1), (0, 0), (0, 1), (1, 0), (1, 1))
KINDS = {
    "none": lambda rng, pre, post: None,
    "one number": lambda rng, pre, post: 1.3,
    "axonal, some zero": lambda rng, pre, post: rng.uniform(0.3, 3.0, pre) * (rng.uniform(size=pre) < 0.5),
    "synaptic": lambda rng, pre, post: rng.uniform(0.2, 4.0, (post, pre)),
    "coincident": lambda rng, pre, post: rng.integers(0, 3, (post, pre)) * 0.5,
}
CASES = {
    "axonal": ["axonal, some zero"] * 6,
    "mixed": ["none", "synaptic", "coincident", "one number", "axonal, some zero", "none"],
    **{kind: [kind] * 6 for kind in ("none", "one number", "synaptic", "coincident")},
}


class Draw:
    """A random network of two populations, for the solver and for the reference, and its input."""

    def __init__(self, case: str, seed: int):
        rng = np.random.default_rng(seed)
        self.times = np.sort(rng.integers(0, 20, EVENTS) if case == "coincident" else rng.uniform(0, 30, EVENTS)) * 1.0
        self.index = rng.integers(0, INPUTS, EVENTS)
        self.projections = []
        for (source, target), kind in zip(EDGES, CASES[case], strict=True):
            pre, post = INPUTS if source is None else SIZES[source], SIZES[target]
            weight = rng.normal(2.2, 1.0, (post, pre)) if source is None else rng.normal(-0.2, 1.2, (post, pre))
            self.projections.append((source, target, weight, KINDS[kind](rng, pre, post)))
        self.first = {
            "tau_mem": rng.uniform(10, 25, 5),
            "tau_syn": rng.uniform(4, 12, 5),
            "threshold": rng.uniform(0.8, 1.2, 5),
            "refractory": rng.uniform(0.5, 3, 5),
            "bias": rng.uniform(-0.3, 0.3, 5),
        }

    def network(self) -> ep.Network:
        first = {name: jnp.asarray(value) for name, value in self.first.items()}
        neurons = ep.LIF(reset=ep.ResetToValue(-0.1), **first), ep.LIF(20.0, 5.0)
        connections = ((s, t, ep.Dense(jnp.asarray(w), delay=delay)) for s, t, w, delay in self.projections)
        return ep.Network(neurons, connections)

    def reference(self, ts=()) -> network_reference.Run:
        first = [Neuron(reset_value=-0.1, **{k: float(v[j]) for k, v in self.first.items()}) for j in range(SIZES[0])]
        projections = [Projection(s, t, w, 0.0 if delay is None else delay) for s, t, w, delay in self.projections]
        populations = [first, [Neuron(20.0, 5.0)] * SIZES[1]]
        return network_reference.simulate(populations, projections, self.times, self.index, T1, ts=ts)


@eqx.filter_jit
def run(network, times, index, t1, state, ts):
    solver = ep.Exact(max_spikes=SLOTS, max_in_flight=UNDER_WAY, chunk=16)
    saveat = diffrax.SaveAt(ts=ts)
    return ep.simulate(network, ep.Spikes(times, index), t1, solver=solver, state=state, saveat=saveat, throw=False)


def window(draw, network, t0, t1, state, ts):
    """From t0 to t1, in arrays of one shape, so that one program serves all windows."""
    inside = (draw.times >= t0) & (draw.times < t1)
    room = (0, EVENTS - np.sum(inside))
    times = np.pad(draw.times[inside] - t0, room, constant_values=np.inf)
    index = np.pad(draw.index[inside], room)
    flights = []
    for flight in state.in_flight:
        if flight is not None:
            room = ((0, UNDER_WAY - flight.times.shape[0]), (0, 0))
            flight = ep.InFlight(
                jnp.pad(flight.times, room, constant_values=jnp.inf), jnp.pad(jnp.asarray(flight.index, int), room[0])
            )
        flights.append(flight)
    state = ep.NetworkState(state.neurons, tuple(flights))
    solution = run(network, jnp.asarray(times), jnp.asarray(index), jnp.asarray(t1 - t0), state, jnp.asarray(ts))
    assert solution.result == ep.RESULTS.successful
    return solution


@pytest.mark.parametrize(
    "case, seeds",
    [
        ("axonal", 2),
        ("mixed", 2),
        *(pytest.param(case, 12, marks=pytest.mark.slow) for case in CASES),
    ],
)
def test_whole_and_cut(x64, case, seeds):
    """Spikes, potentials and states are the reference's, also cut at random moments, at spikes and at arrivals.

    Some moments are cut twice: a window without length changes nothing.
    """
    for seed in range(seeds):
        rng, draw = np.random.default_rng(100 + seed), Draw(case, seed)
        ts = np.sort(rng.uniform(0, T1, 6))
        expected, network = draw.reference(ts), draw.network()
        rest = resting_state(network, jnp.float64)
        whole = window(draw, network, 0.0, T1, rest, ts)
        found = [np.asarray(trains.times) for trains in whole.spikes]
        spikes = np.concatenate([x[np.isfinite(x)] for x in found])
        assert spikes.size > 20
        cuts = [*rng.uniform(0, T1, 2), *rng.choice(spikes, 2), *[draw.times[12]] * 2, spikes[0], spikes[0]]
        parts, state, start = [[], []], rest, 0.0
        for end in [*sorted(cut for cut in cuts if cut > 0), T1]:
            part = window(draw, network, start, end, state, ts)
            for trains, population in zip(parts, part.spikes, strict=True):
                trains.append(np.asarray(population.times) + start)
            state, start = part.state, end
        for population in range(2):
            joined = np.sort(np.concatenate(parts[population], axis=1), axis=1)[:, :SLOTS]
            for times in (found[population], joined):
                np.testing.assert_allclose(times, expected.trains(population, SLOTS), rtol=0, atol=1e-9)
            np.testing.assert_allclose(whole.ys[population], expected.potentials[population], rtol=0, atol=1e-9)
            for end in (whole.state, state):
                for name in ("v", "i"):
                    value = getattr(end.neurons[population], name)
                    np.testing.assert_allclose(value, expected.values(population, name), rtol=0, atol=1e-9)
