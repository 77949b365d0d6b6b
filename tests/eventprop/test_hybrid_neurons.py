"""Hybrid runs every neuron: right spike times, potentials and gradients from high-precision integration elsewhere."""

from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
from tests.eventprop.golden_neurons import GOLDEN, TIMES


def hybrid(largest_step: float, tolerance: float = 1e-10) -> ep.Hybrid:
    controller = diffrax.PIDController(rtol=tolerance, atol=tolerance)
    return ep.Hybrid(
        largest_step, max_spikes=64, max_steps=4096, solver=diffrax.Dopri8(), stepsize_controller=controller
    )


def simulate(neuron, charge, t1, solver, **options):
    network = ep.FeedForward([(ep.Dense(jnp.full((1, 1), charge)), neuron)])
    return ep.simulate(
        network, ep.Spikes.from_events(TIMES, np.zeros(8, int)), t1, solver=solver, throw=False, **options
    )


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_spikes(x64, name):
    golden = GOLDEN[name]
    found = simulate(golden.neuron, golden.charge, golden.t1, hybrid(2.0))
    assert found.result == ep.RESULTS.successful
    times = np.asarray(found.spikes[0].times[0])
    assert np.sum(times < np.inf) == golden.count
    digits = 1e-6 if name.startswith("EIF") else 1e-7
    np.testing.assert_allclose(times[: len(golden.spikes)], golden.spikes, rtol=0, atol=digits)
    state = found.state.neurons[0]
    if golden.v is not None:
        np.testing.assert_allclose(state.v[0], golden.v, rtol=0, atol=1e-8)
    if golden.adaptation is not None:
        np.testing.assert_allclose(state.adaptation[0], golden.adaptation, rtol=0, atol=1e-8)


def test_upstrokes_in_float32():
    """However sharp and high they are."""
    for name in ("EIF .2", "EIF .05", "EIF .01", "EIF .001"):
        golden = GOLDEN[name]
        times = simulate(golden.neuron, 0.0, golden.t1, hybrid(2.0, 1e-5)).spikes[0].times
        np.testing.assert_allclose(times[0, 0], golden.spikes[0], atol=5e-5)
    high = [
        simulate(ep.EIF(20.0, ep.CurrentSynapses(5.0), 0.001, 1 + 0.001 * peak, bias=1.5), 0.0, 23.0, hybrid(2.0, 1e-5))
        for peak in (40.0, 100.0)
    ]
    np.testing.assert_allclose(high[0].spikes[0].times[0, 0], high[1].spikes[0].times[0, 0], rtol=0, atol=1e-3)


class Gradient(NamedTuple):
    """A neuron of some parameters, and the derivatives of the sum of its spike times until t1.

    The state at the beginning is that of the neuron with these parameters, and stays.
    """

    neuron: Any
    parameters: dict[str, float]
    right: dict[str, float]
    t1: float


def _alif(p):
    adaptation = ep.AdaptiveThreshold(p["beta"], p["tau_a"])
    return ep.ALIF(p["tau_mem"], ep.CurrentSynapses(p["tau_syn"]), adaptation, bias=p["bias"])


def _qif(p):
    return ep.QIF(p["tau_mem"], ep.CurrentSynapses(p["tau_syn"]), p["peak"], p["reset"])


def _izhikevich(p):
    return ep.Izhikevich(ep.CurrentSynapses(5.0), p["a"], p["b"], p["c"], p["d"], bias=p["bias"])


def _adex(p):
    names = ("C", "g", "E", "V_T", "D", "a", "tau_w", "b", "V_r")
    return ep.AdEx(ep.CurrentSynapses(5.0), *(p[name] for name in names), bias=p["bias"])


def _eif(p):
    return ep.EIF(20.0, ep.CurrentSynapses(5.0), 0.01, 1.1, bias=p["bias"])


GRADIENTS = {
    "ALIF": Gradient(
        _alif,
        {"tau_mem": 20.0, "tau_syn": 5.0, "tau_a": 100.0, "beta": 0.4, "bias": 1.3, "charge": 0.8},
        {
            "tau_mem": 3.723405449,
            "tau_syn": -6.363940966,
            "tau_a": 0.9230988092,
            "beta": 254.5922511,
            "bias": -357.1750678,
            "charge": -43.47649395,
        },
        200.0,
    ),
    "QIF": Gradient(
        _qif,
        {"tau_mem": 10.0, "tau_syn": 5.0, "peak": 10.0, "reset": -1.0, "charge": 2.5},
        {
            "tau_mem": 11.73835214,
            "tau_syn": -14.13032639,
            "peak": 0.8056508732,
            "reset": -11.11685418,
            "charge": -34.1879866,
        },
        100.0,
    ),
    "Izhikevich": Gradient(
        _izhikevich,
        {"a": 0.02, "b": 0.2, "c": -65.0, "d": 8.0, "bias": 10.0},
        {"a": -13888.68472, "b": -2331.108128, "c": 0.389673885, "d": 41.47896057, "bias": -57.98123656},
        200.0,
    ),
    "AdEx": Gradient(
        _adex,
        {"C": 200, "g": 12, "E": -70, "V_T": -50, "D": 2, "a": 2, "tau_w": 300, "b": 60, "V_r": -58, "bias": 500},
        {
            "C": 2.75383537,
            "g": 92.82036377,
            "E": -73.71985274,
            "V_T": 94.7965777,
            "D": 25.6768262,
            "a": 34.0764921,
            "tau_w": 1.009257749,
            "b": 19.65598481,
            "V_r": -17.87673193,
            "bias": -5.824247024,
        },
        300.0,
    ),
    "EIF": Gradient(_eif, {"bias": 1.5}, {"bias": -29.12831}, 35.0),
}

ROUTES = [
    pytest.param("ALIF", ep.EventProp(), id="ALIF-EventProp"),
    *(
        pytest.param(name, adjoint, id=f"{name}-{type(adjoint).__name__}", marks=pytest.mark.slow)
        for name in GRADIENTS
        for adjoint in (ep.Implicit(), ep.EventProp())
        if (name, type(adjoint)) != ("ALIF", ep.EventProp)
    ),
]


@pytest.mark.parametrize(("name", "adjoint"), ROUTES)
def test_golden_gradients(x64, name, adjoint):
    """By both adjoints; a threshold that falls onto V is among them."""
    golden = GRADIENTS[name]
    p = {name: jnp.asarray(float(x)) for name, x in golden.parameters.items()}
    state = ep.NetworkState((golden.neuron(p).init(1),))

    def total(p):
        solver = hybrid(2.0)
        found = simulate(golden.neuron(p), p.get("charge", 0.0), golden.t1, solver, adjoint=adjoint, state=state)
        times = found.spikes[0].times
        return jnp.sum(jnp.where(times < jnp.inf, times, 0))

    for name, value in jax.grad(total)(p).items():
        np.testing.assert_allclose(value, golden.right[name], rtol=1e-6, err_msg=name)
