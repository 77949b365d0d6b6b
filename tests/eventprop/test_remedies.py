"""Remedies for silent neurons: the increments by hand, and the chain with an optimiser."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import eventprop as ep
from eventprop.remedies import spike_count_regulariser, weight_bump


class Layers(eqx.Module):
    """Stands for a network: matrices are weights, everything else belongs to neurons."""

    layers: tuple

    def __init__(self, dtype=jnp.float32):
        self.layers = (
            (jnp.ones((3, 2), dtype), {"tau": jnp.ones(3, dtype), "bias": jnp.array(0.5, dtype)}),
            (jnp.full((2, 3), 2.0, dtype), {"tau": None}),
        )


@pytest.mark.parametrize(
    "silent, bumped",
    [
        ((0.16, 0.01), (True, False)),
        ((0.15, 0.0), (False, False)),
        ((0.1, 1.0), (False, True)),
        ((0.5, 0.0), (True, False)),
    ],
)
def test_weight_bump(precision, silent, bumped):
    """Of the first layer that is too silent."""
    updates = Layers(precision)
    remedy = weight_bump(1e-4, allowed=(0.15, 0.0))
    update = jax.jit(lambda updates, silent: remedy.update(updates, remedy.init(updates), silent=silent)[0])
    new = update(updates, tuple(jnp.array(ratio) for ratio in silent))
    assert new.layers[0][0].dtype == precision
    np.testing.assert_allclose(new.layers[0][0], 1 + 1e-4 * bumped[0], rtol=1e-7)
    np.testing.assert_allclose(new.layers[1][0], 2 + 1e-4 * bumped[1], rtol=1e-7)
    np.testing.assert_array_equal(new.layers[0][1]["tau"], 1.0)
    assert new.layers[0][1]["bias"] == 0.5


def test_spike_count_regulariser(precision):
    updates = Layers(precision)
    remedy = spike_count_regulariser(0.1, low=(1.0, 1.0), high=(4.0, 2.0))
    counts = (jnp.array([0.25, 2.0, 7.0]), jnp.array([1.0, 2.5]))
    new, _ = remedy.update(updates, remedy.init(updates), counts=counts)
    assert new.layers[0][0].dtype == precision
    np.testing.assert_allclose(new.layers[0][0], 1 + np.array([[-0.075, 0.0, 0.3]] * 2).T, rtol=1e-6)
    np.testing.assert_allclose(new.layers[1][0], 2 + np.array([[0.0, 0.05]] * 3).T, rtol=1e-6)
    np.testing.assert_array_equal(new.layers[0][1]["tau"], 1.0)


def test_without_any_layer_to_watch_nothing_is_bumped():
    remedy = weight_bump(1e-4, allowed=(0.15, 0.0))
    new, _ = remedy.update(Layers(), remedy.init(Layers()), silent=(None, None))
    np.testing.assert_array_equal(new.layers[0][0], 1.0)


def test_none_leaves_a_layer_alone():
    updates = Layers()
    counts = (jnp.zeros(3), None)
    remedy = spike_count_regulariser(0.1, low=(1.0, 1.0), high=(4.0, 2.0))
    new, _ = remedy.update(updates, remedy.init(updates), counts=counts)
    np.testing.assert_allclose(new.layers[0][0], 0.9, rtol=1e-6)
    np.testing.assert_array_equal(new.layers[1][0], 2.0)


def test_chained_with_an_optimiser_and_vmapped_over_strengths():
    network = Layers()
    gradients = jax.tree.map(jnp.zeros_like, network)

    def step(strength):
        optimiser = optax.chain(
            spike_count_regulariser(strength, low=(1.0, 0.0), high=(4.0, 4.0)),
            optax.sgd(0.5),
            weight_bump(1e-4, allowed=(0.15, 0.0)),
        )
        counts, silent = (jnp.zeros(3), jnp.ones(2)), (jnp.array(0.0), jnp.array(0.1))
        updates, _ = optimiser.update(gradients, optimiser.init(network), network, counts=counts, silent=silent)
        return optax.apply_updates(network, updates)

    new = jax.jit(jax.vmap(step))(jnp.array([0.1, 0.2]))
    np.testing.assert_allclose(new.layers[0][0][:, 0, 0], [1.05, 1.1], rtol=1e-6)
    np.testing.assert_allclose(new.layers[1][0], 2.0001, rtol=1e-6)


def test_numbers_of_layers_must_agree():
    updates = Layers()
    with pytest.raises(ValueError, match="silent has 1 entries for 2 layers"):
        weight_bump(1e-4, (0.15, 0.0)).update(updates, optax.EmptyState(), silent=(jnp.array(0.0),))
    with pytest.raises(ValueError, match="allowed has 1 entries for 2 layers"):
        weight_bump(1e-4, (0.15,)).update(updates, optax.EmptyState(), silent=(jnp.array(0.0),) * 2)
    with pytest.raises(ValueError, match="high has 1 entries for 2 layers"):
        remedy = spike_count_regulariser(0.1, low=(1.0, 1.0), high=(4.0,))
        remedy.update(updates, optax.EmptyState(), counts=(jnp.ones(3), jnp.ones(2)))
    with pytest.raises(ValueError, match=r"one value for each of 3 neurons, got \(2,\)"):
        remedy = spike_count_regulariser(0.1, low=(1.0, 1.0), high=(4.0, 4.0))
        remedy.update(updates, optax.EmptyState(), counts=(jnp.ones(2), jnp.ones(2)))


def test_bounds_are_checked():
    with pytest.raises(ValueError, match=r"from 0 to 1, got 1\.5"):
        weight_bump(1e-4, (1.5,))
    with pytest.raises(ValueError, match=r"got low = 2\.0, high = 1\.0"):
        spike_count_regulariser(0.1, (2.0,), (1.0,))
    for value in (np.nan, -1.0):
        with pytest.raises(ValueError, match="bump must not be negative"):
            weight_bump(value, (0.1,))
        with pytest.raises(ValueError, match="strength must not be negative"):
            spike_count_regulariser(value, (1.0,), (2.0,))


@pytest.mark.parametrize("silent", [np.nan, 2.0, -0.5])
def test_fractions_of_silence_are_fractions(silent):
    """NaN, the mean over no trial, used to count as a layer that is active enough."""
    with pytest.raises(ValueError, match="silent must hold fractions"):
        weight_bump(1e-4, (0.15,)).update((jnp.ones((2, 3)),), optax.EmptyState(), silent=(silent,))


def network(tau=20.0):
    """Two layers; a matrix among the parameters of neurons would be refused, vectors are not weights."""
    neurons = ep.LIF(jnp.full(3, tau), 5.0), ep.LIF(20.0, 5.0)
    return ep.FeedForward([(ep.Dense(jnp.zeros((3, 4))), neurons[0]), (ep.Dense(jnp.zeros((2, 3))), neurons[1])])


REMEDIES = {
    "bump": (weight_bump(0.5, (0.1, 0.1)), {"silent": (0.9, 0.9)}, [np.full((3, 4), 0.5), np.full((2, 3), 0.5)]),
    "homeostasis": (
        spike_count_regulariser(0.1, (1.0, 1.0), (2.0, 2.0)),
        {"counts": (jnp.zeros(3), jnp.full(2, 7.0))},
        [np.full((3, 4), -0.1), np.full((2, 3), 0.5)],
    ),
}


@pytest.mark.parametrize("name", REMEDIES)
@pytest.mark.parametrize("frozen", [0, 1])
def test_a_frozen_layer_keeps_its_entry_and_is_passed_over(name, frozen):
    """However it is frozen: `eqx.partition`, a mask of optax over leaves, connections or layers, or one of no signal.

    It used to be counted as no layer at all: "silent has 2 entries for 1 layers". No layer waits for a frozen one.
    """
    remedy, signals, expected = REMEDIES[name]
    whole = eqx.filter(network(), eqx.is_inexact_array)

    def chosen(tree, value):
        return eqx.tree_at(lambda n: n.layers[frozen][0].weight, tree, value)

    def trained(update):
        return update(whole if masked else partition, remedy.init(whole), **signals)[0].layers[1 - frozen][0].weight

    partition, masked = chosen(whole, None), False
    np.testing.assert_allclose(trained(remedy.update), expected[1 - frozen], rtol=1e-6)
    masks = [chosen(jax.tree.map(lambda _: True, whole), False)]
    for prefix in ((False, True), False):
        mask = jax.tree.map(lambda _: True, whole)
        masks.append(eqx.tree_at(lambda n: n.layers[frozen], mask, prefix))
    masked = True
    for mask in masks:
        over = optax.masked(remedy, mask)
        state = over.init(whole)
        new, _ = over.update(whole, state, **signals)
        np.testing.assert_allclose(new.layers[1 - frozen][0].weight, expected[1 - frozen], rtol=1e-6)
        np.testing.assert_array_equal(new.layers[frozen][0].weight, 0.0)
        np.testing.assert_array_equal(new.layers[0][1].tau_mem, 20.0)


@pytest.mark.parametrize("missing", [None, optax.MaskedNode()])
def test_a_frozen_matrix_of_a_tuple(missing):
    remedy, signals, expected = REMEDIES["bump"]
    new, _ = remedy.update((missing, jnp.zeros((2, 3))), optax.EmptyState(), **signals)
    assert new[0] == missing
    np.testing.assert_array_equal(new[1], expected[1])


def test_layers_above_wait_for_those_below_that_learn():
    remedy, signals, expected = REMEDIES["bump"]
    new, _ = remedy.update(network(), optax.EmptyState(), **signals)
    np.testing.assert_array_equal(new.layers[0][0].weight, expected[0])
    np.testing.assert_array_equal(new.layers[1][0].weight, 0.0)


def recurrent():
    """Two populations, the first with a lateral connection; delays per source and per synapse."""
    lif = ep.LIF(jnp.full(3, 20.0), 5.0)
    first = ep.Dense(jnp.zeros((3, 4)), delay=jnp.ones(4))
    lateral = ep.Dense(jnp.zeros((3, 3)), delay=jnp.ones((3, 3)))
    return ep.Recurrent([(first, lif, lateral), (ep.Dense(jnp.zeros((2, 3)), jnp.ones((2, 3))), ep.LIF(20.0, 5.0))])


def general():
    """The same as a graph, its projections in another order, with one that skips a population."""
    (first, lif, lateral), (second, out) = recurrent().layers
    skip = ep.Dense(jnp.zeros((2, 4)))
    return ep.Network([lif, out], [(0, 1, second), (0, 0, lateral), (None, 0, first), (None, 1, skip)])


@pytest.mark.parametrize("build", [recurrent, general])
def test_all_projections_onto_a_population_are_acted_on(build):
    """And nothing else: neither delays, which have the shape of weights, nor parameters of neurons."""
    updates = eqx.filter(build(), eqx.is_inexact_array)
    remedy, signals, _ = REMEDIES["homeostasis"]
    new, _ = remedy.update(updates, optax.EmptyState(), **signals)
    for p in new.projections:
        np.testing.assert_allclose(p.connection.weight, -0.1 if p.target == 0 else 0.5, rtol=1e-6)
        assert p.connection.delay is None or np.all(np.asarray(p.connection.delay) == 1)
    np.testing.assert_array_equal(new.neurons[0].tau_mem, 20.0)
    remedy, signals, _ = REMEDIES["bump"]
    new, _ = remedy.update(updates, optax.EmptyState(), **signals)
    for p in new.projections:
        np.testing.assert_allclose(p.connection.weight, 0.5 if p.target == 0 else 0.0)


@pytest.mark.parametrize("build", [recurrent, general])
def test_masks_over_a_network_of_any_topology(build):
    """One projection frozen: its fellow is acted on. All of a population: it keeps its entry, nobody waits for it."""
    whole = eqx.filter(build(), eqx.is_inexact_array)
    onto_first = [number for number, p in enumerate(whole.projections) if p.target == 0]

    def without(*numbers):
        return eqx.tree_at(
            lambda n: [n.projections[k].connection.weight for k in numbers], whole, [None] * len(numbers)
        )

    remedy, signals, _ = REMEDIES["bump"]
    new, _ = remedy.update(without(onto_first[0]), optax.EmptyState(), **signals)
    assert new.projections[onto_first[0]].connection.weight is None
    np.testing.assert_allclose(new.projections[onto_first[1]].connection.weight, 0.5)
    new, _ = remedy.update(without(*onto_first), optax.EmptyState(), **signals)
    for p in new.projections:
        assert p.target == 1 or p.connection.weight is None
        assert p.target == 0 or np.all(np.asarray(p.connection.weight) == 0.5)
    mask = eqx.tree_at(lambda n: n.projections[onto_first[0]].connection, jax.tree.map(lambda _: True, whole), False)
    over = optax.masked(remedy, mask)
    new, _ = over.update(whole, over.init(whole), **signals)
    np.testing.assert_allclose([np.mean(new.projections[k].connection.weight) for k in onto_first], [0.0, 0.5])


def test_a_whole_layer_of_a_recurrent_network_is_masked():
    whole = eqx.filter(recurrent(), eqx.is_inexact_array)
    remedy, signals, _ = REMEDIES["homeostasis"]
    mask = eqx.tree_at(lambda n: n.layers[0], jax.tree.map(lambda _: True, whole), False)
    over = optax.masked(remedy, mask)
    new, _ = over.update(whole, over.init(whole), **signals)
    np.testing.assert_array_equal(new.layers[0][0].weight, 0.0)
    np.testing.assert_allclose(new.layers[1][0].weight, 0.5, rtol=1e-6)


def test_homeostasis_of_sparse_and_shared_synapses(x64):
    """Each synapse gets its neuron's share: by the dense matrix of the connection, summed where a weight is shared."""
    remedy = spike_count_regulariser(1.0, (2.0,), (3.0,))
    target = jnp.array([[0, 2], [1, 3], [3, 0]])  # 3 stands for no synapse
    sparse = ep.Sparse(jnp.zeros((3, 2)), target, 3)
    conv = ep.Conv(jnp.zeros((2, 1, 2)), (4,), padding=1)
    for connection in (sparse, conv):
        whole = ep.FeedForward([(connection, ep.LIF(20.0, 5.0))])
        counts = jnp.arange(connection.neurons) / 2.0
        drive = np.maximum(np.asarray(counts) - 3, 0) - np.maximum(2 - np.asarray(counts), 0)
        filtered = eqx.filter(whole, eqx.is_inexact_array)
        new, _ = remedy.update(filtered, optax.EmptyState(), whole, counts=(counts,))
        back = jax.vjp(lambda w: connection.spread(w, jnp.arange(connection.sources)), connection.weight)[1]
        (expected,) = back(jnp.broadcast_to(drive, (connection.sources, connection.neurons)))
        np.testing.assert_allclose(new.layers[0][0].weight, expected, rtol=1e-12)
        if connection is sparse:
            np.testing.assert_allclose(expected, [[drive[0], drive[2]], [drive[1], 0], [0, drive[0]]])
            with pytest.raises(ValueError, match="the Sparse of projection 0 does not know its synapses"):
                remedy.update(filtered, optax.EmptyState(), counts=(counts,))
