"""Targets of exponentials, adaptation and constant currents: what may be asked for, and what a model's neurons mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
import hardware as hw
from hardware import adex
from hardware.chip import ADAPTATION_A
from hardware.circuits import circuit
from hardware.procedure import _digital

SYNAPSES = ep.CurrentSynapses(5.0)
# The adapting neuron of Naud et al. 2008: pF, nS, mV, ms, pA
ADAPTING = ep.AdEx(
    SYNAPSES, C=200.0, g=12.0, E=-70.0, V_T=-50.0, D=2.0, a=2.0, tau_w=300.0, b=60.0, V_r=-58.0, bias=500.0
)


def network(*neurons: ep.AbstractNeuron) -> ep.FeedForward:
    layers, sources = [], 2
    for neuron in neurons:
        layers.append((ep.Dense(jnp.zeros((3, sources))), neuron))
        sources = 3
    return ep.FeedForward(layers)


def targets(*neurons, **options):
    made = network(*neurons)
    placement = hw.place(made)
    return placement, hw.Targets.of(made, placement, **hw.adex_targets(made, 0.5, 220.0, **options))


def at(found, name, circuits):
    return np.asarray(getattr(found, name))[circuits.ravel()]


def test_a_model_in_pF_nS_mV_and_pA():
    """1 mV is 2 LSB, 1 ms is 1 µs: by hand."""
    placement, found = targets(ADAPTING, ep.LIF(6.0, 4.0, refractory=1.0))
    first, second = placement.circuits
    wanted = {
        "leak": 80.0,
        "threshold": 220.0,
        "tau_mem": 200 / 12,
        "tau_syn_exc": 5.0,
        "onset": 120.0,
        "sharpness": 4.0,
        "adaptation_a": 0.01,
        "adaptation_b": 0.6,
        "tau_adaptation": 300.0,
        "offset": 5.0,
        "refractory_time": 2.0,
    }
    for name, value in wanted.items():
        np.testing.assert_allclose(at(found, name, first), value, rtol=1e-6, err_msg=name)
    # In 2 µs a clamp of 0.5 µs comes as near to the reset as it has to for -58 mV.
    reset = at(found, "reset", first)
    np.testing.assert_allclose(reset + (220 - reset) * np.exp(-4), 104, rtol=1e-6)
    for name, value in {"tau_mem": 6, "tau_syn_inh": 4, "refractory_time": 1, "leak": 80, "threshold": 125}.items():
        np.testing.assert_array_equal(at(found, name, second), value)
    assert np.all(np.isnan(at(found, "onset", second))) and np.all(np.isnan(at(found, "offset", second)))


def test_a_holdoff_shortens_the_clamp():
    placement, found = targets(ADAPTING, refractory_time=2.0, holdoff_time=1.0)
    (first,) = placement.circuits
    reset = at(found, "reset", first)
    np.testing.assert_allclose(reset + (220 - reset) * np.exp(-2), 104, rtol=1e-6)
    np.testing.assert_array_equal(at(found, "holdoff_time", first), 1)
    # 31 periods of the refractory clock, 64 ns, hold it, 250 do not hold more than 2 µs.
    codes = _digital(hw.Ideal(), found)
    np.testing.assert_array_equal(codes.refractory_clock[first.ravel()], 3)
    np.testing.assert_array_equal(codes.holdoff_time[first.ravel()], 15 - 7)
    with pytest.raises(ValueError, match="refractory_time - holdoff_time must be positive"):
        targets(ADAPTING, refractory_time=1.0, holdoff_time=1.0)


def test_the_first_of_merged_circuits_adapts_for_all():
    wide = ep.FeedForward([(ep.Dense(jnp.zeros((3, 200))), ADAPTING)])
    placement = hw.place(wide)
    (circuits,) = placement.circuits
    assert circuits.shape == (3, 2)
    found = hw.Targets.of(wide, placement, **hw.adex_targets(wide, 0.5, 220.0))
    chip = hw.Chip.ideal()
    codes = hw.Codes.default(adaptation_a=found.adaptation_a[circuits[0, 0]] / ADAPTATION_A)
    merged = circuit(chip.parameters(codes), circuits, hw.Features(adaptation=True))
    np.testing.assert_allclose(merged.adaptation.a, ADAPTING.a / ADAPTING.C, rtol=1e-5)
    np.testing.assert_allclose(at(found, "adaptation_b", circuits), 1.2, rtol=1e-6)


def test_a_bias_needs_an_offset():
    made = network(ep.LIF(10.0, 10.0, bias=0.5, refractory=2.0))
    with pytest.raises(ValueError, match=r"population 0 have the bias 0\.5, a constant current: give offset"):
        hw.Targets.of(made, hw.place(made))
    assert hw.Targets.of(made, hw.place(made), offset=0.5 / 10 * 45).offset is not None


def test_neurons_with_a_part_of_it():
    eif = ep.EIF(10.0, SYNAPSES, sharpness=2.0, peak=0.0, onset=-50.0, reset=-58.0, rest=-70.0, bias=5.0)
    placement, found = targets(eif, ep.LIF(6.0, 4.0), refractory_time=3.0)
    first, _ = placement.circuits
    np.testing.assert_allclose(at(found, "sharpness", first), 4)
    np.testing.assert_allclose(at(found, "offset", first), 1)
    np.testing.assert_array_equal(at(found, "refractory_time", first), 3)
    assert found.adaptation_b is None
    # tau_mem V' = ... - beta A, one threshold is 45 LSB
    alif = network(ep.ALIF(10.0, SYNAPSES, ep.AdaptiveCurrent(0.2, 50.0), reset=ep.ResetToValue(0.0)))
    wanted = hw.adex_targets(alif, 1 / 45, 80.0)
    assert wanted["leak"] == (80,) and wanted["threshold"] == (125,) and wanted["adaptation_a"] == (0,)
    np.testing.assert_allclose(wanted["adaptation_b"], 0.9)
    assert wanted["tau_adaptation"] == (50,) and "onset" not in wanted


def test_gradients_reach_the_model():
    def sharpness(d):
        neuron = ep.AdEx(SYNAPSES, 200.0, 12.0, -70.0, -50.0, d, 2.0, 300.0, 60.0, -58.0)
        return jnp.nansum(jnp.asarray(targets(neuron)[1].sharpness))

    np.testing.assert_allclose(jax.grad(sharpness)(2.0), 6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"onset": 100}, "an exponential need onset and sharpness, but there is only"),
        (
            {"adaptation_a": 0.1, "adaptation_b": 0.1},
            "adaptation need adaptation_a and adaptation_b and tau_adaptation",
        ),
        ({"onset": 120, "sharpness": 2}, "3 times the sharpness or more above the onset, but is 2.5 times"),
        ({"onset": 100, "sharpness": 11}, "sharpness must lie within 1 to 10 LSB, but is 11"),
        (
            {"adaptation_a": 0.5, "adaptation_b": 0, "tau_adaptation": 50},
            "adaptation_a must lie within -0.4 to 0.4 1/µs",
        ),
        ({"offset": -1}, "offset must lie within 0 to 8"),
        ({"onset": np.where(np.arange(512) < 9, 100, np.nan), "sharpness": 2}, "of the same circuits, None or nan"),
    ],
)
def test_what_cannot_be_asked_for(given, message):
    with pytest.raises(ValueError, match=message):
        hw.Targets.default(**given)


def test_subtraction_is_no_reset_of_the_chip():
    alif = ep.ALIF(10.0, SYNAPSES, ep.AdaptiveCurrent(4.0, 50.0))
    with pytest.raises(ValueError, match="give ALIF the reset ResetToValue"):
        hw.adex_targets(network(alif), 0.5, 220.0)
    with pytest.raises(ValueError, match="trace_scale must be positive"):
        hw.adex_targets(network(ADAPTING), 0.0, 220.0)


def test_upstrokes_backwards_in_time(x64):
    """x' = x - exp(x) from the peak on: time from x to the peak is the integral of 1 / (exp(x) - x)."""
    step = 1 / (10 * 29.4)
    for peak in (3.0, 25.0):
        course = np.asarray(adex._upstroke(jnp.asarray([peak]), step))[:, 0]
        fine = np.linspace(course[-1], peak, 200_001)
        rate = 1 / (np.exp(fine) - fine)
        time = np.concatenate([np.cumsum((rate[1:] + rate[:-1])[::-1])[::-1] / 2, [0]]) * (fine[1] - fine[0])
        expected = np.interp((np.arange(len(course)) + 0.5) * step, time[::-1], fine[::-1])
        np.testing.assert_allclose(course, expected, atol=2e-3)
    np.testing.assert_allclose(course[round(adex.CROSSED / step)], 0, atol=0.01)
