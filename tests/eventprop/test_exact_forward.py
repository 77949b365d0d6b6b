"""The closed-form solver finds every spike: spike times, potentials and states against the brute-force reference."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import eventprop as ep
from tests.eventprop import reference
from tests.eventprop.trials import RATIOS, SAMPLES, SLOTS, Trial, random_trial, solve

TIMES = np.linspace(0.37, 59.9, SAMPLES)


def assert_spikes(times, layer, atol=1e-9):
    """`times` [neurons, slots] against the reference's lists: the same number, each within `atol`."""
    counts = np.sum(np.isfinite(times), axis=1)
    expected = [len(neuron.spikes) for neuron in layer]
    assert max(expected) <= times.shape[1]
    np.testing.assert_array_equal(counts, expected)
    np.testing.assert_allclose(times, reference.trains(layer, times.shape[1]), rtol=0, atol=atol)


def assert_potentials(ys, ts, layer, atol=1e-9):
    """`ys` [samples, neurons] against the reference, but for samples that lie on a spike to within rounding."""
    for potential, neuron in zip(np.asarray(ys).T, layer, strict=True):
        clear = np.array([np.all(np.abs(np.asarray(neuron.spikes) - t) > 1e-6) for t in ts])
        np.testing.assert_allclose(potential[clear], neuron.potential(ts)[clear], rtol=0, atol=atol)


def assert_final_state(state, trial, layer):
    """V, I and the rest of the refractory period at the end of a finite trial."""
    v, i = np.array([neuron.state(float(trial.t1)) for neuron in layer]).T
    np.testing.assert_allclose(state.v, v, rtol=0, atol=1e-9)
    np.testing.assert_allclose(state.i, i, rtol=0, atol=1e-9)
    free = [neuron.spikes[-1] + neuron.neuron.refractory if neuron.spikes else 0.0 for neuron in layer]
    np.testing.assert_allclose(state.refractory, np.maximum(np.array(free) - trial.t1, 0.0), rtol=0, atol=1e-9)


# Not all of the four combinations where there are many inputs: the reference is slow.
@pytest.mark.parametrize(
    ("inputs", "trials", "reset", "refractory"),
    [(5, 12, reset, refractory) for reset in (False, True) for refractory in (False, True)]
    + [(50, 6, False, False), (50, 6, True, True), (500, 1, True, True)],
)
def test_every_spike_is_found(x64, inputs, trials, reset, refractory):
    rng = np.random.default_rng(inputs)
    batch = [random_trial(rng, inputs, reset=reset, refractory=refractory) for _ in range(trials)]
    solutions = solve(batch, TIMES)
    layers = [trial.reference() for trial in batch]
    assert 1.5 < np.mean([len(neuron.spikes) for layer in layers for neuron in layer])
    for trial, layer, solution in zip(batch, layers, solutions, strict=True):
        assert solution.result == ep.RESULTS.successful and solution.stats["spikes_lost"] == 0
        assert_spikes(solution.spikes[0].times, layer)
        assert_potentials(solution.ys[0], TIMES, layer)
        assert_final_state(solution.state.neurons[0], trial, layer)
    if inputs == 5:  # several spikes between two inputs do occur
        assert any(
            np.histogram(neuron.spikes, [0.0, *trial.times, 60.0])[0].max() >= 3
            for trial, layer in zip(batch, layers, strict=True)
            for neuron in layer
        )


@pytest.mark.parametrize("inputs", [5, 50])
def test_trial_without_end(x64, inputs):
    rng = np.random.default_rng(inputs + 1)
    batch = [random_trial(rng, inputs, t1=np.inf) for _ in range(4)]
    for trial, solution in zip(batch, solve(batch, TIMES), strict=True):
        layer = trial.reference()
        assert max(neuron.spikes[-1] for neuron in layer if neuron.spikes) > 60.0
        assert_spikes(solution.spikes[0].times, layer)
        assert_potentials(solution.ys[0], TIMES, layer)


def test_fires_at_most_once_under_strong_bias(x64):
    """A trial without end and a bias above threshold: finite only thanks to an infinite refractory period."""
    rng = np.random.default_rng(5)
    trial = random_trial(rng, 5, t1=np.inf, refractory=True)
    trial = eqx.tree_at(lambda t: (t.bias, t.refractory), trial, (np.full(20, 1.3), np.full(20, np.inf)))
    times = solve([trial], TIMES)[0].spikes[0].times
    assert_spikes(times, trial.reference())
    assert np.all(np.isfinite(times[:, 0])) and np.all(times[:, 1:] == np.inf)


