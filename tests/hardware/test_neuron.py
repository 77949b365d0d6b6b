import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import eventprop as ep
from hardware.neuron import Adaptation, Circuit, Conductance, Rail, Receptor, Upstroke

TIMES = (1.0, 3.0, 6.0, 8.0, 9.5, 12.25, 13.0, 15.1)
INPUT = ep.Spikes.from_events(TIMES, [0] * len(TIMES))
T1 = 30.0
FINE = ep.Hybrid(0.5, 8, solver=diffrax.Tsit5(), stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-8))

FULL = Circuit(
    20.0,
    80.0,
    (
        Receptor(5.0, 0.09, Conductance(300.0, 80.0)),
        Receptor(8.0, -0.09, Rail(53.0, 16.0)),
    ),
    200.0,
    90.0,
    tau_reset=0.5,
    refractory=2.0,
    holdoff=0.4,
    offset=2.4,
    upstroke=Upstroke(120.0, 4.0),
    adaptation=Adaptation(0.01, 0.6, 30.0),
)
WEIGHTS = (60.0, 20.0)


def network(neuron, weights=WEIGHTS):
    return ep.Network([neuron], [(None, 0, ep.Dense(jnp.array([[w]]), port=port)) for port, w in enumerate(weights)])


def reference(t1):
    """The circuit with SciPy: from event to event, with the phases written out."""

    def field(phase):
        def f(t, y):
            v, e, i, w, _ = y
            up = 4 * np.exp(min((v - 120) / 4, 40)) if phase == "free" else 0
            dv = (80 - v + up) / 20 + 2.4 - w
            dv += 0.09 * e * (300 - v) / (300 - 80) - 0.09 * i / (1 + np.exp((53 - v) / 16))
            dv += (90 - v) / 0.5 if phase == "clamped" else 0
            return [dv, -e / 5, -i / 8, (0.01 * (v - 80) - w) / 30, -1]

        return f

    def fires(t, y):
        return y[0] - 200

    def opens(t, y):
        return 0.4 - y[4]

    fires.terminal = opens.terminal = True
    fires.direction = opens.direction = 1
    y, t, spikes, phase = np.array([80.0, 0, 0, 0, 0]), 0.0, [], "free"
    for arrival in (*TIMES, t1):
        while t < arrival:
            run = solve_ivp(
                field(phase),
                (t, arrival),
                y,
                "DOP853",
                events=fires if phase == "free" else opens,
                rtol=1e-11,
                atol=1e-9,
            )
            t, y = run.t[-1], run.y[:, -1].copy()
            if run.status == 1 and phase == "free":
                spikes.append(t)
                y[3], y[4], phase = y[3] + 0.6, 2.0, "clamped"
            elif run.status == 1:
                phase = "free"
        y[1], y[2] = y[1] + WEIGHTS[0], y[2] + WEIGHTS[1]
    return np.array(spikes), y


def test_everything_on_agrees_with_scipy(x64):
    spikes, _ = reference(T1)
    assert len(spikes) == 2
    found = ep.simulate(network(FULL), INPUT, T1, solver=FINE)
    np.testing.assert_allclose(found.spikes[0].times[0][: len(spikes)], spikes, atol=2e-6)
    assert found.spikes[0].count()[0] == len(spikes)


def test_the_grid_converges_to_it(x64):
    spikes, _ = reference(T1)
    errors = []
    for dt in (0.1, 0.0125):
        found = ep.simulate(network(FULL), INPUT, T1, solver=ep.Grid(dt, 8))
        errors.append(np.max(np.abs(found.spikes[0].times[0][: len(spikes)] - spikes)))
    assert errors[0] < 0.15
    assert errors[1] < 0.05 * errors[0]


@pytest.mark.parametrize("solver", [ep.Hybrid(0.25, 8, 1024), ep.Grid(0.1, 8)])
def test_a_membrane_above_threshold_fires_as_its_hold_off_ends(x64, solver):
    """It is there 0.7 µs after the clamp: intervals are the refractory period, whatever the hold-off."""

    def times(refractory, holdoff):
        receptors = (Receptor(5.0, 0.1),)
        circuit = Circuit(10.0, 80.0, receptors, 125.0, 80.0, 0.2, refractory, holdoff, offset=60.0)
        return ep.simulate(network(circuit, (1.0,)), INPUT, 10.0, solver=solver).spikes[0].times[0, :5]

    found = times(2.0, 1.5)
    np.testing.assert_allclose(np.diff(found), 2.0, rtol=1e-9)
    slopes = jax.jit(jax.grad(lambda *x: times(*x)[4], (0, 1)))(2.0, 1.5)
    np.testing.assert_allclose(slopes, (4.0, 0.0), atol=1e-9)


