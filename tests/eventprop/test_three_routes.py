"""Implicit, EventProp and central differences: two layers of each neuron, and a random recurrent network."""

import diffrax
import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
from tests.eventprop.differences import central_differences
from tests.eventprop.golden_neurons import TIMES
from tests.eventprop.neuron_table import NEURONS, T1
from tests.eventprop.pairs import KEY, network, spikes_of, topologies

PRECISE = diffrax.PIDController(rtol=1e-11, atol=1e-11)
STEPS = (1e-3, 1e-4, 1e-5)


def hybrid(slots, steps):
    return ep.Hybrid(2.0, slots, steps, solver=diffrax.Dopri8(), stepsize_controller=PRECISE)


def arrays(tree):
    """Python's numbers are parameters too."""
    return jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, float) else x, tree)


def look(found):
    """A number to which all spikes and the ends of all potentials contribute."""
    trains = [jnp.where(s.times < jnp.inf, jnp.sin(s.times / 7), 0) for s in found.spikes if s is not None]
    ends = [jnp.sum(jnp.sin(jax.tree.leaves(y)[0] / 10)) for y in found.state.neurons]
    return jnp.where(found.result == ep.RESULTS.successful, sum(map(jnp.sum, trains)) + sum(ends), jnp.nan)


def three_routes(model, loss, directions):
    """Gradients by both adjoints in full, and along directions [m, n] (parts of each number) by differences."""
    numbers, rest = eqx.partition(model, eqx.is_inexact_array)
    flat, back = jax.flatten_util.ravel_pytree(numbers)

    def of(x, adjoint=ep.Implicit()):
        return loss(eqx.combine(back(x), rest), adjoint)

    implicit, adjoint = (jax.jit(jax.grad(lambda x, a=a: of(x, a)))(flat) for a in (ep.Implicit(), ep.EventProp()))
    scale = np.abs(flat)
    np.testing.assert_allclose(
        implicit * scale, adjoint * scale, rtol=1e-6, atol=1e-7 * np.max(np.abs(implicit * scale))
    )
    moved = np.asarray(directions) * scale
    differences = central_differences(jax.jit(lambda xs: jax.lax.map(of, xs)), np.asarray(flat), moved, STEPS)
    expected = moved @ np.asarray(adjoint)
    close = np.min(np.abs(differences - expected), axis=0)
    np.testing.assert_array_less(close, 1e-6 * (np.abs(expected) + np.max(np.abs(implicit * scale))))


@pytest.mark.slow
@pytest.mark.parametrize("name", NEURONS)
def test_two_layers(x64, name):
    """By everything that there is: weights, delays, times of the input, and the numbers of the neuron."""
    case, wires = NEURONS[name], topologies(NEURONS[name])["feed-forward"]
    pair = network([case, case], wires)
    model = arrays((pair, jnp.asarray(TIMES)))
    size = sum(x.size for x in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
    start = None if isinstance(case.neuron, ep.Stochastic) else ep.NetworkState(tuple(n.init(1) for n in pair.neurons))

    def loss(model, adjoint):
        pair, times = model
        spikes = spikes_of(len(case.charges), times)
        return look(
            ep.simulate(pair, spikes, T1, solver=hybrid(24, 1536), adjoint=adjoint, state=start, key=KEY, throw=False)
        )

    three_routes(model, loss, np.random.default_rng(1).normal(size=(3, size)))


def alifs():
    """20 adaptive neurons, all of which hear each other with delays of their own, and 4 inputs."""
    rng = np.random.default_rng(0)
    adaptation = ep.AdaptiveThreshold(jnp.full(20, 0.3), jnp.full(20, 60.0))
    neuron = ep.ALIF(
        *(jnp.asarray(rng.uniform(15, 25, 20)), ep.CurrentSynapses(jnp.full(20, 5.0)), adaptation),
        *(jnp.asarray(rng.uniform(0.9, 1.1, 20)), ep.ResetBySubtraction(), jnp.full(20, 1.5)),
    )
    lateral = ep.Dense(jnp.asarray(rng.normal(0, 0.3, (20, 20))), delay=jnp.asarray(rng.uniform(0.5, 4, (20, 20))))
    network = ep.Recurrent([(ep.Dense(jnp.asarray(rng.normal(1.0, 0.5, (20, 4)))), neuron, lateral)])
    times = np.sort(rng.uniform(0, 25, 16))
    return network, ep.Spikes(jnp.asarray(times), jnp.asarray(rng.integers(0, 4, 16).astype(np.int32)))


@pytest.mark.slow
def test_random_recurrent_network(x64):
    """20 adaptive neurons: by weights, delays, time constants, thresholds and adaptation, each on its own."""
    network, spikes = alifs()

    def loss(network, adjoint):
        solver = hybrid(8, 1024)
        return look(ep.simulate(network, spikes, 35.0, solver=solver, adjoint=adjoint, throw=False))

    found = ep.simulate(network, spikes, 35.0, solver=hybrid(8, 1024))
    assert np.sum(found.spikes[0].count()) >= 20
    groups = {}
    numbers = eqx.filter(network, eqx.is_inexact_array)
    leaves = jax.tree_util.tree_leaves_with_path(numbers)
    for path, leaf in leaves:
        groups[jax.tree_util.keystr(path)] = leaf.size
    rng, ends = np.random.default_rng(2), np.cumsum([0, *groups.values()])
    directions = np.zeros((len(groups), ends[-1]))
    for row, begin, end in zip(directions, ends[:-1], ends[1:], strict=True):
        row[begin:end] = rng.normal(size=end - begin)
    three_routes(network, loss, directions)
