"""The reference itself, held to analytic results: everything else in this folder leans on it."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.linalg import expm
from scipy.special import lambertw

from tests.eventprop.reference import Neuron, events, flow, simulate_layer, simulate_neuron

RATIOS = (4.0, 2.0, 1.0, 1.0000001, 0.5, 0.01)


@pytest.mark.parametrize("ratio", RATIOS)
def test_flow_is_the_matrix_exponential(ratio):
    neuron = Neuron(tau_mem=20.0, tau_syn=20.0 / ratio, bias=0.3)
    rates = np.array([[-1 / 20, 1 / 20, 0.3 / 20], [0.0, -ratio / 20, 0.0], [0.0, 0.0, 0.0]])
    for t in (0.0, 1e-3, 1.0, 7.0, 60.0):
        expected = expm(rates * t) @ [-0.4, 1.7, 1.0]
        np.testing.assert_allclose(flow(neuron, t, -0.4, 1.7), expected[:2], rtol=1e-13, atol=1e-15)


def test_single_psp_with_twice_the_time_constant():
    """V = w (e^{-t/20} - e^{-t/10}): with x = e^{-t/20}, x - x^2 = theta / w."""
    weight = 6.0
    trajectory = simulate_neuron([3.0], [weight], Neuron(20.0, 10.0, refractory=np.inf))
    x = 0.5 * (1 + np.sqrt(1 - 4 / weight))
    assert trajectory.spikes == pytest.approx([3.0 - 20 * np.log(x)], abs=1e-12)


def test_single_psp_with_equal_time_constants():
    """V = w (t/tau) e^{-t/tau} = theta  <=>  t = -tau W_0(-theta/w)."""
    weight, tau = 4.0, 10.0
    trajectory = simulate_neuron([3.0], [weight], Neuron(tau, tau, refractory=np.inf))
    assert trajectory.spikes == pytest.approx([3.0 - tau * lambertw(-1 / weight).real], abs=1e-12)


@pytest.mark.parametrize("refractory", [0.0, 2.5])
def test_constant_current_gives_the_textbook_interval(refractory):
    neuron = Neuron(tau_mem=20.0, reset_value=-0.2, bias=1.6, refractory=refractory)
    spikes = simulate_neuron([], [], neuron, t1=200.0).spikes
    first, interval = 20 * np.log(1.6 / 0.6), 20 * np.log(1.8 / 0.6) + refractory
    expected = first + interval * np.arange(len(spikes))
    np.testing.assert_allclose(spikes, expected, rtol=0, atol=1e-11)
    assert expected[-1] < 200.0 < expected[-1] + interval


def test_potential_without_spikes_is_the_convolution():
    """Superposition of PSPs, each by quadrature of the defining integral."""
    neuron = Neuron(tau_mem=15.0, tau_syn=6.0, threshold=np.inf)
    times, charges = np.array([1.0, 4.0, 4.5]), np.array([0.7, -1.1, 2.0])
    trajectory = simulate_neuron(times, charges, neuron)
    for t in (2.0, 4.2, 30.0):
        expected = sum(
            quad(
                lambda s, k=k: charges[k] * np.exp(-(s - times[k]) / 6 - (t - s) / 15) / 15, times[k], t, epsabs=1e-14
            )[0]
            for k in np.flatnonzero(times < t)
        )
        assert trajectory.state(t)[0] == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("excess", [1e-4, 1e-8, 1e-12])
def test_near_tangential_maximum_is_seen(excess):
    """The maximum of a PSP with tau_mem = 2 tau_syn is w / 4, at t = 20 ln 2."""
    neuron = Neuron(20.0, 10.0, refractory=np.inf)
    (spike,) = simulate_neuron([0.0], [4 * (1 + excess)], neuron).spikes
    assert spike == pytest.approx(
        -20 * np.log(0.5 * (1 + np.sqrt(1 - 1 / (1 + excess)))), rel=1e-4 if excess < 1e-9 else 1e-9
    )
    assert spike < 20 * np.log(2)
    assert simulate_neuron([0.0], [4 * (1 - excess)], neuron).spikes == []


def test_held_neuron_keeps_its_potential_and_gathers_current():
    neuron = Neuron(20.0, 5.0, refractory=10.0, reset_value=0.1)
    trajectory = simulate_neuron([0.0, 8.0], [12.0, 3.0], neuron, t1=40.0)
    spike = trajectory.spikes[0]
    assert spike < 8.0 and (len(trajectory.spikes) == 1 or trajectory.spikes[1] > spike + 10.0)
    assert trajectory.state(spike + 9.9)[0] == 0.1
    assert trajectory.state(8.5)[1] == pytest.approx(12 * np.exp(-8.5 / 5) + 3 * np.exp(-0.5 / 5), rel=1e-14)


def test_events_are_merged_in_order():
    layer = simulate_layer([0.0, 1.0], [0, 1], [[9.0, 5.0], [2.0, 9.0]], Neuron(20.0, 5.0), t1=50.0)
    times, sources = events(layer)
    assert np.all(np.diff(times) >= 0) and set(sources) == {0, 1}
    assert len(times) == sum(len(trajectory.spikes) for trajectory in layer)
