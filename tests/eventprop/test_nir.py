"""NIR graphs: their equations, our networks and back, files, and what has no counterpart."""

import builtins
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep

nir = pytest.importorskip("nir")

from tests.eventprop.nir_reference import EVENTS, T1, euler, everything, recurrent  # noqa: E402

RIGHT = [
    [
        [8.378925, 16.593105, 25.614699, 30.867384],
        [8.391458, 12.749644, 17.204793, 26.310159, 29.442048],
        [13.166874, 20.051444, 24.385684, 29.923466],
    ],
    [
        [13.639473, 17.570909, 20.553392, 24.545372, 27.509356, 30.302187, 32.430185, 35.118818, 39.45203],
        [15.535527, 20.070518, 24.504029, 27.952858, 31.096058, 34.038979, 39.163523],
    ],
]
"""Spike times in ms of the graph `recurrent`, by the brute force of `network_reference` in NumPy."""


def spikes() -> ep.Spikes:
    return ep.Spikes.from_events([1e3 * t for t, _ in EVENTS], [source for _, source in EVENTS])


def trains(found: ep.SpikeTrains) -> list[list[float]]:
    return [np.asarray(row)[np.isfinite(row)].tolist() for row in found.times]


def in_ms(fired: list[tuple[float, int]], neurons: int) -> list[list[float]]:
    return [[1e3 * t for t, j in fired if j == k] for k in range(neurons)]


