"""Fixed steps: their order, delays, cuts, bounds, and what they refuse. Right values: golden networks and `Exact`."""

import diffrax
import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
from eventprop.solvers.grid_arrivals import Grating
from tests.eventprop import golden_network as golden

RUNTIME_ERRORS = (RuntimeError, ValueError)
EXACT = np.full((5, 8), np.inf)
for _row, _times in zip(EXACT, golden.SPIKES, strict=True):
    _row[: len(_times)] = _times


def golden_network(delay=golden.DELAY):
    neuron = ep.LIF(20.0, 5.0, 1.0, ep.ResetToValue(0.0), 2.0)
    lateral = ep.Dense(jnp.asarray(golden.WEIGHT), delay=jnp.asarray(delay))
    return ep.Recurrent([(ep.Dense(jnp.asarray(golden.INPUT_WEIGHT)), neuron, lateral)])


def golden_spikes():
    return ep.Spikes(jnp.asarray(golden.TIMES), jnp.asarray(golden.INDEX))


@pytest.mark.parametrize(
    "solver, order, largest",
    [
        *((diffrax.Heun(), 2, 4e-4), (diffrax.Euler(), 1, 0.1)),
        *((ep.ExponentialEuler(), 1, 0.25), (ep.ExponentialMidpoint(), 2, 4e-4)),
    ],
    ids=["Heun", "Euler", "ExponentialEuler", "ExponentialMidpoint"],
)
def test_order_of_convergence(x64, solver, order, largest):
    """All spike times of the golden network, with its delays for every synapse and refractory period."""
    steps, errors = np.array([0.1, 0.0125]), []
    for dt in steps:
        found = ep.simulate(golden_network(), golden_spikes(), golden.T1, solver=ep.Grid(dt, 8, solver))
        times = np.asarray(found.spikes[0].times)
        np.testing.assert_array_equal(np.isfinite(times), np.isfinite(EXACT))
        difference = np.where(np.isfinite(EXACT), times - np.where(np.isfinite(EXACT), EXACT, 0), 0)
        errors.append(np.sqrt(np.mean(difference**2)))
    assert np.max(np.abs(difference)) < largest
    assert np.max(np.abs(found.state.neurons[0].v - golden.V)) < largest / 5
    assert abs(np.log(errors[0] / errors[1]) / np.log(8) - order) < 0.25, errors


SIZES = (4, 3, 2)


def several_populations(dtype=float):
    """Delays of every kind, within and between components; populations that hear each other and themselves."""
    rng = np.random.default_rng(1)

    def dense(post, pre, mean, scale, delay=None):
        delay = None if delay is None else jnp.asarray(delay, dtype)
        return ep.Dense(jnp.asarray(rng.normal(mean, scale, (post, pre)), dtype), delay=delay)

    neurons = [ep.LIF(20.0, 5.0), ep.LIF(10.0, 5.0, reset=ep.ResetToValue(-0.2), refractory=1.3), ep.LI(20.0, 5.0)]
    return ep.Network(
        neurons,
        [
            (None, 0, dense(4, 3, 2.0, 1.0, rng.uniform(0, 2, 3))),
            (0, 0, dense(4, 4, 0.0, 0.5, 1.37)),
            (0, 1, dense(3, 4, 1.5, 0.5, rng.uniform(0, 3, 4))),
            (1, 0, dense(4, 3, -0.5, 0.3)),
            (1, 1, dense(3, 3, 0.0, 0.5, rng.uniform(0, 0.3, (3, 3)))),
            (0, 2, dense(2, 4, 1.0, 1.0, rng.uniform(0, 2, (2, 4)))),
            (1, 2, dense(2, 3, 1.0, 1.0)),
            (None, 2, dense(2, 3, 1.0, 1.0, rng.uniform(0, 2, (2, 3)))),
        ],
    )


