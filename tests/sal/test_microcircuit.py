import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sal
from benchmarks.experiments.sal.microcircuit.model import teacher_outputs

LAYERS, TAU, AVERAGE, STEPS = (2, 3, 2, 2), 4, 30, 90


def weights(rng):
    forward = [rng.normal(size=(a, b)) for b, a in itertools.pairwise(LAYERS)]
    return forward, [rng.normal(size=w.shape) for w in forward[1:]], [rng.normal(size=n) - 0.5 for n in LAYERS[1:]]


def sigma(u):
    return 1 / (1 + np.exp(-u))


def reference(forward, backward, bias, drive, noise, target, *, bas, api, nudge, lateral):
    """Spikes, basal and apical potentials and Eq. 37's bracket, cell by cell and with all averages from their lists."""
    offsets = np.cumsum((0, *LAYERS, *LAYERS[2:]))
    spikes = np.zeros((STEPS, offsets[-1]), int)
    potentials, basals, apicals, errors = [], [], [], []
    taughts = []
    for t in range(STEPS):
        z = np.array([1.0 if any(spikes[max(0, t - TAU) : t, n]) else 0.0 for n in range(offsets[-1])])
        part = [z[a:b] for a, b in itertools.pairwise(offsets)]
        cells, inter = part[:4], part[4:]
        basal = [forward[layer] @ cells[layer] for layer in range(3)]
        apical = [backward[h].T @ cells[h + 2] - lateral * backward[h].T @ inter[h] for h in range(2)]
        basals.append(np.concatenate(basal))
        mean = np.mean(basals[-AVERAGE:], axis=0)
        teach = nudge * (target - bias[2] - bas * mean[-2:])
        taughts.append(np.concatenate([api * apical[0], api * apical[1], teach]))
        u = [*(bias[layer] + bas * basal[layer] for layer in range(3))]
        u = np.concatenate(u) + taughts[-1]
        # L^IP = (lambda_bas / lambda_den) W_above, lambda_den = 1
        u_inter = [bias[h + 1] + lateral * bas * (forward[h + 1] @ cells[h + 1]) for h in range(2)]
        u = np.concatenate([np.zeros(2), u, *u_inter]) + drive[t]
        for n in range(offsets[-1]):
            resting = any(spikes[max(0, t - TAU + 1) : t, n])
            spikes[t, n] = not resting and noise[t, n] < sigma(u[n] - np.log(TAU))
        low = np.concatenate(bias) + bas * mean
        high = low + np.mean(taughts[-AVERAGE:], axis=0)
        potentials.append(u)
        apicals.append(np.concatenate(apical))
        errors.append(sigma(high - np.log(TAU)) - sigma(low - np.log(TAU)))
    return spikes, np.stack(potentials), np.stack(basals), np.stack(apicals), np.stack(errors)


def everything(moment):
    return moment.spikes, moment.potential, moment.compartments


