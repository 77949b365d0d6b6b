import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sal
from tests.sal import reference

DT, TAU, STEPS = 0.5, 2.0, 150
ORDERS = {"parallel": sal.Parallel(), "sweep": sal.Sweep()}


def noise(key, neurons):
    return np.stack([jax.random.uniform(jax.random.fold_in(key, t), (neurons,)) for t in range(STEPS)])


def logistic(u):
    return 1 / (1 + np.exp(-(u - np.log(TAU / DT))))


def moment(m):
    return m.spikes, m.z, m.potential


def run(network, key, **options):
    return eqx.filter_jit(lambda key: sal.simulate(network, STEPS * DT, dt=DT, key=key, observe=moment, **options))(key)


def dense(rng, neurons=4):
    return rng.standard_normal((neurons, neurons)) * (1 - np.eye(neurons)), 0.5 + rng.standard_normal(neurons)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", reference.windows())
def test_spikes_and_potentials_of_every_kernel(x64, rng, key, name, order):
    weights, bias = dense(rng)
    arguments, kernel = reference.windows()[name]
    trace = getattr(sal, name)(*arguments)
    network = sal.Network(sal.Recurrent(jnp.array(weights)), jnp.array(bias), TAU, trace=trace, order=ORDERS[order])
    spikes, _, potential = run(network, key).observed
    expected, potentials = reference.simulate(
        weights,
        bias,
        kernel,
        noise(key, 4),
        refractory=4,
        dt=DT,
        probability=logistic,
        sweeps=None if order == "parallel" else [[0], [1], [2], [3]],
    )
    assert 50 < expected.sum() < 400
    np.testing.assert_array_equal(spikes, expected)
    # Kernels end where they are below 1e-7 of their maximum.
    np.testing.assert_allclose(potential, potentials, atol=1e-11)


@pytest.mark.parametrize("order", ORDERS)
def test_layers_masks_and_last_spikes(x64, rng, key, order):
    sizes = 3, 2, 4
    forward = [rng.standard_normal((a, b)) for b, a in itertools.pairwise(sizes)]
    backward = [rng.standard_normal((a, b)) for b, a in itertools.pairwise(sizes)]
    layered = sal.Layered([jnp.array(w) for w in forward], [jnp.array(w) for w in backward])
    weights = np.zeros((9, 9))
    weights[3:5, :3], weights[5:, 3:5], weights[:3, 3:5], weights[3:5, 5:] = *forward, *(w.T for w in backward)
    bias = rng.standard_normal(9)
    masked = sal.Recurrent(jnp.array(weights + 7 * (weights == 0)), jnp.array(weights != 0))
    trace = sal.LastSpike(sal.Alpha(3.0, 2.0))
    for connectivity, sweeps in ((layered, [[0, 1, 2], [3, 4], [5, 6, 7, 8]]), (masked, [[i] for i in range(9)])):
        network = sal.Network(connectivity, jnp.array(bias), TAU, trace=trace, order=ORDERS[order])
        spikes, _, potential = run(network, key).observed
        expected, potentials = reference.simulate(
            weights,
            bias,
            reference.windows()["Alpha"][1],
            noise(key, 9),
            refractory=4,
            dt=DT,
            probability=logistic,
            sweeps=None if order == "parallel" else sweeps,
            last_only=True,
        )
        np.testing.assert_array_equal(spikes, expected)
        np.testing.assert_allclose(potential, potentials, atol=1e-12)


def test_exponential_rates_and_drive(x64, rng, key):
    weights, bias = dense(rng)
    drive = rng.uniform(-2, 0, (STEPS, 4)) - np.abs(bias)
    network = sal.Network(
        sal.Recurrent(jnp.array(weights / 8)),
        jnp.array(bias),
        TAU,
        escape=sal.ExponentialEscape(),
        order=sal.Parallel(),
    )
    solution = run(network, key, drive=jnp.array(drive))
    expected, _ = reference.simulate(
        weights / 8,
        bias,
        lambda s: float(s <= TAU),
        noise(key, 4),
        refractory=4,
        dt=DT,
        probability=lambda u: np.exp(u) * DT / TAU,
        sweeps=None,
        drive=drive,
    )
    np.testing.assert_array_equal(solution.observed[0], expected)
    constant = run(network, key, drive=jnp.array(drive[0]))
    repeated = run(network, key, drive=jnp.array(np.tile(drive[0], (STEPS, 1))))
    np.testing.assert_array_equal(constant.spikes.spikes, repeated.spikes.spikes)