def several_inputs():
    times = np.sort(np.random.default_rng(2).uniform(0, 30, 24))
    times[3] = 2.0  # on a point of the grid
    return np.sort(times), np.random.default_rng(3).integers(0, 3, 24)


def window(network, times, index, start, length, dt, state=None):
    inside = times >= start
    spikes = ep.Spikes(
        jnp.asarray(np.where(inside, times - start, np.inf)[np.argsort(~inside, kind="stable")]),
        jnp.asarray(index[np.argsort(~inside, kind="stable")]),
    )
    saveat = diffrax.SaveAt(ts=jnp.asarray([0.0, 1.0, 1.33]))
    return ep.simulate(network, spikes, length, solver=ep.Grid(dt, 16, diffrax.Heun()), state=state, saveat=saveat)


def test_cuts_give_the_whole(x64):
    """Spikes, state, and what is in flight, with every kind of delay; also one cut after another, within a delay."""
    network, (times, index) = several_populations(), several_inputs()
    count, length = 14, 2.8
    whole = window(network, times, index, 0.0, count * length, 0.2)
    assert np.min(whole.spikes[0].count()) >= 2 and np.min(whole.spikes[1].count()) >= 1
    state, joined = None, [[], []]
    for start in length * np.arange(count):
        part = window(network, times, index, start, length, 0.2, state)
        state = part.state
        for trains, found in zip(joined, part.spikes[:2], strict=True):
            trains.append(np.asarray(found.times) + start)
    for trains, expected in zip(joined, whole.spikes[:2], strict=True):
        together = np.sort(np.concatenate(trains, axis=1), axis=1)[:, :16]
        np.testing.assert_allclose(together, expected.times, rtol=0, atol=1e-10)
    for a, b in zip(jax.tree.leaves(state.neurons), jax.tree.leaves(whole.state.neurons), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)
    for a, b in zip(state.in_flight, whole.state.in_flight, strict=True):
        if a is not None:
            arrivals = [np.sort(x.times[np.isfinite(x.times)]) for x in (a, b)]
            np.testing.assert_allclose(*arrivals, rtol=0, atol=1e-10)


@pytest.mark.slow
def test_several_populations_like_exact(x64):
    """Spikes of all, and potentials at any time; the error falls as dt^2."""
    network, (times, index) = several_populations(), several_inputs()
    spikes, ts = ep.Spikes(jnp.asarray(times), jnp.asarray(index)), jnp.asarray([7.3, 21.9, 39.0])
    options = {"saveat": diffrax.SaveAt(ts=ts)}
    exact = ep.simulate(network, spikes, 40.0, solver=ep.Exact(16), **options)
    found = ep.simulate(network, spikes, 40.0, solver=ep.Grid(0.02, 16, diffrax.Heun()), **options)
    for a, b in zip(found.spikes[:2], exact.spikes[:2], strict=True):
        np.testing.assert_allclose(a.times, b.times, rtol=0, atol=5e-2)
    np.testing.assert_allclose(found.ys[2], exact.ys[2], rtol=0, atol=5e-3)
    for number in range(2):
        raster = found.raster[number]
        assert raster.shape == (2000, SIZES[number])
        np.testing.assert_array_equal(np.sum(raster, axis=0), found.spikes[number].count())
        step = np.nonzero(raster)[0]
        at = np.sort(found.spikes[number].times, axis=None)[: step.size]
        np.testing.assert_array_equal(np.sort(step), np.floor(at / 0.02))
    assert found.raster[2] is None


def one_neuron(neuron, times, weight, t1, dt, solver):
    spikes = ep.Spikes(jnp.asarray(times), jnp.zeros(len(times), int))
    network = ep.FeedForward([(ep.Dense(jnp.full((1, 1), weight)), neuron)])
    return ep.simulate(network, spikes, t1, solver=ep.Grid(dt, 30, solver))


