import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sal

EXCITATORY = np.array([True, False, True])
OBEYING = jnp.array([[0.0, -1.0, 0.5], [1.0, 0.0, 0.0], [2.0, -0.5, 0.0]])


def test_the_effective_weight_of_the_paper():
    """W_EE - 1 at the homogeneous values, exactly: r = 1/2 and sigma(4 r - 2) = 1/2."""
    direct = jnp.linspace(0.0, 2.0, 5)
    np.testing.assert_allclose(sal.effective_weight(direct, -1.0, 4.0, 0.0, -2.0), direct - 1, atol=1e-7)
    sigma = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    expected = 0.3 - 1.2 * sigma(3.5 * sigma(0.4) - 1.8) / sigma(0.4)
    np.testing.assert_allclose(sal.effective_weight(0.3, -1.2, 3.5, 0.4, -1.8), expected, rtol=1e-6)


def test_the_rate_of_a_neuron_that_is_excited_and_inhibited(key):
    """One way only (right values of systems of 200 000 steps, standard deviation .006)."""

    @eqx.filter_jit
    @eqx.filter_vmap(in_axes=(0, None))
    @eqx.filter_vmap(in_axes=(None, 0))
    def rate(direct, key):
        pair = sal.dale_pair((0.0, direct), 25.0, indirect=(0.0, -1.0), order=sal.Parallel())
        run = sal.simulate(pair, 10_000.0, dt=1.0, key=key, observe=lambda m: m.z)
        return jnp.mean(run.observed, axis=0)[2]

    found = rate(jnp.array([0.0, 1.0]), jax.random.split(key, 20))
    error = 0.006 + 3 * np.std(found, axis=1) / np.sqrt(20)
    assert np.all(np.abs(np.mean(found, axis=1) - np.array([0.379, 0.508])) < error)


def test_a_pair_has_its_synapses_where_they_belong():
    pair = sal.dale_pair((0.1, 0.2), 5.0, indirect=(-0.3, -0.4), recruiting=(0.5, 0.6), bias=(1.0, 2.0))
    weight = [[0.0, 0.0, 0.1, -0.3], [0.5, 0.0, 0.0, 0.0], [0.2, -0.4, 0.0, 0.0], [0.0, 0.0, 0.6, 0.0]]
    np.testing.assert_allclose(pair.connectivity.effective, weight)
    np.testing.assert_array_equal(pair.bias, [1.0, -2.0, 2.0, -2.0])
    with pytest.raises(ValueError, match=r"must obey Dale's law: 0\.3 leads from the inhibitory neuron 3 to neuron 0;"):
        sal.dale_pair((0.1, 0.2), 5.0, indirect=(0.3, -0.4))
    with pytest.raises(ValueError, match="direct must be two numbers"):
        sal.dale_pair((0.1, 0.2, 0.3), 5.0)


def test_updates_end_at_the_sign_of_their_source(precision):
    weights = OBEYING.astype(precision)
    optimiser = optax.chain(optax.sgd(1.0), sal.keep_signs(EXCITATORY))
    slopes = jnp.array([[0.3, -3.0, 1.0], [0.2, 0.4, -0.7], [5.0, 0.1, 0.1]], precision)
    updates, state = jax.jit(optimiser.update)(slopes, optimiser.init(weights), weights)
    expected = [[0.0, 0.0, 0.0], [0.8, -0.4, 0.7], [0.0, -0.6, 0.0]]
    moved = weights + updates
    np.testing.assert_allclose(moved, expected, rtol=1e-6)
    assert moved.dtype == precision and np.all(np.asarray(moved)[np.asarray(expected) == 0] == 0)
    # A weight at zero leaves to its own side, not to the other.
    updates, _ = optimiser.update(-jnp.ones_like(weights), state, moved)
    np.testing.assert_allclose(updates[0], [1.0, 0.0, 1.0])