def convex_trial(rng) -> Trial:
    """Bias above threshold, V just below it and falling at first: most cross while V is still convex."""
    trial = random_trial(rng, 5)
    v, bias = rng.uniform(0.95, 0.9995, 20), rng.uniform(1.05, 4.0, 20)
    trial = eqx.tree_at(lambda t: (t.threshold, t.v, t.bias), trial, (np.ones(20), v, bias))
    trial = eqx.tree_at(lambda t: t.i, trial, v - bias - 10.0 ** rng.uniform(-3, 0, 20))
    return eqx.tree_at(lambda t: t.weights, trial, 0.3 * trial.weights)


def test_falls_first_and_crosses_on_the_convex_piece(x64):
    rng = np.random.default_rng(8)
    batch = [convex_trial(rng) for _ in range(12)]
    convex = 0
    for trial, solution in zip(batch, solve(batch, TIMES), strict=True):
        layer = trial.reference()
        assert_spikes(solution.spikes[0].times, layer)
        for neuron, tau_syn in zip(layer, trial.tau_syn, strict=True):
            if neuron.spikes:
                curvature = -neuron.slopes[0] - neuron.state(neuron.spikes[0])[1] / tau_syn
                convex += curvature > 0
    assert convex >= 20


EXCESSES = np.array([sign * 10.0**-k for k in range(2, 13, 2) for sign in (1, -1)])


def near_tangential_trials() -> list[Trial]:
    """Neurons whose maximal potential is threshold (1 + excess): each excess at each ratio of time constants.

    A first input of weight 1.5 prepares the state; the weight of the second is found by bisection.
    """
    trials = []
    for excesses in EXCESSES.reshape(-1, 4):
        excess, tau_syn = (x.ravel() for x in np.meshgrid(excesses, 20.0 / np.array(RATIOS)))
        second = [
            tuned_weight(reference.Neuron(20.0, tau, np.inf), 1.0 + e) for tau, e in zip(tau_syn, excess, strict=True)
        ]
        one, zero = np.ones(20), np.zeros(20)
        weights = np.stack([1.5 * one, second])
        events = np.array([1.0, 4.0]), np.array([0, 1])
        trials.append(Trial(*events, weights, 20 * one, tau_syn, one, zero, zero, zero, np.array(np.inf), np.inf * one))
    return trials


def tuned_weight(neuron: reference.Neuron, maximum: float) -> float:
    """The weight of the second input that makes V culminate at `maximum`."""

    def excess(weight):
        _, v, i, _ = reference.simulate_neuron([1.0, 4.0], [1.5, weight], neuron).pieces[-1]
        top = reference.bisect(lambda t: -reference.slope(neuron, *reference.flow(neuron, t, v, i)), 0.0, 500.0)
        return reference.flow(neuron, top, v, i)[0] - maximum

    return scipy.optimize.brentq(excess, 0.01, 30.0, xtol=1e-15, rtol=1e-15)


def test_near_tangential_crossings(x64):
    trials = near_tangential_trials()
    for trial, solution, excesses in zip(trials, solve(trials, TIMES), EXCESSES.reshape(-1, 4), strict=True):
        layer, expected = trial.reference(), np.tile(excesses > 0, len(RATIOS))
        np.testing.assert_array_equal([len(neuron.spikes) == 1 for neuron in layer], expected)
        times = solution.spikes[0].times[:, 0]
        np.testing.assert_array_equal(np.isfinite(times), expected)
        for time, neuron in zip(times, layer, strict=True):
            if neuron.spikes:
                # A rounding error of the potential moves a spike by that error over V'.
                assert abs(time - neuron.spikes[0]) <= 1e-12 + 4e-15 / neuron.slopes[0]
                assert abs(neuron.potential_without(0, time) - 1.0) <= 1e-14