B_INPUT = np.sort(2 + (9 * np.arange(8)) % 50 + 0.37 * np.arange(8))
SYNAPSES = ep.CurrentSynapses(5.0)
ADEX = {"C": 200.0, "g": 12.0, "E": -70.0, "V_T": -50.0, "D": 2.0, "a": 2.0, "tau_w": 300.0, "b": 60.0, "V_r": -58.0}
ALIF = ep.ALIF(20.0, SYNAPSES, ep.AdaptiveThreshold(0.4, 100.0), reset=ep.ResetToValue(0.0), bias=1.3)
IZHIKEVICH = ep.Izhikevich(SYNAPSES, 0.02, 0.2, -65.0, 8.0, bias=10.0)
NEURONS = {
    "ALIF": (ALIF, 0.8, 130.0, 0.05, diffrax.Heun(), (14.587941008, 39.677663908, 128.295065359)),
    "QIF": (ep.QIF(10.0, SYNAPSES), 2.5, 60.0, 0.05, diffrax.Midpoint(), (16.149295307, 30.805353655, 53.311584301)),
    "Izhikevich": (IZHIKEVICH, 0.0, 75.0, 0.02, diffrax.Tsit5(), (3.127055304, 26.226024634, 71.057097328)),
    "AdEx": (
        ep.AdEx(SYNAPSES, **ADEX, bias=500.0),
        *(0.0, 45.0, 0.02, ep.ExponentialEuler()),
        (14.904043648, 26.171812205, 40.54791757),
    ),
}
"""Neuron, weight of the inputs, length, step, solver, and the first spikes."""


@pytest.mark.parametrize("name", NEURONS)
def test_any_neuron(x64, name):
    """Golden spike times within what the step allows."""
    neuron, weight, t1, dt, solver, expected = NEURONS[name]
    found = one_neuron(neuron, B_INPUT, weight, t1, dt, solver).spikes[0].times[0]
    np.testing.assert_allclose(found[: len(expected)], expected, rtol=0, atol=0.1)


def test_both_precisions_batches_and_jit(precision):
    """A batch is its members; float32 is close to the right values."""
    network = jax.tree.map(lambda x: jnp.asarray(x, precision), golden_network())
    times = jnp.asarray(golden.TIMES, precision)[None] + jnp.asarray([[0.0], [0.5]], precision)

    @jax.jit
    def run(times):
        spikes = ep.Spikes(times, jnp.asarray(golden.INDEX))
        return ep.simulate(network, spikes, golden.T1, solver=ep.Grid(0.1, 8, diffrax.Heun()), throw=False)

    batch = jax.vmap(run)(times)
    assert batch.spikes[0].times.dtype == precision and np.all(batch.result == ep.RESULTS.successful)
    tolerance = 1e-9 if precision == np.float64 else 2e-4
    for k in range(2):
        np.testing.assert_allclose(batch.spikes[0].times[k], run(times[k]).spikes[0].times, rtol=0, atol=tolerance)
    np.testing.assert_allclose(batch.spikes[0].times[0], EXACT, rtol=0, atol=2e-2)


def test_at_threshold_at_the_beginning(x64):
    """Fires at 0, as the last spike of the window before would have."""
    network = ep.FeedForward([(ep.Dense(jnp.zeros((2, 1))), ep.LIF(20.0, 5.0))])
    state = ep.NetworkState((ep.LIFState.free(jnp.array([1.0, 0.999]), jnp.zeros(2)),))
    silent = ep.Spikes(jnp.array([np.inf]), jnp.array([0]))
    found = ep.simulate(network, silent, 2.0, solver=ep.Grid(0.5, 2), state=state)
    np.testing.assert_array_equal(found.spikes[0].times, [[0.0, np.inf], [np.inf, np.inf]])
    np.testing.assert_array_equal(found.raster[0][:, 0], [1, 0, 0, 0])


