"""Convolutions and sparse synapses against the dense matrix that they stand for, and skip connections."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep


def conv(rng, size=(5, 4), stride=2, padding=1, delay=None):
    return ep.Conv(jnp.asarray(rng.normal(2.0, 1.0, (3, 2, 3, 2))), size, stride, padding, delay)


def sparse(rng, delay=None):
    target = np.stack([rng.permutation(7)[:3] for _ in range(6)])
    target[2, 2] = 7  # one synapse less
    return ep.Sparse(jnp.asarray(rng.normal(2.0, 2.0, (6, 3))), jnp.asarray(target), 7, delay)


def matrix(connection, values=None):
    """[neurons, sources], column by column."""
    values = connection.weight if values is None else values
    return connection.spread(values, jnp.arange(connection.sources)).T


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_is_that_of_equinox(x64, rng, stride):
    connection = conv(rng, stride=stride)
    layer = eqx.nn.Conv2d(2, 3, (3, 2), stride, 1, use_bias=False, key=jax.random.key(0))
    layer = eqx.tree_at(lambda c: c.weight, layer, connection.weight)
    image = rng.normal(size=(2, 5, 4))
    expected = layer(jnp.asarray(image))
    assert connection.output_size == expected.shape[1:] and connection.sources == 40
    np.testing.assert_allclose(matrix(connection) @ image.ravel(), expected.ravel(), rtol=1e-12)


def test_a_convolution_in_one_dimension(x64):
    connection = ep.Conv(jnp.array([[[1.0, 2.0, 3.0]]]), (4,))
    np.testing.assert_array_equal(matrix(connection), [[1, 2, 3, 0], [0, 1, 2, 3]])


@pytest.mark.parametrize("kind", [conv, sparse, lambda rng: ep.Dense(jnp.asarray(rng.normal(size=(3, 5))))])
def test_counts_of_all_sources_at_once(precision, rng, kind):
    """`project` is the product with the matrix, for any leading axes."""
    connection = jax.tree.map(lambda x: x.astype(precision) if jnp.issubdtype(x.dtype, jnp.floating) else x, kind(rng))
    counts = jnp.asarray(rng.normal(size=(2, 4, connection.sources)), precision)
    found = connection.project(counts)
    assert found.dtype == precision
    np.testing.assert_allclose(found, counts @ matrix(connection).T, rtol=0, atol=200 * np.finfo(precision).eps)
    one = jax.vmap(jax.vmap(connection.project))(counts)
    np.testing.assert_allclose(one, found, rtol=0, atol=200 * np.finfo(precision).eps)


@pytest.mark.parametrize("kind", [conv, sparse])
@pytest.mark.parametrize("per_synapse", [False, True])
def test_spikes_and_gradients_are_those_of_the_dense_matrix(x64, rng, kind, per_synapse):
    connection = kind(rng)
    delay = jnp.asarray(rng.uniform(0, 3, connection.weight.shape if per_synapse else (connection.sources,)))
    connection = eqx.tree_at(lambda c: c.delay, connection, delay, is_leaf=lambda x: x is None)
    dense_delay = matrix(connection, delay) if per_synapse else delay
    times = jnp.asarray(np.sort(rng.uniform(0, 20, 25)))
    index = jnp.asarray(rng.integers(connection.sources, size=25))

    @eqx.filter_jit
    def run(connection):
        def total(connection):
            network = ep.FeedForward([(connection, ep.LIF(20.0, 5.0))])
            found = ep.simulate(network, ep.Spikes(times, index), 60.0, solver=ep.Exact(30)).spikes[0].times
            return jnp.sum(jnp.where(found < jnp.inf, found, 0)), found

        return eqx.filter_value_and_grad(total, has_aux=True)(connection)

    (_, found), gradient = run(connection)
    (_, expected), dense = run(ep.Dense(matrix(connection), dense_delay))
    assert jnp.sum(found < jnp.inf) > 5
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    # The dense gradient, gathered over all places that share a weight.
    pulled = jax.vjp(lambda values: matrix(connection, values), connection.weight)[1](dense.weight)[0]
    np.testing.assert_allclose(gradient.weight, pulled, rtol=1e-9, atol=1e-12)
    if per_synapse:
        pulled = jax.vjp(lambda values: matrix(connection, values), delay)[1](dense.delay)[0]
        np.testing.assert_allclose(gradient.delay, pulled, rtol=1e-9, atol=1e-12)
    else:
        np.testing.assert_allclose(gradient.delay, dense.delay, rtol=1e-9, atol=1e-12)


def test_a_skip_connection_adds_its_spikes(x64):
    """Input -> 0 -> 1 and input -> 1: population 1 hears both, as one layer does that hears all of their spikes."""
    direct, below, above = 2.0 * jnp.ones((2, 1)), jnp.array([[9.0], [7.0]]), jnp.array([[4.0, 1.0], [0.5, 3.0]])
    neuron, solver = ep.LIF(20.0, 5.0), ep.Exact(6)
    network = ep.Network(
        [neuron, neuron], [(None, 0, ep.Dense(below)), (0, 1, ep.Dense(above, 1.5)), (None, 1, ep.Dense(direct))]
    )
    spikes = ep.Spikes(jnp.array([2.0, 10.0]), jnp.array([0, 0]))
    solution = ep.simulate(network, spikes, 50.0, solver=solver)
    hidden = np.asarray(solution.spikes[0].times)
    heard = [(t, 0) for t in (2.0, 10.0)] + [(t + 1.5, 1 + n) for n in range(2) for t in hidden[n][hidden[n] < np.inf]]
    times, index = zip(*sorted(heard), strict=True)
    alone = ep.FeedForward([(ep.Dense(jnp.concatenate([direct, above], axis=1)), neuron)])
    expected = ep.simulate(alone, ep.Spikes(jnp.array(times), jnp.array(index)), 50.0, solver=solver)
    assert np.sum(np.isfinite(expected.spikes[0].times)) > 4
    np.testing.assert_allclose(solution.spikes[1].times, expected.spikes[0].times, rtol=1e-12)


def test_a_readout_may_listen_sparsely(x64, rng):
    """Its largest potentials are those behind the dense matrix."""
    connection, spikes = sparse(rng), ep.Spikes(jnp.array([1.0, 3.0, 8.0]), jnp.array([0, 2, 5]))

    def maxima(connection):
        network = ep.FeedForward([(connection, LI)])
        solution = ep.simulate(network, spikes, 30.0, solver=ep.Exact(1))
        return ep.voltage_maximum(network, spikes, solution, 30.0)

    expected = maxima(ep.Dense(matrix(connection)))
    assert jnp.any(expected > 0)
    np.testing.assert_allclose(maxima(connection), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("message", "make"),
    [
        (r"weight must be \[out channels", lambda: ep.Conv(jnp.ones((1, 1, 3)), (4, 4))),
        ("stride must be a whole number from 1, but is 0", lambda: ep.Conv(jnp.ones((1, 1, 3)), (4,), 0)),
        ("stride must be a whole number, but is 1.5", lambda: ep.Conv(jnp.ones((1, 1, 3)), (4,), 1.5)),
        ("padding must be a whole number from 0", lambda: ep.Conv(jnp.ones((1, 1, 3)), (4,), padding=-1)),
        ("size must be one number per spatial dimension", lambda: ep.Conv(jnp.ones((1, 1, 3)), 4)),
        ("size must be a whole number, but is 4.0", lambda: ep.Conv(jnp.ones((1, 1, 3)), (4.0,))),
        ("out_channels must be a whole number from 1", lambda: ep.Conv.init((4,), 1, 0, 3, NORMAL, key=KEY)),
        ("kernel must be a whole number from 1", lambda: ep.Conv.init((4,), 1, 2, 0, NORMAL, key=KEY)),
        ("source must be a whole number, but is 0.0", lambda: ep.Network([LIF], [(None, 0, ONE), (0.0, 0, ONE)])),
        ("exceeds the input", lambda: ep.Conv(jnp.ones((1, 1, 5)), (4,))),
        ("names a neuron twice", lambda: ep.Sparse(jnp.ones((1, 2)), jnp.array([[1, 1]]), 3)),
        ("target must not be negative", lambda: ep.Sparse(jnp.ones((1, 2)), jnp.array([[-1, 1]]), 3)),
        (r"\(1, 2\) and \(1, 3\)", lambda: ep.Sparse(jnp.ones((1, 2)), jnp.array([[0, 1, 2]]), 3)),
        ("no projection ends on layer 1", lambda: ep.Network([LIF, LIF], [(None, 0, ep.Dense([[1.0]]))])),
        ("no projection comes from the input", lambda: ep.Network([LIF], [(0, 0, ep.Dense([[1.0]]))])),
        ("names one of 1 populations that is none", lambda: ep.Network([LIF], [(None, 1, ep.Dense([[1.0]]))])),
        ("does not spike, so layer 1 is silent", lambda: ep.Network([LI, LIF], [(None, 0, ONE), (0, 1, ONE)])),
        ("different numbers of neurons", lambda: ep.Network([LIF], [(None, 0, ONE), (0, 0, ep.Dense([[1.0], [1.0]]))])),
        (r"projection 0 must be \(source, target, connection\)", lambda: ep.Network([LIF], [(None, ONE)])),
    ],
)
def test_bad_networks_are_refused(message, make):
    with pytest.raises(ValueError, match=message):
        make()


LIF, LI, ONE = ep.LIF(20.0, 5.0), ep.LI(20.0, 5.0), ep.Dense([[1.0]])
NORMAL, KEY = ep.Normal(1.0, 1.0), jax.random.key(0)
