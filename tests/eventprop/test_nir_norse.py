"""The same graph in Norse: its spikes beside ours (skipped where Norse is not installed)."""

import warnings

import numpy as np
import pytest

import eventprop as ep

nir = pytest.importorskip("nir")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch warns of its own parts
    torch = pytest.importorskip("torch")
    norse = pytest.importorskip("norse.torch.utils.import_nir")

from tests.eventprop.nir_reference import EVENTS, T1, recurrent  # noqa: E402
from tests.eventprop.test_nir import RIGHT, in_ms, same, spikes, trains  # noqa: E402

pytestmark = pytest.mark.slow
STEP = 2e-5


def in_norse(graph) -> list[list[float]]:
    """Spike times in ms of the last layer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nirtorch calls what it deprecates
        network = norse.from_nir(graph, dt=STEP)
    drive = torch.zeros(round(T1 / STEP), 2)
    for t, source in EVENTS:
        drive[round(t / STEP), source] += 1
    state, fired = None, []
    with torch.no_grad():
        for step, x in enumerate(drive):
            z, state = network(x, state)
            fired += [((step + 1) * STEP, k) for k in torch.nonzero(z).ravel().tolist()]
    return in_ms(fired, 2)


def test_norse_and_we_read_the_same_graph():
    """Counts are equal; each spike of Euler's method is late by a part of a step, and hands that on: 9 in the last."""
    theirs = in_norse(recurrent(STEP))
    same([theirs], RIGHT[1:], 1e4 * STEP)
    first = [row[0] for row in theirs]
    np.testing.assert_allclose(first, [row[0] for row in RIGHT[1]], rtol=0, atol=1e3 * STEP)


def test_norse_reads_ours(tmp_path):
    """A network of ours, written, read by Norse, and our own spikes."""
    network, _ = ep.from_nir(recurrent(1.0), dt=1.0)
    nir.write(tmp_path / "network.nir", ep.to_nir(network, dt=STEP))
    ours = ep.simulate(network, spikes(), 1e3 * T1, solver=ep.Exact(max_spikes=12)).spikes[1]
    same([in_norse(nir.read(tmp_path / "network.nir"))], [trains(ours)], 1e4 * STEP)