def driven(bias, dt=0.5, slots=4, t1=10.0, weight=0.0, **options):
    """One LIF neuron with a constant current."""
    network = ep.FeedForward([(ep.Dense(jnp.full((1, 1), weight)), ep.LIF(20.0, 5.0, bias=jnp.asarray(bias)))])
    spikes = ep.Spikes(jnp.array([1.0]), jnp.array([0]))
    return ep.simulate(network, spikes, t1, solver=ep.Grid(dt, slots), **options)


def test_lost_spikes_and_long_steps_are_told():
    with pytest.raises(RUNTIME_ERRORS, match=r"layer 0 .*lost .*`max_spikes` allows; raise that bound"):
        driven(20.0, slots=2)
    with pytest.raises(RUNTIME_ERRORS, match="again in the same step of the solver: give a smaller `dt`"):
        driven(200.0, slots=30)
    with pytest.raises(RUNTIME_ERRORS, match="NaN or infinite"):
        driven(0.0, weight=np.nan)
    found = driven(200.0, slots=30, throw=False)
    assert found.result == ep.RESULTS.step_too_long


@pytest.mark.parametrize(
    "message, call",
    [
        (r"t1 = 10.3 must be a whole number of steps of dt = 0.5: give t1 = 10.5", lambda: driven(0.0, t1=10.3)),
        (r"t1 = 0.1 must be a whole number of steps of dt = 0.5: are both in one unit", lambda: driven(0.0, t1=0.1)),
        (r"t1 = inf must be a whole number of steps", lambda: driven(0.0, t1=np.inf)),
        (r"t1 is traced, .*static_argnames", lambda: jax.jit(lambda t1: driven(0.0, t1=t1).ys)(10.0)),
        (r"dt must be positive", lambda: ep.Grid(0.0, 3)),
        (r"max_spikes sets the size of arrays", lambda: ep.Grid(0.1, 0)),
        (r"adjoint of Grid must be an Implicit or a Surrogate", lambda: driven(0.0, adjoint=ep.AbstractAdjoint())),
        (
            r"adjoint of Exact must be an Implicit",
            lambda: ep.simulate(golden_network(), golden_spikes(), 9.0, solver=ep.Exact(3), adjoint=ep.Surrogate()),
        ),
    ],
)
def test_bad_input_is_told(x64, message, call):
    with pytest.raises(ValueError, match=message):
        call()


def test_reverse_and_forward_derivatives_are_differences(x64):
    """Of the program itself: taus, threshold, refractory period, weights, delays and input times at once."""
    network, (times, index) = several_populations(), several_inputs()
    numbers, rest = eqx.partition((network, jnp.asarray(times)), eqx.is_inexact_array)
    flat, unravel = jax.flatten_util.ravel_pytree(numbers)
    direction = jnp.asarray(np.random.default_rng(0).normal(size=flat.shape)) * 0.1

    def loss(x):
        network, times = eqx.combine(unravel(flat + x * direction), rest)
        solution = ep.simulate(network, ep.Spikes(times, index), 20.0, solver=ep.Grid(0.2, 16, diffrax.Heun()))
        trains = [jnp.where(s.times < jnp.inf, s.times, 0) for s in solution.spikes[:2]]
        return sum(jnp.sum(jnp.sin(t)) for t in trains) + jnp.sum(solution.state.neurons[2].v)

    along, step = jax.jit(lambda x: jax.jvp(loss, (x,), (1.0,))), 1e-6
    differences = (along(step)[0] - along(-step)[0]) / (2 * step)
    np.testing.assert_allclose(jax.grad(loss)(0.0), differences, rtol=1e-6)
    np.testing.assert_allclose(along(0.0)[1], differences, rtol=1e-6)