def test_a_fast_clamp_is_the_reset_of_lif(x64):
    lif = ep.LIF(20.0, 5.0, 1.0, ep.ResetToValue(0.0), refractory=2.0)
    circuit = Circuit(20.0, 0.0, (Receptor(5.0, 1 / 20),), 1.0, 0.0, tau_reset=1e-6, refractory=2.0)
    grid = ep.Grid(0.05, 8)
    at_29 = diffrax.SaveAt(ts=[29.0])
    one, other = (ep.simulate(network(n, (6.0,)), INPUT, T1, solver=grid, saveat=at_29) for n in (lif, circuit))
    assert one.spikes[0].count()[0] == 5
    np.testing.assert_allclose(other.spikes[0].times, one.spikes[0].times, atol=1e-3)
    np.testing.assert_allclose(other.ys[0], one.ys[0], atol=1e-3)


def test_below_threshold_it_is_adex(x64):
    """In the units of the table of Naud et al.: C 200 pF, g 12 nS, E -70 mV, V_T -50, D 2, a 2 nS, tau_w 300 ms."""
    adex = ep.AdEx(ep.CurrentSynapses(5.0), 200.0, 12.0, -70.0, -50.0, 2.0, 2.0, 300.0, 60.0, -58.0, bias=500.0)
    circuit = Circuit(
        200 / 12,
        -70.0,
        (Receptor(5.0, 1 / 200),),
        0.0,
        -58.0,
        offset=2.5,
        upstroke=Upstroke(-50.0, 2.0),
        adaptation=Adaptation(2 / 200, 60 / 200, 300.0),
    )
    first = [ep.simulate(network(n, (10.0,)), INPUT, 18.0, solver=FINE).spikes[0].times[0, 0] for n in (adex, circuit)]
    assert first[0] < 18
    np.testing.assert_allclose(first[1], first[0], atol=1e-6)


def test_after_a_holdoff_it_fires_at_once(x64):
    """A drive that lifts the open membrane over its threshold before the hold-off ends."""
    circuit = Circuit(10.0, 80.0, (Receptor(5.0, 0.1),), 120.0, 70.0, refractory=6.0, holdoff=4.0, offset=30.0)
    for solver in (FINE, ep.Grid(0.05, 8)):
        times = ep.simulate(network(circuit, (0.0,)), INPUT, T1, solver=solver).spikes[0].times[0]
        np.testing.assert_allclose(np.diff(times[:3]), 6.0, atol=0.1)


def test_gradients_through_the_grid(x64):
    """Implicit derivatives equal central differences in a parameter of each part."""

    def total(p):
        circuit = Circuit(
            20.0 + p[0],
            80.0,
            (Receptor(5.0 + p[1], 0.09), Receptor(8.0, -0.09, Rail(53.0 + p[2], 16.0))),
            130.0 + p[3],
            90.0 + p[4],
            offset=4.5 + p[5],
        )
        spikes = ep.simulate(network(circuit), INPUT, 15.0, solver=ep.Grid(0.1, 8)).spikes[0].times
        return jnp.sum(jnp.where(spikes < jnp.inf, spikes, 0.0))

    gradient = jax.grad(total)(jnp.zeros(6))
    for k in range(6):
        step = jnp.zeros(6).at[k].set(1e-5)
        difference = (total(step) - total(-step)) / 2e-5
        assert gradient[k] != 0
        np.testing.assert_allclose(gradient[k], difference, rtol=2e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [({"tau_mem": 0.0}, "tau_mem"), ({"tau_reset": -1.0}, "tau_reset"), ({"holdoff": 2.0}, "refractory - holdoff")],
)
def test_parameters_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        Circuit(**{"tau_mem": 10.0, "leak": 80.0, "receptors": (), "threshold": 120.0, "reset": 70.0} | arguments)