def test_logistic_and_exponential_rates_agree_for_small_steps(x64):
    u = jnp.linspace(-3.0, 1.0, 9)
    for dt in (1e-2, 1e-3):
        rates = [escape.probability(u, TAU, dt) / dt for escape in (sal.LogisticEscape(), sal.ExponentialEscape())]
        # sigma(x) = e^x / (1 + e^x)
        np.testing.assert_allclose(rates[0] * (1 + dt * rates[1]), rates[1], rtol=1e-12)


def test_a_run_may_be_cut(key, rng):
    weights, bias = dense(rng)
    network = sal.Network(sal.Recurrent(jnp.array(weights, jnp.float32)), jnp.array(bias, jnp.float32), TAU)
    whole = run(network, key)

    def part(state):
        return eqx.filter_jit(lambda state: sal.simulate(network, 37.5, dt=DT, key=key, state=state))(state)

    first = part(network.init(DT))
    second = part(first.state)
    spikes = np.concatenate([first.spikes.spikes, second.spikes.spikes])
    np.testing.assert_array_equal(spikes, whole.spikes.spikes)
    jax.tree.map(np.testing.assert_array_equal, second.state, whole.state)


def test_states_last_as_long_as_the_refractory_period(key):
    network = sal.Network(sal.Recurrent(jnp.zeros((3, 3))), jnp.array([-1.0, 0.0, 20.0]), TAU)
    solution = run(network, key)
    spikes, z, _ = (np.asarray(x) for x in solution.observed)
    for neuron in range(3):
        times = np.flatnonzero(spikes[:, neuron])
        assert np.all(np.diff(times) >= 4)
        expected = np.zeros(STEPS + 4, bool)
        for t in times:
            expected[t : t + 4] = True
        np.testing.assert_array_equal(z[:, neuron], expected[:STEPS])
    # A neuron that cannot but fire does so after every refractory period.
    np.testing.assert_array_equal(np.flatnonzero(spikes[:, 2]), np.arange(0, STEPS, 4))


def test_clamped_neurons_keep_their_state(key, rng):
    weights, bias = dense(rng)
    network = sal.Network(sal.Recurrent(jnp.array(weights, jnp.float32)), jnp.array(bias, jnp.float32), TAU)
    clamp = sal.Clamp(jnp.array([True, False, True, False]), jnp.array([True, False, False, False]))
    _, z, _ = run(network, key, clamp=clamp).observed
    np.testing.assert_array_equal(z[:, 0], True)
    np.testing.assert_array_equal(z[:, 2], False)
    assert 0 < np.mean(z[:, 1]) < 1


def test_saturation_and_bad_numbers_are_reported(key):
    network = sal.Network(sal.Recurrent(jnp.zeros((2, 2))), jnp.array([0.0, 3.0]), TAU, escape=sal.ExponentialEscape())
    solution = run(network, key, throw=False)
    assert solution.result == sal.RESULTS.rate_saturated
    assert solution.saturated == np.sum(solution.spikes.spikes[:, 1])
    with pytest.raises(RuntimeError, match="cut off at 1 / dt"):
        run(network, key)
    broken = eqx.tree_at(lambda n: n.bias, network, jnp.array([0.0, jnp.nan]))
    assert run(broken, key, throw=False).result == sal.RESULTS.non_finite


def test_bad_input(key):
    network = sal.Network(sal.Recurrent(jnp.zeros((2, 2))), jnp.zeros(2), TAU)
    with pytest.raises(ValueError, match=r"tau_ref must be a positive multiple of dt = 0\.3, got 2\.0"):
        sal.simulate(network, 3.0, dt=0.3, key=key)
    with pytest.raises(ValueError, match=r"t1 must be a positive multiple of dt = 0\.5, got 1\.2"):
        sal.simulate(network, 1.2, dt=0.5, key=key)
    with pytest.raises(ValueError, match=r"drive must have the shape \(2,\) or \(4, 2\)"):
        sal.simulate(network, 2.0, dt=0.5, key=key, drive=jnp.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"in the shape of the weight, \(2, 2\), got bool in the shape \(2, 3\)"):
        sal.Recurrent(jnp.zeros((2, 2)), jnp.ones((2, 3), bool))
    with pytest.raises(ValueError, match="backward weights of the same shape"):
        sal.Layered([jnp.zeros((2, 3))], [jnp.zeros((3, 2))])
    with pytest.raises(ValueError, match=r"bias must have the shape \(2,\), got \(3,\)"):
        sal.Network(sal.Recurrent(jnp.zeros((2, 2))), jnp.zeros(3), TAU)
    with pytest.raises(ValueError, match=r"rise must not be above decay, got rise 4\.0 and decay 3\.0"):
        sal.DoubleExponential(4.0, 3.0, 1.0)