def test_second_derivatives_are_differences(x64):
    """Of first derivatives of the program itself, with neurons whose exponents depend on their state.

    No input lies on a point of the grid, where the shares of its arrival have a kink.
    """
    neuron = ep.QIF(jnp.full(2, 10.0), ep.CurrentSynapses(jnp.asarray(5.0)), refractory=jnp.asarray(1.2))
    lateral = ep.Dense(jnp.asarray([[0.3, 0.8], [0.6, -0.2]]), delay=jnp.asarray([1.3, 0.9]))
    network = ep.Recurrent([(ep.Dense(jnp.asarray([[8.0], [6.4]])), neuron, lateral)])
    numbers, rest = eqx.partition((network, jnp.asarray([0.7, 3.1, 5.4, 8.1])), eqx.is_inexact_array)
    flat, unravel = jax.flatten_util.ravel_pytree(numbers)
    direction = jnp.asarray(np.random.default_rng(0).normal(size=flat.shape)) * 0.1

    def loss(x):
        network, times = eqx.combine(unravel(flat + x * direction), rest)
        spikes = ep.Spikes(times, jnp.zeros(4, int))
        found = ep.simulate(network, spikes, 20.0, solver=ep.Grid(0.4, 8), throw=False)
        times, state = found.spikes[0].times, found.state.neurons[0]
        return jnp.sum(jnp.where(times < jnp.inf, jnp.sin(times), 0)) + jnp.sum(state.v), found.spikes[0].count()

    slope = jax.grad(loss, has_aux=True)

    @jax.jit
    def derivatives(x):
        (first, count), (second, _) = jax.jvp(slope, (x,), (1.0,))
        forward = jax.jvp(lambda x: jax.jvp(lambda x: loss(x)[0], (x,), (1.0,))[1], (x,), (1.0,))
        return first, count, second, *forward

    first, count, second, again, twice = derivatives(0.0)
    assert np.all(count >= 2)
    step = 1e-5
    differences = (derivatives(step)[0] - derivatives(-step)[0]) / (2 * step)
    np.testing.assert_allclose([second, twice], differences, rtol=1e-6)
    np.testing.assert_allclose(again, first, rtol=1e-9)


def test_implicit_gradients_are_the_golden_ones(x64):
    """Of the sum of all spike times: gains of weights, a shift of delays, tau_mem, threshold, refractory period."""
    p = {"weight": jnp.asarray(1.0), "delay": jnp.asarray(0.0), "tau_mem": jnp.asarray(20.0)}
    p |= {"threshold": jnp.asarray(1.0), "refractory": jnp.asarray(2.0)}

    def loss(p):
        neuron = ep.LIF(p["tau_mem"], 5.0, p["threshold"], ep.ResetToValue(0.0), p["refractory"])
        lateral = ep.Dense(p["weight"] * golden.WEIGHT, delay=golden.DELAY + p["delay"])
        network = ep.Recurrent([(ep.Dense(jnp.asarray(golden.INPUT_WEIGHT)), neuron, lateral)])
        found = ep.simulate(network, golden_spikes(), golden.T1, solver=ep.Grid(0.02, 8, diffrax.Heun()))
        return jnp.sum(jnp.where(found.spikes[0].times < jnp.inf, found.spikes[0].times, 0))

    found = jax.grad(loss)(p)
    for name, value in found.items():
        expected = golden.GRADIENTS["weight gain" if name == "weight" else name][0]
        tolerance = 0.1 if name == "delay" else 0.02
        np.testing.assert_allclose(value, expected, rtol=tolerance, err_msg=name)


def test_arrivals_at_points_have_the_derivative_of_their_neighbours():
    """Shares 1 - x and x of the points around: derivatives -1 and 1 everywhere but before the earliest point."""
    grating = Grating(20, jnp.asarray(0.1), jnp.asarray(2.0))
    shares = jax.jacfwd(lambda position: jnp.stack(grating.share(position, 3)[1:]))
    np.testing.assert_array_equal(jax.vmap(shares)(jnp.array([10.0, 10.25, 3.0])), [[-1, 1]] * 3)
    np.testing.assert_array_equal(shares(2.5), [0, 0])
