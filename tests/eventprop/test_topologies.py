"""Every neuron in every topology by every solver that can take it. Right is what brute force finds."""

import diffrax
import numpy as np
import pytest

import eventprop as ep
from tests.eventprop.neuron_table import NEURONS, T1
from tests.eventprop.pairs import KEY, Wire, by_force, network, spikes_of, topologies

PRECISE = diffrax.PIDController(rtol=1e-10, atol=1e-10)
SLOTS = 40
COARSE, FINE = 0.04, 0.01


def hybrid():
    return ep.Hybrid(2.0, SLOTS, 4096, solver=diffrax.Dopri8(), stepsize_controller=PRECISE)


def run(cases, wires, solver):
    """Spike times of every neuron (none of those that have no spikes), and the solution."""
    ports = max(len(case.charges) for case in cases)
    found = ep.simulate(network(cases, wires), spikes_of(ports), T1, solver=solver, key=KEY)
    return [np.zeros(0) if s is None else np.asarray(s.times)[np.isfinite(s.times)] for s in found.spikes], found


RINGS = [
    pytest.param(("LIF", "QIF", "AdEx", "LI"), id="three"),
    pytest.param(
        ("LIF", "ALIF, threshold", "QIF", "EIF", "Izhikevich", "AdEx", "EscapeRate", "LI"),
        id="all",
        marks=pytest.mark.slow,
    ),
]


@pytest.mark.parametrize("names", RINGS)
def test_kinds_of_neurons_hear_each_other(x64, names):
    """A ring of neurons of different kinds, with delays, and a readout: Grid approaches what Hybrid finds."""
    cases, ring = [NEURONS[name] for name in names], len(names) - 1
    wires = [Wire(None, k, 1.0, 0.2 * k) for k in range(ring)]
    wires += [Wire(k, (k + 1) % ring, 0.2, 1.0 + 0.37 * k) for k in range(ring)] + [Wire(1, ring, 1.0, 0.5)]
    right, precise = run(cases, tuple(wires), hybrid())
    assert all(len(times) >= 2 for times in right[:ring])
    errors = []
    for dt in (COARSE, FINE):
        close, solution = run(cases, tuple(wires), ep.Grid(dt, SLOTS))
        errors.append(max(np.max(np.abs(a - b)) for a, b in zip(close[:ring], right[:ring], strict=True)))
        off = float(solution.state.neurons[ring].v[0] - precise.state.neurons[ring].v[0])
        assert abs(off) < 0.1 * dt
    assert errors[1] < 0.05 and errors[0] / errors[1] > 6, errors


def solvers_of(name):
    """Those that can take the neuron."""
    closed = [("Exact", ep.Exact(SLOTS))] if isinstance(NEURONS[name].neuron, ep.ClosedForm) else []
    return [*closed, ("Hybrid", hybrid()), ("Grid", None)]


TABLE = [
    pytest.param(name, topology, solver, id=f"{name}-{topology}-{kind}", marks=pytest.mark.slow)
    for name in NEURONS
    for topology in topologies(NEURONS[name])
    for kind, solver in solvers_of(name)
]


@pytest.mark.parametrize(("name", "topology", "solver"), TABLE)
def test_right_spikes(x64, name, topology, solver):
    """To 1e-7 and better; by Grid with errors that fall with the step as they should, or are small already.

    Neurons with an exponential upstroke fire within a step of the right moment.
    """
    case, wires = NEURONS[name], topologies(NEURONS[name])[topology]
    right = by_force(case, wires, T1)
    if solver is not None:
        times, found = run([case, case], wires, solver)
        for (expected, state), spikes, y in zip(right, times, found.state.neurons, strict=True):
            np.testing.assert_allclose(spikes, expected, rtol=0, atol=1e-7)
            v = case.neuron.voltage(state)
            np.testing.assert_allclose(case.neuron.voltage(y), v, rtol=1e-6, atol=1e-6)
        return
    errors = []
    for dt in (COARSE, FINE):
        times, found = run([case, case], wires, ep.Grid(dt, SLOTS))
        both = zip(times, right, found.state.neurons, strict=True)
        if isinstance(case.neuron, ep.LI):
            errors.append(max(float(np.max(np.abs(y.v - state.v))) for _, (_, state), y in both))
            continue
        assert [len(x) for x in times] == [len(expected) for expected, _ in right]
        errors.append(max(float(np.max(np.abs(x - expected))) for x, (expected, _), _ in both if len(x)))
    if isinstance(case.neuron, ep.EIF | ep.AdEx):
        # An upstroke shorter than a step tells only the step that it is in; each spike moves all later ones.
        most = sum(len(expected) for expected, _ in right)
        assert errors[0] < COARSE * most and errors[1] < FINE * most, errors
    else:
        # Errors may change their sign on the way: those of ALIF with conductances are 3.4e-3, 3.3e-4, 4.3e-5, 1.2e-4,
        # 2.8e-5, 6.5e-6 from dt = 0.08 to 0.0025, so that no ratio tells where they are as small as 2 dt^2.
        assert errors[1] < 1e-2 and (errors[1] < 2 * FINE**2 or errors[0] / errors[1] > 6), errors
