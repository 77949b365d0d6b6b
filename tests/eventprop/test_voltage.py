"""Integrals and maxima of membrane potentials: NumPy quadrature and grids, central differences, closed forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import eventprop as ep
from tests.eventprop import reference
from tests.eventprop.differences import central_differences
from tests.eventprop.trials import random_trial

NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)


def of_reference(trajectory: reference.Trajectory, t1: float) -> tuple[float, float, float]:
    """int V, int V^2 sin t and max V by quadrature and a grid between the events of a reference."""
    edges = [piece[0] for piece in trajectory.pieces] + [t1]
    total = square = 0.0
    highest = -np.inf
    for (start, v, i, held), end in zip(trajectory.pieces, edges[1:], strict=True):
        t = (end - start) * (NODES + 1) / 2
        grid = np.linspace(0, end - start, 2001)
        values, fine = (
            np.full(x.shape, v) if held else reference.flow(trajectory.neuron, x, v, i)[0] for x in (t, grid)
        )
        weights = WEIGHTS * (end - start) / 2
        total += np.sum(weights * values)
        square += np.sum(weights * values**2 * np.sin(t + start))
        highest = max(highest, np.max(fine))
    return total, square, highest


@pytest.mark.parametrize("kind", ["integrators", "spiking", "refractory"])
def test_integral_and_maximum_are_those_of_a_reference(x64, kind):
    """All ratios of time constants, biases above and below threshold, states to start from; LI as LIF without end."""
    recover = kind == "refractory"
    trial = random_trial(np.random.default_rng(5), 24, refractory=recover, reset=recover)
    trial = eqx.tree_at(lambda t: t.threshold, trial, np.full(20, 1e6)) if kind == "integrators" else trial
    given, trial = trial, jax.tree.map(jnp.asarray, trial)
    spikes, state = ep.Spikes(trial.times, trial.index), trial.state()
    neuron = trial.lif()
    if kind == "integrators":
        neuron = ep.LI(trial.tau_mem, trial.tau_syn, trial.bias)
        state = ep.NetworkState((ep.LIState(trial.v, trial.i),))
    network = ep.FeedForward([(ep.Dense(trial.weights.T), neuron)])
    solution = ep.simulate(network, spikes, trial.t1, solver=ep.Exact(max_spikes=36), state=state)
    path = ep.voltage_path(network, spikes, solution, trial.t1, state=state)
    found = path.integral(), path.integral_of(lambda v, t: v**2 * jnp.sin(t)), path.maximum()
    expected = np.array([of_reference(trajectory, 60.0) for trajectory in given.reference()]).T
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-7, atol=1e-7)
    assert np.all(np.asarray(found[2]) >= expected[2] - 1e-12)


def parameters(rng):
    """Refractory neurons reset to a value; integrators, one with equal time constants, behind synaptic delays."""
    return {
        "times": np.sort(rng.uniform(0, 30, 8)),
        "in": rng.normal(2.0, 0.8, (4, 3)),
        "in_delay": rng.uniform(0.2, 3, 3),
        "tau": rng.uniform(6, 20, (2, 4)),
        "refractory": rng.uniform(1, 4, 4),
        "reset": rng.uniform(-0.3, 0.2, 4),
        "threshold": rng.uniform(0.8, 1.2, 4),
        "bias": rng.uniform(-0.2, 0.4, 4),
        "out": rng.normal(0.5, 1.0, (2, 4)),
        "out_delay": rng.uniform(0.2, 3, (2, 4)),
        "out_tau": np.array([[10.0, 12.0], [10.0, 4.0]]),
        "out_bias": rng.uniform(-0.1, 0.1, 2),
        "v": rng.uniform(-0.3, 0.5, 4),
        "i": rng.uniform(-0.5, 1.0, 4),
        "out_v": rng.uniform(-0.3, 0.5, 2),
        "out_i": rng.uniform(-0.5, 1.0, 2),
        "t1": np.array(45.3),
    }


def losses(x):
    """Each kind of loss, of both populations: [integrals, maxima, l_V], summed over neurons with some factors."""
    hidden = ep.LIF(*x["tau"], x["threshold"], ep.ResetToValue(x["reset"]), x["refractory"], x["bias"])
    out = ep.LI(*x["out_tau"], x["out_bias"])
    network = ep.FeedForward([(ep.Dense(x["in"], x["in_delay"]), hidden), (ep.Dense(x["out"], x["out_delay"]), out)])
    state = ep.NetworkState((ep.LIFState.free(x["v"], x["i"]), ep.LIState(x["out_v"], x["out_i"])))
    spikes, t1 = ep.Spikes(x["times"], jnp.arange(8) % 3), x["t1"]
    solution = ep.simulate(network, spikes, t1, solver=ep.Exact(max_spikes=16), state=state, throw=False)
    total = []
    for population, c in ((0, jnp.array([1.0, -0.5, 0.7, 1.3])), (1, jnp.array([1.0, -2.0]))):
        path = ep.voltage_path(network, spikes, solution, t1, population=population, state=state)
        rates = path.integral_of(lambda v, t: jnp.sin(v) * jnp.exp(-t / 20))
        total.append(jnp.stack([jnp.sum(c * y) for y in (path.integral(), path.maximum(), rates)]))
    return jnp.where(solution.result == ep.RESULTS.successful, jnp.stack(total).ravel(), jnp.nan)


def problem():
    """Four networks as flat vectors, directions to differentiate along, and the losses of one vector."""
    rng = np.random.default_rng(11)
    trials = [parameters(rng) for _ in range(4)]
    _, unravel = ravel_pytree(trials[0])
    flat = np.stack([ravel_pytree(trial)[0] for trial in trials])
    return flat, rng.normal(size=flat.shape), lambda x: losses(unravel(x))


@pytest.mark.slow
def test_derivatives_are_central_differences(x64):
    """In reverse and forward mode, with respect to everything; four networks."""
    flat, tangents, function = problem()
    values = jax.jit(jax.vmap(function))
    reverse = np.asarray(jax.jit(jax.vmap(jax.jacrev(function)))(flat))
    directions = np.eye(flat.shape[1])
    differences = np.stack([central_differences(values, x, directions, (1e-3, 1e-4, 1e-5)) for x in flat])
    differences = np.moveaxis(differences, 2, -1)  # [cases, steps, losses, parameters]
    assert np.all(np.isfinite(reverse)) and reverse.shape == (4, 6, flat.shape[1])
    scale = np.max(np.abs(reverse), axis=-1, keepdims=True)
    error = np.min(np.abs(differences - reverse[:, None]), axis=1)
    assert np.mean(error > 1e-6 * np.abs(reverse) + 1e-8 * scale) == 0
    # Times, weights, delays, time constants, ... all act on all kinds of losses.
    assert np.mean(np.abs(reverse) > 1e-9) > 0.6

    forward = jax.jit(jax.vmap(lambda x, d: jax.jvp(function, (x,), (d,))[1]))(flat, tangents)
    np.testing.assert_allclose(forward, np.einsum("clp,cp->cl", reverse, tangents), rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_second_derivatives_are_differences_of_the_gradient(x64):
    """Of all kinds of losses together, along one direction per network."""
    flat, tangents, function = problem()
    costs = jnp.array([1.0, -1.0, 0.5, 0.3, 2.0, -0.7])
    gradient = jax.grad(lambda x: costs @ function(x))
    second = jax.jit(jax.vmap(lambda x, d: jax.jvp(gradient, (x,), (d,))[1]))(flat, 0.1 * tangents)
    shifted = jax.jit(jax.vmap(gradient))
    slopes = [
        central_differences(shifted, x, d[None], (1e-4, 1e-5))[:, 0] for x, d in zip(flat, 0.1 * tangents, strict=True)
    ]
    error = np.min(np.abs(np.stack(slopes) - np.asarray(second)[:, None]), axis=1)
    assert np.all(error < 1e-5 * (np.abs(second) + 1e-2 * np.max(np.abs(second), axis=1, keepdims=True)))


def one_membrane(tau_mem, tau_syn, t1, weights=(1.0,), times=(2.0,), bias=0.0, state=None):
    """An integrator with one source; the path of its potential."""
    network = ep.FeedForward([(ep.Dense(jnp.asarray(weights).reshape(1, -1)), ep.LI(tau_mem, tau_syn, bias))])
    spikes = ep.Spikes(jnp.asarray(times), jnp.arange(len(times)))
    solution = ep.simulate(network, spikes, t1, solver=ep.Exact(max_spikes=1), state=state)
    return ep.voltage_path(network, spikes, solution, t1, state=state)


@pytest.mark.parametrize(
    "taus, peak, height", [((20.0, 5.0), 9.241962407465937, 0.15749013123685915), ((10.0, 10.0), 10.0, np.exp(-1))]
)
def test_one_postsynaptic_potential(precision, taus, peak, height):
    """The charge w puts an area tau_syn w under V, with a peak at ln(tau_mem / tau_syn) / (1/tau_syn - 1/tau_mem)."""
    tolerance = 1e-5 if precision == np.float32 else 1e-12
    whole = one_membrane(*taus, np.inf)
    assert whole.maximum().dtype == precision
    np.testing.assert_allclose(whole.integral(), taus[1], rtol=tolerance)
    np.testing.assert_allclose(whole.maximum(), height, rtol=tolerance)
    # An end before the peak is where V is largest; a negative weight leaves the maximum at 0.
    early = one_membrane(*taus, 2.0 + 0.5 * peak)
    np.testing.assert_array_equal(early.maximum() < height, True)
    np.testing.assert_allclose(one_membrane(*taus, 60.0, (-1.0,)).maximum(), 0.0, atol=0)
    np.testing.assert_allclose(one_membrane(*taus, 2.0 + 1.01 * peak).maximum(), height, rtol=tolerance)


def test_derivatives_at_and_near_equal_time_constants(x64):
    """alpha functions: max = w / e and int = tau w; d max/d tau_mem = -w/(2 e tau), the double exponential's limit."""

    def both(tau_mem, tau_syn):
        path = one_membrane(tau_mem, tau_syn, np.inf)
        return jnp.stack([path.integral()[0], path.maximum()[0]])

    jacobian = jax.jit(jax.jacrev(both, (0, 1)))
    for difference in (0.0, 1e-9, -1e-9):
        by_mem, by_syn = jacobian(10.0 + difference, 10.0)
        np.testing.assert_allclose(by_mem, [0.0, -1 / (20 * np.e)], rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(by_syn, [1.0, 1 / (20 * np.e)], rtol=1e-8)
    # max = r^(r / (1 - r)) with r = tau_mem / tau_syn = e^s: its logarithm is -s / (1 - e^-s) = -1 - s/2 - s^2/12.
    curvature = jax.jit(jax.hessian(lambda s: jnp.log(both(10.0 * jnp.exp(s), 10.0)[1])))(0.0)
    np.testing.assert_allclose(curvature, -1 / 6, rtol=1e-9)


def test_degenerate_trials(precision):
    """No spikes at all, zero weights, an input at 0 and one at t1, t1 = 0, infinite time with a bias."""
    rtol = 1e-5 if precision == np.float32 else 1e-12
    nothing = one_membrane(20.0, 5.0, 30.0, (1.0, 1.0), (np.inf, np.inf), bias=0.5)
    expected = 0.5 * (30 - 20 * (1 - np.exp(-1.5)))
    np.testing.assert_allclose(nothing.integral(), expected, rtol=rtol)
    np.testing.assert_allclose(nothing.maximum(), 0.5 * (1 - np.exp(-1.5)), rtol=rtol)
    zero = one_membrane(20.0, 5.0, 30.0, (0.0,))
    assert zero.integral() == 0 and zero.maximum() == 0
    # What arrives at t1 has no effect, and what arrives at 0 acts from the start.
    at_ends = one_membrane(20.0, 5.0, 30.0, (1.0, 1.0), (0.0, 30.0))
    response = (np.exp(-1.5) - np.exp(-6)) / 3
    np.testing.assert_allclose(at_ends.integral(), 5 * (1 - np.exp(-6)) - 20 * response, rtol=rtol)
    instant = one_membrane(20.0, 5.0, 0.0)
    assert instant.integral() == 0 and instant.maximum() == 0
    endless = one_membrane(20.0, 5.0, np.inf, bias=jnp.array([-0.1]))
    assert endless.integral() == -np.inf
    t = np.linspace(0, 40, 400_001)
    grid = (np.exp(-t / 20) - np.exp(-t / 5)) / 3 - 0.1 * (1 - np.exp(-(t + 2) / 20))
    np.testing.assert_allclose(endless.maximum(), np.max(grid), rtol=1e-6)
    with pytest.raises(Exception, match="finite t1"):
        endless.integral_of(lambda v, t: v)


def test_integral_follows_from_the_ends(x64):
    """int V dt = bias t1 + tau_syn (sum w - I(t1)) - tau_mem (V(t1) + spikes x threshold), without any quadrature.

    Two layers, inputs of which some come late; gradients too, since both sides are functions of the weights.
    """
    rng = np.random.default_rng(3)
    first, second = jnp.asarray(rng.normal(2.0, 1.0, (4, 6))), jnp.asarray(rng.normal(0.6, 0.5, (3, 4)))
    spikes = ep.Spikes(jnp.asarray(np.sort(rng.uniform(0, 70, 6))), jnp.asarray(rng.permutation(6)))

    def run(weights):
        network = ep.FeedForward(
            [(ep.Dense(weights[0]), ep.LIF(20.0, 5.0)), (ep.Dense(weights[1]), ep.LI(10.0, 10.0, 0.3))]
        )
        return network, ep.simulate(network, spikes, 60.0, solver=ep.Exact(max_spikes=8))

    def by_path(weights):
        network, solution = run(weights)
        totals = [ep.voltage_integral(network, spikes, solution, 60.0, population=k) for k in (0, 1)]
        return jnp.sum(totals[0]) + jnp.sum(totals[1]), solution

    def by_ends(weights):
        _, solution = run(weights)
        hidden, out = solution.state.neurons
        counts = solution.spikes[0].count().astype(float)
        charge = weights[0] @ jnp.zeros(6).at[spikes.index].add(spikes.times < 60.0)
        total = 5.0 * (charge - hidden.i) - 20.0 * (hidden.v + counts)
        readout = 0.3 * 60 + 10.0 * (weights[1] @ counts - out.i) - 10.0 * out.v
        return jnp.sum(total) + jnp.sum(readout), solution

    results = [jax.jit(jax.value_and_grad(f, has_aux=True))((first, second)) for f in (by_path, by_ends)]
    (value, solution), gradient = results[0]
    assert jnp.sum(solution.spikes[0].count()) > 4
    np.testing.assert_allclose(value, results[1][0][0], rtol=1e-11)
    for ours, other in zip(gradient, results[1][1], strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-8, atol=1e-8)


def test_recorded_spikes_of_a_recurrent_network(x64):
    """The integral over all neurons of the golden case with delays and refractory periods, int = 109.60747507289."""
    spikes, trains = golden_spikes()
    i, j = np.meshgrid(np.arange(5), np.arange(5), indexing="ij")
    lateral = np.where(i == j, 0, 0.9 * np.sin(1 + 3 * i + 7 * j)).T
    delay = (1 + ((2 * i + 3 * j) % 5) / 2).T
    c, j = np.meshgrid(np.arange(3), np.arange(5), indexing="ij")
    incoming = (1.8 + 0.9 * np.sin(1 + 2 * c + 5 * j)).T
    neuron = ep.LIF(20.0, 5.0, reset=ep.ResetToValue(0.0), refractory=2.0)
    network = ep.Recurrent([(ep.Dense(incoming), neuron, ep.Dense(lateral, delay))])
    solution = ep.Solution((trains,), None, ep.NetworkState((neuron.init(5),)), {}, ep.RESULTS.successful)
    total = ep.voltage_integral(network, spikes, solution, 60.0)
    np.testing.assert_allclose(jnp.sum(total), 109.60747507289, rtol=1e-11)
    np.testing.assert_allclose(ep.voltage_maximum(network, spikes, solution, 60.0), 1.0, rtol=1e-9)
    # Fewer events than there are spikes: an error, not a wrong number.
    with pytest.raises(Exception, match="more spikes than `max_events` = 25"):
        ep.voltage_integral(network, spikes, solution, 60.0, max_events=25)
    np.testing.assert_allclose(ep.voltage_integral(network, spikes, solution, 60.0, max_events=26), total, rtol=1e-12)


def golden_spikes():
    """Inputs, and the recorded spikes of five neurons."""
    inputs = [1 + 2.3 * c + 7.1 * np.arange(6) for c in range(3)]
    rows = """9.930265405903 18.567864123136 27.054301878253 35.286367683143 44.60929329847
    10.568009031004 17.541978469493 24.13239505993 30.904641756801 37.901484718698 45.504881707523
    11.225138146263 19.942121755474 28.224870215786 36.403098396929 44.87236340628
    11.233711341664 19.329833459129 27.210490870187 34.803925666 42.361245259604
    10.31035223241 19.067334061291 27.555009621012 35.95870563053 46.028647746477"""
    times = np.full((5, 8), np.inf)
    for row, text in zip(times, rows.splitlines(), strict=True):
        values = np.array(text.split(), float)
        row[: len(values)] = values
    return ep.Spikes.from_trains(inputs), ep.SpikeTrains(jnp.asarray(times))


def test_batches_and_bad_calls(precision):
    """vmap over trials and weights equals one call each; what does not fit is named."""
    rng = np.random.default_rng(2)
    weights = jnp.asarray(rng.normal(1.0, 0.5, (3, 2, 4)), precision)
    times = jnp.asarray(np.sort(rng.uniform(0, 20, (3, 4)), axis=1), precision)

    def maxima(weight, times):
        network = ep.FeedForward([(ep.Dense(weight), ep.LI(20, 5))])
        spikes = ep.Spikes(times, jnp.arange(4))
        solution = ep.simulate(network, spikes, 40, solver=ep.Exact(max_spikes=1))
        return ep.voltage_maximum(network, spikes, solution, 40), (network, spikes, solution)

    batch, _ = jax.jit(jax.vmap(maxima))(weights, times)
    single, (network, spikes, solution) = maxima(weights[1], times[1])
    np.testing.assert_allclose(batch[1], single, rtol=1e-6)
    assert batch.shape == (3, 2) and batch.dtype == precision
    with pytest.raises(ValueError, match=r"population must be from -1 to 0, but is 1"):
        ep.voltage_maximum(network, spikes, solution, 40.0, population=1)
    with pytest.raises(ValueError, match="one trial is wanted"):
        ep.voltage_maximum(network, ep.Spikes(times, jnp.zeros((3, 4), int)), solution, 40.0)
    with pytest.raises(ValueError, match="t1 must not be negative"):
        ep.voltage_maximum(network, spikes, solution, -1.0)
