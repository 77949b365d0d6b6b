"""Recurrent networks in closed form: golden values and gradients, ties, bursts, and what is in flight."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
from tests.eventprop import golden_network as golden
from tests.eventprop import network_reference
from tests.eventprop.network_reference import Projection
from tests.eventprop.reference import Neuron

RUNTIME_ERRORS = (RuntimeError, ValueError)
PARAMETERS = {
    "weight": golden.WEIGHT,
    "input": golden.INPUT_WEIGHT,
    "delay": golden.DELAY,
    "tau_mem": 20.0,
    "tau_syn": 5.0,
    "threshold": 1.0,
    "refractory": 2.0,
}
SLOTS = 8


def parameters(**changes):
    return {name: jnp.asarray(value) for name, value in (PARAMETERS | changes).items() if value is not None}


def golden_network(p):
    neuron = ep.LIF(p["tau_mem"], p["tau_syn"], p["threshold"], ep.ResetToValue(0.0), p["refractory"])
    return ep.Recurrent([(ep.Dense(p["input"]), neuron, ep.Dense(p["weight"], delay=p.get("delay")))])


def run(p, times=golden.TIMES, t1=golden.T1, throw=False):
    spikes = ep.Spikes(jnp.asarray(times, p["weight"].dtype), jnp.asarray(golden.INDEX))
    return ep.simulate(golden_network(p), spikes, t1, solver=ep.Exact(max_spikes=SLOTS, chunk=16), throw=throw)


def integral(p, solution):
    """That of all potentials: tau_mem (V(T) - V(0)) = int (I - V) over the time in which a membrane is free.

    I is a sum of exponentials that begin at the arrivals, with known integrals.
    """
    spikes = solution.spikes[0].times
    happened = spikes < jnp.inf
    spikes = jnp.where(happened, spikes, golden.T1)
    # [post, pre, event]
    inputs = np.stack([np.sort(golden.TIMES[golden.INDEX == channel]) for channel in range(3)])
    shape = (5, 8, SLOTS)
    delay = p.get("delay", jnp.zeros((5, 5)))
    arrivals = jnp.full(shape, golden.T1).at[:, :3, :6].set(jnp.broadcast_to(inputs, (5, 3, 6)))
    arrivals = arrivals.at[:, 3:].set(spikes[None] + delay[:, :, None])
    charge = jnp.concatenate([p["input"], p["weight"]], axis=1)[:, :, None]
    arrivals = arrivals[:, None]  # [post, refractory period, pre, event]

    def charge_until(t):
        t = t[:, :, None, None]
        passed = jnp.where(t > arrivals, t - arrivals, 0)
        return jnp.sum(charge[:, None] * p["tau_syn"] * (1 - jnp.exp(-passed / p["tau_syn"])), axis=(2, 3))

    released = jnp.minimum(spikes + p["refractory"], golden.T1)
    held = jnp.sum(jnp.where(happened, charge_until(released) - charge_until(spikes), 0))
    free = jnp.sum(charge_until(jnp.full((5, 1), golden.T1))) - held
    jumps = jnp.sum(happened) * p["threshold"] + jnp.sum(solution.state.neurons[0].v)
    return free - p["tau_mem"] * jumps


def losses(p):
    """L1, L2, L3 of the golden network, and the solution."""
    solution = run(p)
    times = solution.spikes[0].times
    first = jnp.sum(jnp.where(times < jnp.inf, times, 0))
    return jnp.stack([first, integral(p, solution), solution.state.neurons[0].v[0]]), solution


gradients = jax.jit(jax.jacrev(losses, has_aux=True))


def totals(p, jacobian):
    """The derivatives in the golden tables' directions: gains of weights, a shift of all delays, the parameters."""
    found = {
        "weight gain": jnp.sum(jacobian["weight"] * p["weight"][None], axis=(1, 2)),
        "input gain": jnp.sum(jacobian["input"] * p["input"][None], axis=(1, 2)),
        **{name: jacobian[name] for name in ("tau_mem", "tau_syn", "threshold", "refractory")},
    }
    if "delay" in jacobian:
        found["delay"] = jnp.sum(jacobian["delay"], axis=(1, 2))
    return found


