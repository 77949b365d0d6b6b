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
