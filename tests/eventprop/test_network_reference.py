"""The reference for networks of any topology, held to 40-digit arithmetic and to cases that can be told by hand."""

import numpy as np

from tests.eventprop import golden_network as golden
from tests.eventprop import network_reference
from tests.eventprop.network_reference import Projection
from tests.eventprop.reference import Neuron


def golden_run(t1=golden.T1, **options):
    neurons = [[Neuron(20.0, 5.0, reset_value=0.0, refractory=2.0)] * 5]
    projections = [
        Projection(None, 0, golden.INPUT_WEIGHT),
        Projection(0, 0, golden.WEIGHT, golden.DELAY),
    ]
    return network_reference.simulate(neurons, projections, golden.TIMES, golden.INDEX, t1, **options)


def test_golden_network():
    run = golden_run()
    for cell, expected in zip(run.cells[0], golden.SPIKES, strict=True):
        np.testing.assert_allclose(cell.spikes, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(run.values(0, "v"), golden.V, rtol=0, atol=1e-9)
    np.testing.assert_allclose(run.values(0, "i"), golden.I, rtol=0, atol=1e-9)
    np.testing.assert_allclose(np.sum(run.values(0, "integral")), golden.LOSSES["L2"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(np.min(run.slopes()), golden.SMALLEST_SLOPE, atol=1e-4)


def test_in_flight_at_the_end():
    """A spike of neuron 0 at 9.116609 is on its way to neuron 1, with delay 10, when the window ends at 15."""
    neurons = [[Neuron(20.0, 5.0)] * 2]
    projections = [
        Projection(None, 0, np.array([[8.0], [0.0]])),
        Projection(0, 0, np.array([[0.0, 0.0], [8.0, 0.0]]), 10.0),
    ]
    whole = network_reference.simulate(neurons, projections, [5.0], [0], 60.0)
    np.testing.assert_allclose(whole.trains(0, 1)[:, 0], [9.116609, 23.233217], atol=1e-6)
    cut = network_reference.simulate(neurons, projections, [5.0], [0], 15.0)
    np.testing.assert_allclose(cut.values(0, "v"), [0.511371, 0], atol=1e-6)
    np.testing.assert_allclose(cut.values(0, "i"), [1.082682, 0], atol=1e-6)
    start = [[(cell.v, cell.i, max(cell.free_at - 15.0, 0.0)) for cell in cut.cells[0]]]
    rest = network_reference.simulate(neurons, projections, [], [], 45.0, start=start, in_flight=cut.in_flight)
    np.testing.assert_allclose(rest.trains(0, 1)[:, 0], [np.inf, 8.233217], atol=1e-6)


def test_who_fires_at_a_moment_fires_before_anything_arrives():
    """Two identical neurons that inhibit each other without delay both fire; one that comes later is kept from it."""
    neurons = [[Neuron(20.0, 5.0)] * 3]
    inhibition = -30.0 * (1 - np.eye(3))
    projections = [Projection(None, 0, np.array([[8.0], [8.0], [7.9]])), Projection(0, 0, inhibition)]
    run = network_reference.simulate(neurons, projections, [5.0], [0], 60.0)
    np.testing.assert_allclose(run.trains(0, 1)[:, 0], [9.116609, 9.116609, np.inf], atol=1e-6)
