"""Hidden units, pattern completion, tempering and wide layers, beside enumeration."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sal
from tests.sal.test_boltzmann import machine

VISIBLE, UNITS = 3, 5


def clamped(patterns):
    """All visible units held."""
    held = jnp.tile(jnp.arange(UNITS) < VISIBLE, (len(patterns), 1))
    return sal.Clamp(held, jnp.pad(jnp.asarray(patterns, bool), ((0, 0), (0, UNITS - VISIBLE))))


def conditional(target, held, z):
    """The distribution over all states, given those that are held."""
    states = np.asarray(target.states)
    allowed = np.all((states == np.asarray(z)) | ~np.asarray(held), axis=1)
    p = np.where(allowed, target.probabilities(), 0)
    return p / p.sum()


@pytest.fixture(scope="module")
def network():
    weights, bias = (jnp.array(x, jnp.float32) for x in machine(6, UNITS))
    return sal.Network(sal.Recurrent(weights), bias, 4.0), sal.Boltzmann(weights, bias)


def test_a_wake_phase_has_the_moments_of_the_clamped_distributions(network, key):
    """Beside an oracle that enumerates the hidden units; chains that go on need no new start."""
    network, target = network
    patterns = clamped([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])

    @eqx.filter_jit
    def wake(states, key):
        return sal.wake_moments(network, 1000.0, clamp=patterns, chunks=10, dt=1.0, key=key, states=states)

    _, states, _ = wake(None, key)
    moments, states, result = wake(states, key)
    assert result == sal.RESULTS.successful and np.all(states.step == 20_000)
    oracle = [
        sal.distribution_moments(jnp.asarray(conditional(target, held, z), jnp.float32))
        for held, z in zip(patterns.neurons, patterns.z, strict=True)
    ]
    # 2500 refractory periods per pattern: a standard error of about .01, and less of the mean over patterns.
    np.testing.assert_allclose(moments.bias, np.mean([o.bias for o in oracle], axis=0), atol=0.02)
    np.testing.assert_allclose(moments.weight, np.mean([o.weight for o in oracle], axis=0), atol=0.02)
    with pytest.raises(ValueError, match=r"clamp must hold patterns, \[patterns, neurons\], got \(5,\)"):
        sal.wake_moments(network, 8.0, clamp=jax.tree.map(lambda x: x[0], patterns), dt=1.0, key=key)


def test_patterns_are_completed_as_the_distribution_wants(network, key):
    network, target = network
    held = jnp.arange(UNITS) == 0
    clamps = sal.Clamp(jnp.tile(held, (2, 1)), jnp.stack([held, jnp.zeros(UNITS, bool)]))
    complete = eqx.filter_vmap(
        lambda clamp, key: sal.measure_activities(network, 1000.0, chunks=10, dt=1.0, key=key, clamp=clamp)[0]
    )
    found = complete(clamps, jax.random.split(key))
    for activities, z in zip(found, clamps.z, strict=True):
        p = conditional(target, held, jnp.where(held, z, 0))
        np.testing.assert_allclose(activities, p @ np.asarray(target.states), atol=0.03)


COUPLING = 6.0


def bistable():
    """Two groups of three units that hold together and exclude each other; either mode has half of the mass."""
    same = np.kron(np.eye(2), np.ones((3, 3)))
    weights = COUPLING * (same - np.eye(6)) - COUPLING * (1 - same)
    bias = np.full(6, -2.0)
    return sal.Network(sal.Recurrent(jnp.array(weights, jnp.float32)), bias, 4.0), sal.Boltzmann(weights, bias)


def _count(counts, solution):
    return counts.at[sal.state_index(solution.observed)].add(1)


def test_tempering_finds_all_modes_and_samples_exactly(key):
    network, target = bistable()
    p = np.asarray(target.probabilities())
    assert p[0b000111] == pytest.approx(p[0b111000]) and p[0b000111] > 0.49
    betas = jnp.array([1.0, 0.6, 0.35, 0.2, 0.1])

    @eqx.filter_jit
    def run(key):
        tempered = sal.accumulate_tempered(
            _count, jnp.zeros(64, jnp.int32), network, 20.0, betas=betas, chunks=2000, dt=1.0, key=key,
            observe=sal.refractory_states,
        )  # fmt: skip
        alone, _, _ = sal.sample(network, 400.0, chunks=100, dt=1.0, key=key)
        return tempered[0] / jnp.sum(tempered[0]), tempered[3], tempered[2], alone

    found, swapped, result, alone = jax.vmap(run)(jax.random.split(key, 4))
    assert np.all(result == sal.RESULTS.successful)
    assert np.all((swapped > 0.1) & (swapped < 1))
    # Alone a network stays where it went first.
    modes = np.asarray(alone)[:, [0b000111, 0b111000]]
    assert np.all(np.max(modes, axis=1) > 0.9)
    mean = jnp.mean(found, axis=0)
    assert sal.kl_divergence(mean, target.probabilities()) < 3e-3
    np.testing.assert_allclose(mean[jnp.array([0b000111, 0b111000])], p[0b000111], atol=0.04)


def test_energies_and_temperatures(rng):
    weights, bias = machine(3, 4)
    z = jnp.array([1.0, 0.0, 1.0, 1.0])
    network = sal.Network(sal.Recurrent(jnp.array(weights)), jnp.array(bias), 4.0)
    z64 = np.asarray(z)
    np.testing.assert_allclose(sal.energy(network, z), -z64 @ weights @ z64 / 2 - bias @ z64, rtol=1e-5)
    warm = sal.tempered(network, 0.3)
    np.testing.assert_allclose(sal.energy(warm, z), 0.3 * sal.energy(network, z), rtol=1e-5)
    up = [jnp.asarray(rng.normal(size=(2, 3)))]
    layered = sal.Network(sal.Layered(up, up), jnp.zeros(5), 4.0)
    x = jnp.array([1.0, 0.0, 1.0, 0.0, 1.0])
    np.testing.assert_allclose(sal.energy(layered, x), -np.sum(np.asarray(up[0])[1, [0, 2]]), rtol=1e-5)


def test_bad_betas(key):
    network, _ = bistable()
    for betas, message in ((jnp.array([1.0]), "at least two numbers"), (jnp.array([1.0, 0.0]), "must be positive")):
        with pytest.raises(ValueError, match=message):
            sal.accumulate_tempered(_count, jnp.zeros(64), network, 8.0, betas=betas, chunks=1, dt=1.0, key=key)


def test_a_thousand_neurons_in_layers_are_those_one_by_one(rng, key):
    """Layers are swept as blocks; their neurons do not see each other, so that one by one they do the same."""
    sizes = 700, 200, 100
    forward = [rng.normal(size=(a, b)) / np.sqrt(b) for b, a in itertools.pairwise(sizes)]
    weights = np.zeros((1000, 1000))
    weights[700:900, :700], weights[900:, 700:900] = forward
    weights += weights.T
    up = [jnp.asarray(w, jnp.float32) for w in forward]
    layered = sal.Network(sal.Layered(up, up), jnp.zeros(1000), 5.0)
    dense = sal.Network(sal.Recurrent(jnp.asarray(weights, jnp.float32)), jnp.zeros(1000), 5.0)
    found, bits = (
        sal.simulate(network, 40.0, dt=1.0, key=key, observe=lambda m: jnp.packbits(m.spikes))
        for network in (layered, dense)
    )
    assert 3000 < jnp.sum(found.spikes.spikes) < 6000
    # Sums of 1000 products in another order: a spike in ten thousand may differ.
    assert np.mean(found.spikes.spikes != bits.spikes.spikes) < 1e-4
    packed = sal.PackedRaster(found.observed, 1000, 1.0)
    assert packed.bits.nbytes == 40 * 125
    np.testing.assert_array_equal(packed.unpacked().spikes, found.spikes.spikes)


def test_rasters_as_bits(rng):
    raster = sal.Raster.from_counts(rng.random((7, 2, 11)) < 0.3, 0.5)
    packed = jax.jit(lambda r: r.packed())(raster)
    assert (packed.bits.shape, packed.dt) == ((7, 2, 2), 0.5)
    np.testing.assert_array_equal(packed.unpacked().spikes, raster.spikes)
    with pytest.raises(
        ValueError, match=r"must be bytes \(uint8\), 3 for 17 neurons, got uint8 of the shape \(7, 2, 2\)"
    ):
        sal.PackedRaster(packed.bits, 17, 0.5)