def test_where_the_law_holds_and_where_not():
    """A pytree of laws, masks, other rules before it, and vmap."""
    parameters = {"weight": OBEYING, "bias": jnp.zeros(3), "free": -jnp.ones((2, 3))}
    laws = {"weight": EXCITATORY, "bias": None, "free": None}
    for rule in (sal.keep_signs(laws), optax.masked(sal.keep_signs(EXCITATORY), {k: k == "weight" for k in laws})):
        optimiser = optax.chain(optax.sgd(0.5), rule)
        slopes = jax.tree.map(lambda x: 10 * jnp.ones_like(x), parameters)
        updates, _ = optimiser.update(slopes, optimiser.init(parameters), parameters)
        np.testing.assert_array_equal(updates["bias"], -5 * jnp.ones(3))
        np.testing.assert_array_equal(updates["free"], -5 * jnp.ones((2, 3)))
        np.testing.assert_array_equal((OBEYING + updates["weight"])[:, EXCITATORY], jnp.zeros((3, 2)))
    rule = sal.keep_signs(EXCITATORY)
    many = jnp.stack([OBEYING, 2 * OBEYING])
    states = jax.vmap(rule.init)(many)
    updates, _ = jax.vmap(rule.update)(-many - 1, states, many)
    np.testing.assert_array_equal((many + updates)[1], jnp.array([[0.0, -1, 0], [0, -1, 0], [0, -1, 0]]))


@pytest.mark.slow
def test_sal_under_dales_law_ends_at_zero(key):
    """The other synapse inhibits through its interneuron alone: W_EE would have to become negative."""
    window = sal.Exponential(10.0)
    stdp = sal.STDP(window, window, 10.0, sal.NearestPairs(), sal.one_by_one(4))
    plastic = jnp.zeros((4, 4), bool).at[2, 0].set(True)
    excitatory = np.array([True, False, True, False])

    def learn(rule):
        @eqx.filter_jit
        def run(network, key):
            def phase(carry, key):
                weights, memory = carry
                now = eqx.tree_at(lambda n: n.connectivity.weight, network, weights)
                simulate = jax.vmap(lambda k: sal.simulate(now, 200.0, dt=1.0, key=k).spikes, out_axes=1)
                spikes = simulate(jax.random.split(key, 20))
                zeros = jnp.zeros_like(weights)
                updates, memory = rule.update(zeros, memory, weights, pre=spikes, post=spikes)
                return (weights + jnp.where(plastic, updates, 0), memory), weights[2, 0]

            start = network.connectivity.weight
            return jax.lax.scan(phase, (start, rule.init(start)), jax.random.split(key, 150))[1]

        return run(sal.dale_pair((0.0, 0.3), 10.0, indirect=(-2.0, 0.0)), key)

    aligning = sal.align(2e-2, stdp, replicas=(20,))
    free, kept = learn(aligning), learn(optax.chain(aligning, sal.keep_signs(excitatory)))
    assert free[-1] < -0.5
    assert np.all(kept >= 0) and np.mean(kept[-50:]) < 0.05


def test_bad_input():
    rule = sal.keep_signs(EXCITATORY)
    with pytest.raises(ValueError, match=r"obey Dale's law: -1 leads from the excitatory neuron 0 to neuron 1; exc"):
        rule.init(OBEYING.at[1, 0].set(-1.0))
    with pytest.raises(Exception, match="must obey Dale's law; excitatory sources"):
        jax.block_until_ready(jax.jit(rule.init)(OBEYING.at[1, 1].set(1.0)))
    with pytest.raises(ValueError, match="keep_signs needs the parameters"):
        rule.update(OBEYING, rule.init(OBEYING))
    with pytest.raises(
        ValueError, match=r"as many sources as excitatory has entries, got the shapes \(3, 2\) and \(3,\)"
    ):
        rule.init(jnp.zeros((3, 2)))
    with pytest.raises(ValueError, match="excitatory must be bools, got int32"):
        sal.keep_signs(jnp.array([1, -1, 1], jnp.int32)).init(OBEYING)
    with pytest.raises(ValueError, match="pytree of them in the structure of the parameters"):
        sal.keep_signs({"other": EXCITATORY}).init({"weight": OBEYING})