def test_golden_network(x64):
    """Spikes, the state at the end, three losses, and all their gradients in the tables."""
    p = parameters()
    jacobian, solution = gradients(p)
    for row, expected in zip(np.asarray(solution.spikes[0].times), golden.SPIKES, strict=True):
        np.testing.assert_allclose(row[: len(expected)], expected, rtol=0, atol=1e-9)
        assert np.all(row[len(expected) :] == np.inf)
    np.testing.assert_allclose(solution.state.neurons[0].v, golden.V, rtol=0, atol=1e-10)
    np.testing.assert_allclose(solution.state.neurons[0].i, golden.I, rtol=0, atol=1e-10)
    np.testing.assert_allclose(losses(p)[0], list(golden.LOSSES.values()), rtol=0, atol=1e-8)
    for name, value in totals(p, jacobian).items():
        np.testing.assert_allclose(value, golden.GRADIENTS[name], rtol=0, atol=1e-8, err_msg=name)
    distinct = ~np.eye(5, dtype=bool)
    np.testing.assert_allclose(jacobian["weight"][0][distinct], golden.L1_BY_WEIGHT[distinct], rtol=0, atol=1e-8)
    np.testing.assert_allclose(jacobian["delay"][0][distinct], golden.L1_BY_DELAY[distinct], rtol=0, atol=1e-8)
    np.testing.assert_allclose(jacobian["input"][0], golden.L1_BY_INPUT_WEIGHT, rtol=0, atol=1e-8)


def reference_losses(p, delays):
    neurons = [[Neuron(p["tau_mem"], p["tau_syn"], p["threshold"], 0.0, p["refractory"])] * 5]
    projections = [Projection(None, 0, p["input"]), Projection(0, 0, p["weight"], p["delay"] if delays else 0.0)]
    found = network_reference.simulate(neurons, projections, golden.TIMES, golden.INDEX, golden.T1)
    spikes = sum(sum(cell.spikes) for cell in found.cells[0])
    return np.array([spikes, np.sum(found.values(0, "integral")), found.cells[0][0].v]), found


def test_golden_network_without_delays(x64):
    """No delay: spikes and losses of the reference, and gradients by central differences of it."""
    p = parameters(delay=None)
    jacobian, solution = gradients(p)
    expected, found = reference_losses(PARAMETERS, delays=False)
    np.testing.assert_allclose(solution.spikes[0].times, found.trains(0, SLOTS), rtol=0, atol=1e-9)
    np.testing.assert_allclose(losses(p)[0], expected, rtol=0, atol=1e-9)
    for name, value in totals(p, jacobian).items():
        key = name.removesuffix(" gain")
        unit = PARAMETERS[key] if name != key else 1.0

        def moved(step, key=key, unit=unit):
            return reference_losses(PARAMETERS | {key: PARAMETERS[key] + step * unit}, delays=False)[0]

        step = 1e-3 if name == "tau_mem" else 1e-4
        differences = (8 * (moved(step) - moved(-step)) - (moved(2 * step) - moved(-2 * step))) / (12 * step)
        np.testing.assert_allclose(value, differences, rtol=1e-8, atol=1e-8, err_msg=name)


def test_delays_of_zero_are_no_delays(x64):
    """As numbers, per source and per synapse: the event loop and windows of no length find the same spikes."""
    expected = reference_losses(PARAMETERS, delays=False)[1].trains(0, SLOTS)
    for delay in (0.0, np.zeros(5), np.zeros((5, 5))):
        np.testing.assert_allclose(run(parameters(delay=delay)).spikes[0].times, expected, rtol=0, atol=1e-9)