def test_two_layers_and_a_readout(x64):
    rng = np.random.default_rng(11)
    sizes, taus = (10, 12, 6, 4), ((20.0, 5.0), (15.0, 15.0), (20.0, 10.0))
    scales = (1.5, 1.0, 0.5)
    weights = [
        rng.normal(scale, scale, (4, size, later))
        for size, later, scale in zip(sizes[:-1], sizes[1:], scales, strict=True)
    ]
    times, index = np.sort(rng.uniform(0, 40, (4, 20)), axis=1), rng.integers(0, sizes[0], (4, 20))
    ts = TIMES

    @jax.jit
    @jax.vmap
    def run(times, index, weights):
        hidden, output, readout = (ep.Dense(w.T) for w in weights)
        layers = [(hidden, ep.LIF(*taus[0])), (output, ep.LIF(*taus[1], refractory=2.0)), (readout, ep.LI(*taus[2]))]
        solver = ep.Exact(max_spikes=(SLOTS, SLOTS))
        return ep.simulate(
            ep.FeedForward(layers), ep.Spikes(times, index), 60.0, solver=solver, saveat=diffrax.SaveAt(ts=ts)
        )

    solution = run(times, index, weights)
    neurons = [
        reference.Neuron(*taus[0]),
        reference.Neuron(*taus[1], refractory=2.0),
        reference.Neuron(*taus[2], threshold=np.inf),
    ]
    assert solution.spikes[2] is None
    for n in range(4):
        network = reference.simulate_network(
            times[n], index[n], [(w[n], neuron) for w, neuron in zip(weights, neurons, strict=True)], t1=60.0
        )
        assert sum(len(neuron.spikes) for neuron in network[1]) >= 6
        for depth in (0, 1):
            assert_spikes(np.asarray(solution.spikes[depth].times[n]), network[depth])
        for depth in (0, 1, 2):
            assert_potentials(solution.ys[depth][n], ts, network[depth])
            final = [neuron.state(60.0)[0] for neuron in network[depth]]
            np.testing.assert_allclose(solution.state.neurons[depth].v[n], final, rtol=0, atol=1e-9)


def test_coincident_inputs_act_together(x64):
    """Two events at one time are one event with the sum of their weights."""
    trial = random_trial(np.random.default_rng(2), 6)
    trial = eqx.tree_at(lambda t: t.times, trial, np.repeat(trial.times[::2], 2))
    assert_spikes(solve([trial], TIMES)[0].spikes[0].times, trial.reference())


@pytest.mark.parametrize("count", [0, 1])
def test_padding_is_no_input(x64, count):
    trial = random_trial(np.random.default_rng(4), 5)
    trial = eqx.tree_at(lambda t: t.times, trial, np.where(np.arange(5) < count, trial.times, np.inf))
    (solution,) = solve([trial], TIMES)
    layer = trial.reference()
    assert_spikes(solution.spikes[0].times, layer)
    assert_potentials(solution.ys[0], TIMES, layer)
    assert_final_state(solution.state.neurons[0], trial, layer)


@pytest.mark.parametrize("reset", [False, True], ids=["subtraction", "value"])
def test_two_windows_make_one_trial(x64, reset):
    """A trial continued from `Solution.state`, with times counted from the beginning of the second window."""
    rng = np.random.default_rng(9)
    batch = [random_trial(rng, 50, reset=reset, refractory=True) for _ in range(4)]
    middle = 31.0
    ends = [eqx.tree_at(lambda t: t.t1, trial, np.asarray(middle)) for trial in batch]
    for whole, first, trial in zip(solve(batch, TIMES), solve(ends, TIMES), batch, strict=True):
        late = np.sum(trial.times < middle)
        times = np.append(trial.times[late:] - middle, np.full(late, np.inf))
        second = eqx.tree_at(
            lambda t: (t.times, t.index, t.t1), trial, (times, np.roll(trial.index, -late), 60.0 - middle)
        )
        continued = continue_from(jax.tree.map(jnp.asarray, second), first.state)
        state = first.state.neurons[0]
        assert np.sum((state.refractory > 0) & (state.refractory < np.inf)) > 0
        joined = np.sort(np.concatenate([first.spikes[0].times, continued.spikes[0].times + middle], axis=1), axis=1)
        np.testing.assert_allclose(joined[:, :SLOTS], whole.spikes[0].times, rtol=0, atol=1e-10)
        for actual, expected in zip(jax.tree.leaves(continued.state), jax.tree.leaves(whole.state), strict=True):
            np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-10)


@eqx.filter_jit
def continue_from(trial: Trial, state) -> ep.Solution:
    network = ep.FeedForward([(ep.Dense(trial.weights.T), trial.lif())])
    spikes, solver = ep.Spikes(trial.times, trial.index), ep.Exact(max_spikes=SLOTS)
    return ep.simulate(network, spikes, trial.t1, solver=solver, state=state)


def test_jit_vmap_and_a_single_trial_agree(x64):
    trial = random_trial(np.random.default_rng(6), 5)
    (batched,) = solve([trial], TIMES)
    alone = eqx.filter_jit(lambda trial: trial.simulate(SLOTS, TIMES))(jax.tree.map(jnp.asarray, trial))
    np.testing.assert_allclose(alone.spikes[0].times, batched.spikes[0].times, rtol=0, atol=1e-12)
    np.testing.assert_allclose(alone.ys[0], batched.ys[0], rtol=0, atol=1e-12)
