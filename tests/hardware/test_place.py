import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import eventprop as ep
from eventprop import LI, LIF, Dense, FeedForward, Network, Recurrent
from hardware import place
from hardware.limits import BSS2
from hardware.weights import hardware_weights, keep_in_range, largest_weights, row_weights


def layers(*sizes, readout=True):
    neurons = [LIF(6.0, 6.0) for _ in sizes[1:-1]] + [LI(6.0, 6.0) if readout else LIF(6.0, 6.0)]
    pairs = zip(sizes[:-1], sizes[1:], neurons, strict=True)
    return FeedForward([(Dense(np.zeros((n, m))), neuron) for m, n, neuron in pairs])


def received(network, placement, weights):
    """What every source delivers to every circuit of the chip, event by event through buses, labels and rows."""
    label = np.full((2, 256, 256), -1)
    weight = np.zeros((2, 256, 256))
    for p, route, w in zip(network.projections, placement.routes, weights, strict=True):
        rows = np.asarray(row_weights(w, route.row_pairs.shape[1]))
        for i, copy in np.ndindex(*route.row_pairs.shape):
            for j, circuits in enumerate(placement.circuits[p.target]):
                array, column = divmod(circuits[route.slots[i, copy]], 256)
                for sign in range(2):
                    row = 2 * route.row_pairs[i, copy] + sign
                    assert label[array, row, column] == -1, "two synapses in one place"
                    label[array, row, column] = route.labels[i]
                    weight[array, row, column] = rows[i, copy, sign, j] * (1 - 2 * sign)
    # The crossbar: which output sends to which buses is one setting for all 64 neurons of the output.
    sends = {}
    for p, route in zip(network.projections, placement.routes, strict=True):
        for (i, _), pair in np.ndenumerate(route.row_pairs):
            slot = route.slots[i, _]
            arrays = {c[slot] // 256 for c in placement.circuits[p.target]}
            key = ("in", i) if p.source is None else ("out", placement.circuits[p.source][i, 0] % 256 // 32)
            if p.source is not None:
                assert pair % 4 == key[1] % 4, "an output reaches the buses of its number only"
            sends.setdefault(key, set()).update((a, pair % 4) for a in arrays)
    result = []
    for p, route in zip(network.projections, placement.routes, strict=True):
        found = np.zeros((len(placement.circuits[p.target]), p.connection.sources))
        for i in range(p.connection.sources):
            key = ("in", i) if p.source is None else ("out", placement.circuits[p.source][i, 0] % 256 // 32)
            for array, bus in sends[key]:
                hears = (np.arange(256) // 2 % 4 == bus)[:, None] & (label[array] == route.labels[i])
                charge = np.sum(np.where(hears, weight[array], 0), axis=0)
                for j, circuits in enumerate(placement.circuits[p.target]):
                    found[j, i] += sum(charge[c % 256] for c in circuits if c // 256 == array)
        result.append(found)
    return result


NETWORKS = {
    "mnist": (layers(256, 246, 10), 1),
    "yin-yang": (layers(5, 120, 3), 5),
    "recurrent": (
        Recurrent(
            [
                (Dense(np.zeros((186, 70))), LIF(6.0, 6.0), Dense(np.zeros((186, 186)))),
                (Dense(np.zeros((20, 186))), LI(6.0, 6.0)),
            ]
        ),
        1,
    ),
    "both rows of circuits": (layers(4, 300, 3), 1),
    "four circuits": (layers(300, 70, 70, 2), 1),
    "skip": (
        Network(
            [LIF(6.0, 6.0), LIF(6.0, 6.0)],
            [(None, 0, Dense(np.zeros((40, 9)))), (None, 1, Dense(np.zeros((7, 9)))), (0, 1, Dense(np.zeros((7, 40))))],
        ),
        2,
    ),
}


@pytest.mark.parametrize(
    ("name", "avoided"), [*((name, 0) for name in NETWORKS), *((name, 2) for name in NETWORKS if name != "mnist")]
)  # mnist takes all circuits
def test_events_reach_their_synapses_and_no_others(name, avoided, rng):
    network, repetitions = NETWORKS[name]
    avoid = rng.choice(512, avoided, replace=False)
    placement = place(network, input_repetitions=repetitions, avoid=avoid)
    taken = np.concatenate([c.ravel() for c in placement.circuits])
    assert len(np.unique(taken)) == len(taken) and not np.any(np.isin(taken, avoid))
    for neuron in np.concatenate([c.reshape(-1, c.shape[1]) for c in placement.circuits if c.shape[1] > 1] or [[[0]]]):
        assert len({c % 256 // 128 for c in neuron}) == 1, "merged circuits lie in one half"
    weights = [
        jnp.asarray(rng.integers(-63 * r, 63 * r + 1, (p.connection.neurons, p.connection.sources)), float)
        for p, r in zip(network.projections, placement.repetitions, strict=True)
    ]
    # Whatever a projection's neurons get of a source is the sum over all projections from it.
    for found, w in zip(received(network, placement, weights), weights, strict=True):
        np.testing.assert_array_equal(found, w)


def test_circuits_that_are_avoided():
    """The next ones are taken; merged circuits lose a column."""
    network = layers(5, 3, 2)
    single = place(network, avoid=[1, 4])
    np.testing.assert_array_equal(np.concatenate(single.circuits), [[0], [2], [3], [5], [6]])
    (merged, _) = place(layers(256, 3, 2), avoid=np.array([257])).circuits
    np.testing.assert_array_equal(merged, [[0, 256], [2, 258], [3, 259]])
    with pytest.raises(ValueError, match="1026 circuits, and the chip has 511"):
        place(layers(256, 513), avoid=[7])
    for wrong in ([512], [-1], [0.5], [True, False], 3):
        with pytest.raises(ValueError, match="avoid must be a list of circuits, whole numbers from 0 to 511"):
            place(network, avoid=wrong)


def test_mnist_has_the_canonical_labels():
    placement = place(layers(256, 246, 10))
    i = np.arange(256)
    assert [c.shape for c in placement.circuits] == [(246, 2), (10, 2)]
    np.testing.assert_array_equal(placement.routes[0].labels, i // 4 % 32 + 32)
    np.testing.assert_array_equal(placement.routes[1].labels, i[:246] % 32)


@pytest.mark.parametrize(
    ("network", "limits", "message"),
    [
        (layers(256, 247, 10), BSS2, r"514 circuits, and the chip has 512.*fan-in: 256 signed inputs"),
        (layers(128, 513, readout=True), BSS2, "513 circuits"),
        (layers(128 * 257, 1), BSS2, "258 circuits, and the chip has 512, of which a neuron takes those of one half"),
        # 33 neurons on one bus need a second circuit each, which 500 of them have not
        (layers(1, 64, 448), dataclasses.replace(BSS2, outputs=4), "more than 32 neurons .* bus 0, which has 32 row"),
        # three hidden layers of 32 neurons per bus, all of them to the same array: 96 labels
        (layers(128, 128, 128, 128), BSS2, None),
        (layers(33, 40), dataclasses.replace(BSS2, addresses=8), "labels: input 32 finds no label"),
        (
            layers(1, 40, 3),
            dataclasses.replace(BSS2, disabled=((1, 1),)),
            "output 1 of population 0 cannot reach bus 1",
        ),
    ],
)
def test_what_cannot_be_routed_is_refused_by_name(network, limits, message):
    if message is None:
        place(network, limits)
    else:
        with pytest.raises(ValueError, match=message):
            place(network, limits)


def test_neurons_get_more_circuits_where_a_bus_is_full():
    # 64 neurons of output 0 and 4 (columns 0-31 and 128-159) share bus 0.
    network = layers(1, 160, 3)
    assert [c.shape[1] for c in place(network).circuits] == [1, 2]


def test_a_closed_link_from_outside_is_avoided():
    closed = dataclasses.replace(BSS2, disabled=tuple((link, 0) for link in range(8, 12)))
    placement = place(layers(5, 12, 3), closed)
    assert not np.any(placement.routes[0].row_pairs % 4 == 0)


def test_delays_are_refused():
    network = FeedForward([(Dense(np.zeros((2, 3)), delay=1.0), LIF(6.0, 6.0))])
    with pytest.raises(ValueError, match="has a delay, which the chip has not"):
        place(network)


def test_one_source_with_mixed_signs_takes_two_rows():
    network = FeedForward([(Dense(np.asarray([[5.4], [-7.6], [0.0]])), LI(6.0, 6.0))])
    placement = place(network)
    assert placement.routes[0].row_pairs.shape == (1, 1)
    weights, saturated = hardware_weights(network, placement, 1.0)
    np.testing.assert_array_equal(row_weights(weights[0]), [[[[5, 0, 0], [0, 8, 0]]]])
    assert saturated == 0


def test_weights_are_rounded_and_saturate_in_all_their_rows():
    network = FeedForward([(Dense(np.asarray([[0.8], [-2.0], [4.0]])), LI(6.0, 6.0))])
    weights, saturated = hardware_weights(network, place(network, input_repetitions=3), 64.1)
    np.testing.assert_array_equal(weights[0], [[51], [-128], [189]])
    np.testing.assert_array_equal(row_weights(weights[0], 3)[0, :, 0], [[51, 0, 63], [0, 0, 63], [0, 0, 63]])
    np.testing.assert_array_equal(row_weights(weights[0], 3)[0, :, 1], [[0, 63, 0], [0, 63, 0], [0, 2, 0]])
    assert saturated == 1


def test_updates_end_where_weights_saturate():
    """63 LSB times the row pairs over LSB per unit of weight; nothing is stuck there."""
    key = jax.random.key(0)
    layers = [(ep.Dense.init(n, m, ep.Normal(0.0, 0.5), key=key), ep.LIF(10.0, 10.0)) for n, m in ((3, 4), (4, 2))]
    network = ep.FeedForward(layers)
    placement = place(network, input_repetitions=2)
    np.testing.assert_allclose(largest_weights(placement, [30.0, 60.0]), [126 / 30, 63 / 60])
    optimiser = optax.chain(optax.sgd(1.0), keep_in_range(placement, [30.0, 60.0]))
    pushed = jax.tree.map(lambda x: jnp.sign(jnp.sin(7 * x)) * 9, eqx.filter(network, eqx.is_array))
    state = optimiser.init(network)
    for sign, moved in ((-1, True), (1, False)):
        updates, state = optimiser.update(jax.tree.map(lambda x, s=sign: s * x, pushed), state, network)
        network = eqx.apply_updates(network, updates)
        for p, push, most in zip(network.projections, pushed.projections, (4.2, 1.05), strict=True):
            push = np.asarray(push.connection.weight)
            np.testing.assert_allclose(p.connection.weight, np.sign(push) * most * (1 if moved else -1), rtol=1e-6)
        assert int(hardware_weights(network, placement, [30.0, 60.0]).saturated) == 0
    with pytest.raises(ValueError, match="keep_in_range needs the parameters"):
        optimiser.update(pushed, state)
    with pytest.raises(ValueError, match="weight_scale has 3 numbers, but the network 2 projections"):
        largest_weights(placement, [1.0, 2.0, 3.0])


def two_ports(synapses, weights):
    neuron = ep.EIF(10.0, synapses, sharpness=1.0, peak=10.0)
    network = ep.Network(
        [neuron], [(None, 0, ep.Dense(jnp.asarray([[w]]), port=port)) for port, w in enumerate(weights)]
    )
    return hardware_weights(network, place(network), 10.0)


def test_ports_are_inputs_of_either_sign():
    """Conductances are positive at both ports of a model; on the chip those of the second inhibit."""
    conductances = ep.ConductanceSynapses((5.0, 5.0), (0.0, -80.0))
    assert [float(x[0, 0]) for x in two_ports(conductances, (2.0, 3.0)).values] == [20, -30]
    assert float(two_ports(ep.ConductanceSynapses(5.0, 20.0), (2.0,)).values[0][0, 0]) == 20
    with pytest.raises(RuntimeError, match="the receptor of population 0 inhibits"):
        two_ports(ep.ConductanceSynapses(5.0, -80.0), (2.0,))
    currents = ep.CurrentSynapses((5.0, 8.0))
    assert [float(x[0, 0]) for x in two_ports(currents, (2.0, -3.0)).values] == [20, -30]
    with pytest.raises(RuntimeError, match="weights to port 1 of population 0 must not be positive"):
        two_ports(currents, (2.0, 3.0))
    with pytest.raises(ValueError, match="have 3 receptors, but circuits of the chip"):
        two_ports(ep.CurrentSynapses((5.0, 8.0, 2.0)), (2.0,))