def test_small_delays_cost_no_turns(x64):
    """A delay of 1e-12 would be 6e13 windows of that length."""
    expected = reference_losses(PARAMETERS, delays=False)[1].trains(0, SLOTS)
    found = run(parameters(delay=np.full((5, 5), 1e-12))).spikes[0].times
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_forward_mode_and_second_derivatives(x64):
    """Forward mode gives the same derivatives; a Hessian's row equals differences of gradients.

    Forward over reverse mode is the order in which `lax.scan` drops rules of its body.
    """
    p = parameters()

    def spikes_by_gain(gain):
        return losses(p | {"weight": gain[0] * p["weight"], "delay": p["delay"] + gain[1]})[0]

    gain = jnp.array([1.0, 0.0])
    forward = jax.jit(jax.jacfwd(spikes_by_gain))
    jacobian = forward(gain)
    expected = np.array([golden.GRADIENTS["weight gain"], golden.GRADIENTS["delay"]]).T
    np.testing.assert_allclose(jacobian, expected, rtol=0, atol=1e-8)
    hessian = jax.jit(jax.jacfwd(jax.jacrev(spikes_by_gain)))(gain)
    for k in range(2):
        step = 1e-4 * jnp.eye(2)[k]
        near, far = forward(gain + step) - forward(gain - step), forward(gain + 2 * step) - forward(gain - 2 * step)
        differences = (8 * near - far) / 12e-4
        np.testing.assert_allclose(hessian[:, :, k], differences, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(hessian, np.swapaxes(hessian, 1, 2), rtol=1e-9, atol=1e-9)


def test_batches_and_both_precisions(precision):
    """vmap over networks and inputs gives what single runs give."""
    gains = jnp.array([0.9, 1.0, 1.1])
    times = jnp.asarray(golden.TIMES, precision)[None] + jnp.array([[0.0], [0.5], [1.0]], precision)
    base = jax.tree.map(lambda x: x.astype(precision), parameters())

    def one(gain, times):
        return run(base | {"weight": gain * base["weight"]}, times)

    batch = jax.jit(jax.vmap(one))(gains.astype(precision), times)
    for k in range(3):
        single = one(gains[k].astype(precision), times[k])
        assert batch.spikes[0].times.dtype == precision
        tolerance = 1e-9 if precision == np.float64 else 2e-3
        np.testing.assert_allclose(batch.spikes[0].times[k], single.spikes[0].times, rtol=0, atol=tolerance)
    expected = [row[0] for row in golden.SPIKES]
    np.testing.assert_allclose(run(base).spikes[0].first(), expected, rtol=0, atol=1e-9 if tolerance < 1e-8 else 1e-4)


def pair(lateral, delay=None, weight=((8.0,), (0.0,)), **options):
    neuron = ep.LIF(20.0, 5.0, **options)
    return ep.Recurrent([(ep.Dense(jnp.asarray(weight)), neuron, ep.Dense(jnp.asarray(lateral), delay=delay))])


def test_who_fires_at_a_moment_fires_before_anything_arrives(x64):
    """Two identical neurons that inhibit each other without delay both fire; a later one is kept from it."""
    network = pair(-30 * (1 - np.eye(3)), weight=((8.0,), (8.0,), (7.9,)))
    spikes = ep.Spikes(jnp.array([5.0]), jnp.array([0]))
    found = ep.simulate(network, spikes, 60.0, solver=ep.Exact(max_spikes=2)).spikes[0].times
    np.testing.assert_allclose(found[:, 0], [9.116609, 9.116609, np.inf], atol=1e-6)


def test_in_flight_at_the_end(x64):
    """Input at 5; the spike at 9.116609 arrives 10 later, in the next window, where neuron 1 fires at 8.233217."""
    network, solver = pair([[0.0, 0.0], [8.0, 0.0]], delay=10.0), ep.Exact(max_spikes=2)
    spikes = ep.Spikes(jnp.array([5.0]), jnp.array([0]))
    whole = ep.simulate(network, spikes, 60.0, solver=solver)
    np.testing.assert_allclose(whole.spikes[0].first(), [9.116609, 23.233217], atol=1e-6)
    cut = ep.simulate(network, spikes, 15.0, solver=solver)
    np.testing.assert_allclose(cut.state.neurons[0].v, [0.511371, 0], atol=1e-6)
    np.testing.assert_allclose(cut.state.neurons[0].i, [1.082682, 0], atol=1e-6)
    flight = cut.state.in_flight[1]
    assert flight.index[0] == 0 and np.sum(np.isfinite(flight.times)) == 1
    np.testing.assert_allclose(flight.times[0], 4.116609, atol=1e-6)
    rest = ep.simulate(network, ep.Spikes(jnp.array([np.inf]), jnp.array([0])), 45.0, solver=solver, state=cut.state)
    np.testing.assert_allclose(rest.spikes[0].first(), [np.inf, 8.233217], atol=1e-6)


DELAY_CASES = {
    (1.5, 0.25): (11.641331, (0.248245, 0.751755)),
    (2.0, 0.0): (11.596389, None),
    (1.0, 0.0): (11.331319, None),
    (1.5, 0.0): (11.455466, None),
}


@pytest.mark.parametrize("recurrent", [False, True])
def test_delays_of_inputs(x64, recurrent):
    """Inputs at 5 (w 4) and 9 (w 5), one neuron, with a lateral synapse of no weight in the recurrent solver."""

    @jax.jit
    def first(delay):
        layer = (ep.Dense(jnp.array([[4.0, 5.0]]), delay=delay), ep.LIF(20.0, 5.0), ep.Dense(jnp.array([[0.0]])))
        network = ep.Recurrent([layer if recurrent else layer[:2]])
        spikes = ep.Spikes(jnp.array([5.0, 9.0]), jnp.array([0, 1]))
        return ep.simulate(network, spikes, 60.0, solver=ep.Exact(max_spikes=2)).spikes[0].times[0, 0]

    slope = jax.jit(jax.grad(first))
    for delay, (expected, slopes) in DELAY_CASES.items():
        np.testing.assert_allclose(first(jnp.array(delay)), expected, atol=1e-6)
        if slopes is not None:
            np.testing.assert_allclose(slope(jnp.array(delay)), slopes, atol=1e-6)


FEW_SPIKES = ep.Exact(max_spikes=9, chunk=16)
FEW_EVENTS = ep.Exact(max_spikes=40, max_events=20, max_in_flight=2, chunk=16)


@eqx.filter_jit
def crowd(weight, delay, solver):
    network = pair(weight, delay=delay, weight=np.full((4, 1), 8.0))
    spikes = ep.Spikes(jnp.array([5.0]), jnp.array([0]))
    return ep.simulate(network, spikes, 200.0, solver=solver, throw=True)


@pytest.mark.parametrize(
    "weight, delay, solver, message",
    [
        (100.0, 0.0, FEW_SPIKES, r"layer 0 .*lost .*`max_spikes` allows; raise that bound"),
        (1e9, 1e-3, FEW_SPIKES, r"layer 0 .*lost .*`max_spikes` allows; raise that bound"),
        (20.0, 2.0, FEW_EVENTS, r"layer 0 .*lost .*`max_events` allows; raise that bound"),
        (0.0, 300.0, FEW_EVENTS, r"layer 0 .*lost 2 .*`max_in_flight` allows; raise that bound"),
    ],
)
def test_bursts_without_end_are_told(weight, delay, solver, message):
    with pytest.raises(RUNTIME_ERRORS, match=message):
        crowd(jnp.full((4, 4), weight), jnp.asarray(delay), solver)


def test_more_arrivals_at_one_moment_than_are_read_together(x64):
    """Twenty neurons fire together, ten arrivals more come from outside: a chunk of three takes several turns."""
    neurons, weight = [[Neuron(20.0, 5.0)] * 20], np.random.default_rng(0).normal(0.15, 0.4, (20, 20))
    times, index = np.array([5.0] * 10 + [9.0]), np.zeros(11, int)
    for delay in (None, np.full((20, 20), 2.0)):
        projections = [
            Projection(None, 0, np.full((20, 1), 0.8)),
            Projection(0, 0, weight, 0.0 if delay is None else delay),
        ]
        expected = network_reference.simulate(neurons, projections, times, index, 40.0).trains(0, 4)
        assert np.sum(np.isfinite(expected)) > 35
        network = pair(weight, delay=delay, weight=np.full((20, 1), 0.8))
        solver = ep.Exact(max_spikes=4, chunk=3)
        found = ep.simulate(network, ep.Spikes(jnp.asarray(times), jnp.asarray(index)), 40.0, solver=solver)
        np.testing.assert_allclose(found.spikes[0].times, expected, rtol=0, atol=1e-9)