def same(times, others, atol) -> None:
    assert [list(map(len, layer)) for layer in times] == [list(map(len, layer)) for layer in others]
    for layer, other in zip(times, others, strict=True):
        for row, expected in zip(layer, other, strict=True):
            np.testing.assert_allclose(row, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("dt", [1e-3, 1.0])
def test_right_spikes(x64, dt):
    """Of a nested graph with recurrence, r and w_in; where a spike lasts dt, w_in makes up for it."""
    network, start = ep.from_nir(recurrent(dt), dt=dt)
    solution = ep.simulate(network, spikes(), 1e3 * T1, solver=ep.Exact(max_spikes=12), state=start)
    same([trains(found) for found in solution.spikes], RIGHT, 1e-6)


def test_a_framework_with_time_steps_finds_the_same(x64):
    """Errors of Euler's method fall with its step; those of a spike are handed on to all later ones."""
    errors = []
    for h in (8e-5, 1e-5):
        fired, _ = euler(recurrent(h), EVENTS, T1, h)
        times = [in_ms(fired["layer.lif"], 3), in_ms(fired["out"], 2)]
        same(times, RIGHT, 1e4 * h)
        rows = [
            (row, right)
            for layer, other in zip(times, RIGHT, strict=True)
            for row, right in zip(layer, other, strict=True)
        ]
        errors.append(np.mean([np.mean(np.abs(np.subtract(row, right))) for row, right in rows]))
    assert errors[1] < 0.03 and errors[0] / errors[1] > 4, errors


@pytest.mark.slow
def test_all_kinds_of_nodes(x64):
    """LIF, CubaLI, LI, Scale, Affine with bias, Delay before and behind weights: as Euler's method has them."""
    h = 1e-5
    fired, v = euler(everything(h), EVENTS, T1, h)
    network, start = ep.from_nir(everything(h), dt=h)
    assert [type(neuron) for neuron in network.neurons] == [ep.LIF, ep.DeltaLIF, ep.LI, ep.DeltaLI]
    solver = ep.Hybrid(1.0, max_spikes=16)
    solution = ep.simulate(network, spikes(), 1e3 * T1, solver=solver, state=start)
    expected = [in_ms(fired["a"], 3), in_ms(fired["b"], 2)]
    same([trains(found) for found in solution.spikes[:2]], expected, 0.05)
    ends = [neuron.voltage(y)[0] for neuron, y in zip(network.neurons[2:], solution.state.neurons[2:], strict=True)]
    np.testing.assert_allclose(ends, [v["current"][0], v["readout"][0]], atol=2e-3)
    again, _ = ep.from_nir(ep.to_nir(network, dt=h), dt=h)
    for ours, theirs in zip(jax.tree.leaves(network), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)


def network() -> ep.AbstractNetwork:
    key = jax.random.key(0)
    lif = ep.LIF(jnp.array([20.0, 17.0, 12.5]), 5.0, 0.9, ep.ResetToValue(-0.3), bias=0.1)
    delayed = ep.Dense.init(2, 3, ep.Normal(3.0, 1.0), key=key, delay=jnp.array([0.7, 1.9]))
    lateral = ep.Dense.init(3, 3, ep.Normal(0.0, 0.5), key=key, delay=1.3)
    readout = ep.Dense.init(3, 2, ep.Normal(1.0, 0.5), key=key, delay=jnp.array([[0.3], [2.1]]) * jnp.ones((2, 3)))
    return ep.Recurrent([(delayed, lif, lateral), (readout, ep.LI(11.0, 4.3))])


@pytest.mark.parametrize("dt", [1e-4, 1.0, None])
def test_round_trip_through_a_file(tmp_path, precision, dt):
    """Every number comes back: bits in single, to rounding in double precision; and the layout."""
    ours = jax.tree.map(lambda x: x.astype(precision) if isinstance(x, jax.Array) else x, network())
    nir.write(tmp_path / "network.nir", ep.to_nir(ours, dt=dt))
    theirs, start = ep.from_nir(nir.read(tmp_path / "network.nir"), dt=dt)
    assert theirs.neurons[0].reset.value == -0.3 and theirs.neurons[0].tau_syn == pytest.approx(5.0, rel=1e-15)
    as_network = ep.Network(ours.neurons, ours.projections)
    assert jax.tree.structure(theirs) == jax.tree.structure(as_network)
    for a, b in zip(jax.tree.leaves(theirs), jax.tree.leaves(as_network), strict=True):
        assert np.shape(a) == np.shape(b)
        exact = precision == np.float32 and isinstance(b, jax.Array)
        np.testing.assert_allclose(a, b, rtol=0 if exact else 1e-15)
    np.testing.assert_allclose(start.neurons[0].v, 0.1)
    assert jnp.all(start.neurons[0].i == 0) and jnp.all(start.neurons[1].v == 0)


def test_other_connections_and_neurons_come_back_as_dense_ones():
    """Sparse and Conv with their zeros; subtraction as reset to 0; what drives nobody is an output."""
    sparse = ep.Sparse(jnp.array([[2.0, 3.0]]), jnp.array([[2, 0]]), 3)
    conv = ep.Conv(jnp.array([[[1.0, 2.0]]]), (3,), padding=1)
    delta = ep.DeltaLIF(10.0, 1.0, ep.ResetToValue(0.0))
    ours = ep.Network(
        [ep.LIF(20.0, 5.0), delta, ep.DeltaLI(5.0)], [(None, 0, sparse), (0, 1, conv), (None, 2, ep.Dense([[1.0]]))]
    )
    graph = ep.to_nir(ours, dt=1.0)
    assert {"output_1", "output_2"} < set(graph.nodes) and graph.nodes["neurons_0"].v_reset.tolist() == [0.0] * 3
    theirs, _ = ep.from_nir(graph, dt=1.0)
    np.testing.assert_array_equal(theirs.projections[0].connection.weight, [[3.0], [0.0], [2.0]])
    np.testing.assert_array_equal(theirs.projections[1].connection.weight, [[2, 0, 0], [1, 2, 0], [0, 1, 2], [0, 0, 1]])
    assert theirs.neurons[1:] == (delta, ep.DeltaLI(5.0))


@pytest.mark.parametrize(("dt", "cuba", "lif"), [(None, 24.0, 8.0), (1.0, 4800.0, 400.0), (1e-3, 4.8, 0.4)])
def test_how_much_a_spike_moves(dt, cuba, lif):
    """r w_in dt / tau_syn W of the current, r dt / tau W of a membrane: by hand for r = 2, w_in = 3, W = 4."""
    one = lambda value: np.array([value])  # noqa: E731
    nodes = {
        "input": nir.Input({"input": np.array([1])}),
        "w": nir.Linear(np.array([[4.0]])),
        "cuba": nir.CubaLIF(one(5e-3), one(0.02), one(2.0), one(0.0), one(1.0), w_in=one(3.0)),
        "lif": nir.LIF(one(0.02), one(2.0), one(0.0), one(1.0)),
    }
    found, _ = ep.from_nir(nir.NIRGraph(nodes, [("input", "w"), ("w", "cuba"), ("w", "lif")]), dt=dt)
    assert [p.connection.weight.item() for p in found.projections] == pytest.approx([cuba, lif])


def test_a_scalar_stands_for_all_neurons_and_a_bias_builds_up():
    """snnTorch gives one threshold per layer; b reaches the current by tau_syn, so it starts without it."""
    nodes = {
        "input": nir.Input({"input": np.array([1])}),
        "w": nir.Affine(np.array([[1.0], [2.0]]), np.array([0.5, -0.5])),
        "out": nir.CubaLIF(*(np.array(x) for x in (5e-3, 0.02, 2.0, 0.3, 1.0)), w_in=3.0),
    }
    graph = nir.NIRGraph(nodes, [("input", "w"), ("w", "out")], type_check=False)
    found, start = ep.from_nir(graph, dt=1e-3, time_unit=1.0)
    assert found.sizes == (2,) and found.neurons[0].tau_mem == 0.02 and found.neurons[0].threshold == 1.0
    np.testing.assert_allclose(found.neurons[0].bias, [0.3 + 3.0, 0.3 - 3.0], rtol=1e-6)
    np.testing.assert_allclose(start.neurons[0].i, [-3.0, 3.0], rtol=1e-6)
    np.testing.assert_allclose(start.neurons[0].v, 0.3, rtol=1e-6)


def chain(*inner, **more):
    names = [f"node_{k}" for k in range(len(inner))]
    nodes = {"input": nir.Input({"input": np.array([1])}), **dict(zip(names, inner, strict=True)), **more}
    stations = ["input", *names, *more]
    return nir.NIRGraph(nodes, list(itertools.pairwise(stations)), type_check=False)


ONE = np.ones(1)
LINEAR, LIF = nir.Linear(np.ones((1, 1))), nir.LIF(ONE, ONE, 0 * ONE, ONE)
OUTPUT = nir.Output({"output": np.array([1])})
BAD_GRAPHS = {
    "graph must be a nir.NIRGraph, but is a str": lambda: "network.nir",
    "node 'node_1' is of the kind IF, which has no": lambda: chain(LINEAR, nir.IF(ONE, ONE)),
    "'node_0' ends a weighted sum|'output' ends a weighted sum": lambda: chain(LINEAR, output=OUTPUT),
    "node 'node_1', a LI, drives 'node_3' by its potential": lambda: chain(LINEAR, nir.LI(ONE, ONE, ONE), LINEAR, LIF),
    "node 'node_1': tau_mem must be positive": lambda: chain(LINEAR, nir.LIF(0 * ONE, ONE, ONE, ONE)),
    "node 'node_1': threshold - reset value must be": lambda: chain(LINEAR, nir.LIF(ONE, ONE, ONE, ONE, ONE)),
    "must have one Input, but has 2": lambda: nir.NIRGraph(
        {"a": nir.Input({"input": ONE}), "b": nir.Input({"input": ONE}), "c": LIF}, [("a", "c"), ("b", "c")]
    ),
    "is in a cycle without neurons": lambda: nir.NIRGraph(
        {"a": nir.Input({"input": ONE}), "w": LINEAR, "u": LINEAR, "c": LIF},
        [("a", "w"), ("w", "u"), ("u", "w"), ("u", "c")],
        type_check=False,
    ),
    "'node_1' has 3 neurons, but signals for 1": lambda: chain(LINEAR, nir.LIF(*(np.ones(3),) * 4)),
    "'node_0' has a bias, which a Delay": lambda: chain(nir.Affine(np.ones((1, 1)), ONE), nir.Delay(ONE), LIF),
    "'node_2' adds up weighted spikes that have diff": lambda: chain(
        nir.Linear(np.ones((2, 1))), nir.Delay(np.array([1.0, 2.0])), nir.Linear(np.ones((1, 2))), LIF
    ),
    r"'node_0' has a weight of the shape \(1, 1, 1\)": lambda: chain(nir.Linear(np.ones((1, 1, 1))), LIF),
}


@pytest.mark.parametrize("message", BAD_GRAPHS)
def test_graphs_without_counterpart(message):
    with pytest.raises(ValueError, match=message):
        ep.from_nir(BAD_GRAPHS[message](), dt=1e-3)


LIF_NEURON, DENSE = ep.LIF(20.0, 5.0), ep.Dense([[1.0]])
BAD_NETWORKS = {
    "layer 0: NIR has no QIF neurons": lambda: [(DENSE, ep.QIF(10.0, ep.CurrentSynapses(5.0)))],
    "layer 0: refractory is 2.0, but NIR has no such": lambda: [(DENSE, ep.LIF(20.0, 5.0, refractory=2.0))],
    "layer 0: reset is ResetBySubtraction.* use ResetToValue": lambda: [(DENSE, ep.DeltaLIF(20.0))],
    r"projection 0: it has a delay per synapse.* \(2,\)": lambda: [
        (ep.Dense(jnp.ones((2, 2)), delay=jnp.array([[1.0, 2.0], [3.0, 5.0]])), LIF_NEURON)
    ],
}


@pytest.mark.parametrize("message", BAD_NETWORKS)
def test_networks_without_counterpart(message):
    with pytest.raises(ValueError, match=message):
        ep.to_nir(ep.FeedForward(BAD_NETWORKS[message]()), dt=1e-3)


def test_units_and_the_package(monkeypatch):
    layers = ep.FeedForward([(DENSE, LIF_NEURON)])
    with pytest.raises(ValueError, match=r"dt must be positive, but is 0.0"):
        ep.to_nir(layers, dt=0.0)
    with pytest.raises(ValueError, match=r"time_unit must be positive"):
        ep.from_nir(ep.to_nir(layers, dt=1.0), dt=1.0, time_unit=-1e-3)
    with pytest.raises(ValueError, match=r"'w' has a bias, which acts for as long as a step: give dt"):
        ep.from_nir(chain(w=nir.Affine(np.ones((1, 1)), ONE), lif=LIF), dt=None)
    found = builtins.__import__

    def without(name, *rest):
        if name == "nir":
            raise ImportError(name)
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'credax\[nir\]'"):
        ep.to_nir(layers, dt=1.0)