def test_dynamics_and_plasticity_beside_a_reference(x64, rng, key):
    forward, backward, bias = weights(rng)
    target, drive = rng.normal(size=2), rng.normal(size=(STEPS, 13))
    strengths = {"basal": 0.7, "apical": 0.3, "nudge": 0.6, "lateral": 0.9}
    circuit = sal.Microcircuit(forward, backward, bias, TAU, average=AVERAGE, target=target, **strengths)
    assert (circuit.layers, circuit.neurons) == (LAYERS, 13)
    solution = sal.simulate(circuit, STEPS, dt=1.0, key=key, drive=drive, observe=everything)
    noise = np.stack([jax.random.uniform(jax.random.fold_in(key, t), (13,)) for t in range(STEPS)])
    found = reference(forward, backward, bias, drive, noise, target, bas=0.7, api=0.3, nudge=0.6, lateral=0.9)
    spikes, potential, shown = solution.observed
    np.testing.assert_array_equal(spikes, found[0])
    assert 100 < np.sum(spikes) < 300
    for ours, theirs in zip((potential, *shown), found[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    slopes = circuit.plasticity(solution.spikes, shown.error)
    for layer, (a, b) in enumerate(((0, 3), (3, 5), (5, 7))):
        below = found[0][:, sum(LAYERS[:layer]) : sum(LAYERS[: layer + 1])]
        np.testing.assert_allclose(slopes.forward[layer], -found[4][:, a:b].T @ below, atol=1e-12)
    assert all(np.all(b == 0) for b in (*slopes.backward, *slopes.bias))


def test_the_table_of_the_teacher():
    """Right values of the exact chain: mean potentials of the output, for the training and the validation inputs."""
    training = -0.411540, -0.360493, -0.267940, -0.121630, 0.064900, 0.242537, 0.361207, 0.417464, 0.441413
    np.testing.assert_allclose(teacher_outputs(jnp.linspace(-3.0, 3.0, 9)), training, atol=2e-6)
    validation = -0.394972, -0.311030, -0.062104, 0.188023, 0.389622, 0.434074
    inputs = jnp.array([-2.7, -1.8, -0.5, 0.5, 1.8, 2.7])
    np.testing.assert_allclose(teacher_outputs(inputs), validation, atol=2e-6)
    np.testing.assert_allclose((teacher_outputs(jnp.zeros(1)) + 1) / 2, 0.532450, atol=1e-6)  # <z_1>


@pytest.fixture(scope="module")
def small():
    return sal.Microcircuit([[[2.0]], [[2.0]]], [[[-1.5]]], [-1.0, -1.0], average=200.0)


def mean_potentials(circuit, inputs, key, duration):
    """Time averages of u and of the compartments, [inputs, ...]."""

    @eqx.filter_jit
    def run(inputs):
        def one(u, key):
            drive = jnp.zeros(4).at[0].set(u)
            begin = sal.simulate(circuit, 500.0, dt=1.0, key=key, drive=drive).state
            rest = sal.simulate(
                circuit, duration, dt=1.0, key=key, drive=drive, state=begin, observe=lambda m: everything(m)[1:]
            )
            return jax.tree.map(lambda x: jnp.mean(x, axis=0), rest.observed)

        return jax.vmap(one)(inputs, jax.random.split(key, len(inputs)))

    return run(inputs)


def test_without_a_target_it_is_the_teacher_and_predicts_itself(small, key):
    inputs = jnp.array([-3.0, 0.0, 3.0])
    potential, shown = mean_potentials(small, inputs, key, 40_000.0)
    # 4000 refractory periods: a standard error of 2 sqrt(1 / 4 / 4000) = .016
    np.testing.assert_allclose(potential[:, 2], teacher_outputs(inputs), atol=0.05)
    np.testing.assert_allclose(potential[:, 3], potential[:, 2], atol=1e-6)  # u^I sees what u_out sees
    assert np.all(np.abs(shown.apical) < 0.06)
    assert np.all(np.abs(shown.error) < 1e-4)


@pytest.mark.slow
def test_a_target_above_the_output_makes_the_apical_dendrite_the_error(small, key):
    """v_api has the sign of B (u_target - u_out), and phi(<u>) is above or below what the basal dendrite predicts."""
    inputs = jnp.zeros(2)
    taught = [eqx.tree_at(lambda c: c.target, small, jnp.array([u]), is_leaf=lambda x: x is None) for u in (2.0, -2.0)]
    for circuit, sign in zip(taught, (1, -1), strict=True):
        _, shown = mean_potentials(circuit, inputs, key, 10_000.0)
        assert np.all(sign * shown.apical < -0.2)  # B = -1.5
        assert np.all(sign * shown.error[:, 0] < 0) and np.all(sign * shown.error[:, 1] > 0.02)


@pytest.mark.slow
def test_sal_aligns_backward_weights_while_the_circuit_aligns(small, key):
    circuit = small.aligning()
    assert (circuit.apical, circuit.lateral, circuit.target) == (1.0, 0.0, None)
    window = sal.Exponential(10.0)
    rule = sal.align(1e-2, sal.STDP(window, window, 10.0, sal.NearestPairs()), replicas=(20,), transposed=True)

    @eqx.filter_jit
    def learn(circuit, key):
        params = eqx.filter(circuit, eqx.is_inexact_array)
        mask = eqx.tree_at(lambda c: c.backward, jax.tree.map(lambda _: False, params), (True,))
        masked = optax.masked(rule, mask)

        def phase(carry, key):
            circuit, memory = carry
            run = jax.vmap(lambda k: sal.simulate(circuit, 200.0, dt=1.0, key=k).spikes, out_axes=1)
            spikes = run(jax.random.split(key, 20))
            zeros = jax.tree.map(jnp.zeros_like, params)
            updates, memory = masked.update(zeros, memory, **circuit.signals(spikes))
            return (eqx.apply_updates(circuit, updates), memory), circuit.backward[0][0, 0]

        return jax.lax.scan(phase, (circuit, masked.init(params)), jax.random.split(key, 400))[1]

    arrays = jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, float) else x, circuit)
    course = learn(arrays, key)
    # All at once, as here, the fixed point is a little off (see `sal.Parallel`).
    assert course[0] == -1.5 and abs(float(jnp.mean(course[-100:])) - 2.0) < 0.3


def test_bad_input(small, key):
    good = [[[1.0]], [[1.0]]], [[[1.0]]], [0.0, 0.0]
    with pytest.raises(ValueError, match=r"apical must not be negative, got -0\.1"):
        sal.Microcircuit(*good, apical=-0.1)
    with pytest.raises(ValueError, match=r"nudge must be at most 1, got 1\.5"):
        sal.Microcircuit(*good, nudge=1.5)
    with pytest.raises(ValueError, match=r"layers 1 and 2 are unstable.* up to 1\.25 .*lower apical"):
        sal.Microcircuit([[[1.0]], [[20.0]]], [[[50.0]]], [0.0, 0.0])
    with pytest.raises(ValueError, match=r"backward must hold weights in the shapes.*\[\(1, 1\)\], got \[\(2, 1\)\]"):
        sal.Microcircuit([[[1.0]], [[1.0]]], [[[1.0], [1.0]]], [0.0, 0.0])
    with pytest.raises(ValueError, match=r"target must have one entry .* got \(2,\)"):
        sal.Microcircuit(*good, target=[0.0, 1.0])
    with pytest.raises(ValueError, match="at least two weights"):
        sal.Microcircuit([[[1.0]]], [], [0.0])
    with pytest.raises(ValueError, match="bias must hold one entry per forward weight, 2, got 1"):
        sal.Microcircuit(*good[:2], [0.0])
    with pytest.raises(ValueError, match="dt must be given"):
        small.init()
    with pytest.raises(ValueError, match=r"average must be a positive multiple of dt = 2\.5"):
        sal.simulate(sal.Microcircuit(*good, average=201.0), 30.0, dt=2.5, key=key)
    fast = sal.Microcircuit(*good[:2], [5.0, 0.0], average=200.0, escape=sal.ExponentialEscape())
    assert sal.simulate(fast, 50.0, dt=1.0, key=key, throw=False).result == sal.RESULTS.rate_saturated
