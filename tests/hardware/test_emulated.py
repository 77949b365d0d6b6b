"""An emulated chip from codes to samples. Tests share programs: the same network, times and shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
import hardware as hw
from hardware.circuits import features_of
from tests.hardware.networks import TRIAL, experiment, layers

IDEAL = hw.Emulated(hw.Chip.ideal())
T1 = 20.0
BATCH = ep.Spikes.stack([TRIAL, TRIAL])
NETWORK = layers()
NONE = np.zeros(0)


def go(device, key, network=NETWORK, record=hw.Record(), throw=True, **options):
    setup = experiment(network, device, **options)
    return hw.run(setup, network, device, BATCH, T1, key, record, throw)


def response(end, weight, rows, key, leak=214.0):
    """Change of the potential of one circuit after one event, MADC LSB."""
    times = [NONE, NONE]
    times[end] = np.array([1.0])
    codes = hw.Codes.default(leak=leak, threshold=900.0)
    stimulus = hw.Stimulus(T1, tuple(times), weight=weight, rows=rows, madc=True)
    trace = np.asarray(IDEAL.measure(codes, stimulus, key).madc[:, 0])
    return np.max(np.abs(trace - trace[0]))


def test_excitation_is_linear_and_scaled_as_hxtorch_has_it(key):
    """With both time constants 10 µs a weight of 50 lifts V by 16.6 LSB; 0.784 MADC LSB per weight up to 288."""
    assert response(0, 50.0, 1, key) / 2.5 == pytest.approx(45 / np.e, abs=0.4)
    np.testing.assert_allclose(response(0, 32.0, 9, key) / 288, 0.784, rtol=0.08)


def test_inhibition_saturates_as_measured(key):
    """14, 82, 129 MADC LSB for 32, 128, 288 with the leak at 254 MADC LSB."""
    heights = [response(1, 32.0, rows, key, leak=266.0) for rows in (1, 4, 9)]
    np.testing.assert_allclose(heights, [14, 82, 129], atol=10.5)


def test_leak_over_threshold(key):
    """T = t_clamp + tau ln((L - V_0) / (L - Theta)), where V_0 is how far the clamp gets in t_clamp.

    Of a refractory period of 255 clocks the clamp takes 254: a hold-off is an odd number of them, one at least.
    """
    codes = hw.Codes.default(leak=286, reset=166, threshold=232, refractory_counter=255)
    p = jax.tree.map(lambda x: float(x[0]), IDEAL.chip.parameters(codes))
    rate = 1 / p.tau_mem + 1 / p.tau_reset
    goal = (p.leak / p.tau_mem + p.reset / p.tau_reset) / rate

    def period(clamp):
        begin = goal + (p.threshold - goal) * np.exp(-clamp * rate)
        return clamp + p.tau_mem * np.log((p.leak - begin) / (p.leak - p.threshold))

    found = np.diff(IDEAL.measure(codes, hw.Stimulus(60.0), key).spikes.times[7, :5])
    np.testing.assert_allclose(found, period(254 * 0.008), atol=0.002)
    assert np.all(found < period(255 * 0.008) - 0.006)


def test_intervals_vary_between_neurons_and_hardly_within_one(key):
    """Measured: 6.02 +- 0.79 µs between uncalibrated neurons (13 %), 0.4 % within one.

    The codes of that measurement are not known: here a leak far above the threshold.
    """
    device = hw.Emulated(hw.Chip.fabricate(jax.random.key(3)))
    exc, inh = (jnp.round(x) for x in device.chip.right_shift)
    codes = hw.Codes.default(leak=980, reset=142, threshold=418, synin_shift_exc=exc, synin_shift_inh=inh)
    times = np.asarray(device.measure(codes, hw.Stimulus(60.0), key).spikes.times)
    intervals = np.diff(np.where(np.isfinite(times), times, np.nan), axis=1)[:, :5]
    fires = np.all(np.isfinite(intervals), axis=1)
    assert fires.mean() == 1
    mean = intervals[fires].mean(axis=1)
    assert 5.5 < mean.mean() < 6.5
    assert 0.1 < mean.std() / mean.mean() < 0.16
    assert 0.0005 < np.median(intervals[fires].std(axis=1, ddof=1) / mean) < 0.006


def test_codes_out_of_range_are_refused(key):
    with pytest.raises(ValueError, match="leak must be whole numbers from 0 to 1022"):
        IDEAL.measure(hw.Codes.default(leak=2000), hw.Stimulus(5.0), key)


def test_the_reference_shows_the_channels(key):
    device = hw.Emulated(hw.Chip.fabricate(jax.random.key(1)))
    samples = device.measure(hw.Codes.default(), hw.Stimulus(T1, reference=128.0), key).cadc
    np.testing.assert_allclose(np.mean(samples, axis=0), 128 + np.asarray(device.chip.cadc_offset), atol=1.5)


def test_a_network_on_an_ideal_chip_is_the_model(key):
    """Spikes of the first layer are those of the same circuits written down by hand."""
    recording = go(IDEAL, key)
    circuit = hw.Circuit(
        10.0, 80.0, (hw.Receptor(10.0, 0.09), hw.Receptor(10.0, -0.09, hw.Rail(53.0, 16.0))), 125.0, 70.0
    )
    weights = NETWORK.projections[0].connection.weight
    ends = (ep.Dense(jnp.maximum(weights, 0)), ep.Dense(jnp.maximum(-weights, 0), port=1))
    model = ep.Network([circuit], [(None, 0, each) for each in ends])
    expected = np.sort(np.asarray(ep.simulate(model, TRIAL, T1, solver=ep.Grid(0.1, 16)).spikes[0].times).ravel())
    times = np.asarray(recording.spikes[0].times[0])
    assert np.sum(np.isfinite(times)) == np.sum(np.isfinite(expected)) > 8
    stamps = times[np.isfinite(times)]
    np.testing.assert_allclose(stamps, expected[: len(stamps)], atol=0.03)
    np.testing.assert_allclose(stamps * 125, np.round(stamps * 125), atol=1e-3)
    assert recording.saturated == 0 and np.all(recording.drops == 0)


def test_what_a_recording_holds(key):
    recording = go(IDEAL, key, trace_scale=1 / 45, trace_offset=80.0, cadc_time_shift=-0.5)
    assert recording.time == 40
    assert recording.energy == pytest.approx(7)
    assert recording.cadc[1].shape == (2, 12, 3) and recording.spikes[1] is None
    np.testing.assert_allclose(recording.cadc_times[:2], [-0.5, 1.2], rtol=1e-6)
    np.testing.assert_array_equal(recording.cadc[0], np.round(recording.cadc[0]))
    np.testing.assert_allclose(recording.voltage[1], (recording.cadc[1] - 80) / 45, rtol=1e-5, atol=1e-6)


def test_trials_and_runs_differ_by_key(key):
    device = hw.Emulated(hw.Chip.fabricate(jax.random.key(1)))
    one, again, other = (go(device, k, throw=False).cadc[0] for k in (key, key, jax.random.key(9)))
    np.testing.assert_array_equal(one, again)
    assert np.any(one[0] != one[1]) and np.any(one != other)


def test_chips_are_vmapped(key):
    chips = jax.vmap(hw.Chip.fabricate)(jax.random.split(jax.random.key(1), 3))
    cadc = jax.vmap(lambda chip: go(hw.Emulated(chip), key, throw=False).cadc[1])(chips)
    assert cadc.shape == (3, 2, 12, 3)
    single = go(hw.Emulated(jax.tree.map(lambda x: x[1], chips)), key, throw=False).cadc[1]
    np.testing.assert_allclose(cadc[1], single, atol=2)


def test_a_calibration_of_another_chip(key):
    setup = experiment(NETWORK, hw.Emulated(hw.Chip.fabricate(jax.random.key(8))))
    with pytest.raises(ValueError, match="calibration of another chip"):
        hw.run(setup, NETWORK, IDEAL, BATCH, T1, key)


def test_lost_events_are_an_error(key):
    record = hw.Record(max_spikes=1)
    lost = go(IDEAL, key, record=record, throw=False, weight_scale=2.0)
    every = go(IDEAL, key, weight_scale=2.0)
    assert np.all(lost.drops > 0)
    np.testing.assert_array_equal(lost.spikes[0].count() + lost.drops, every.spikes[0].count())
    with pytest.raises(Exception, match="the chip has lost events"):
        jax.block_until_ready(go(IDEAL, key, record=record, weight_scale=2.0).drops)


@pytest.mark.parametrize("repetitions, height, saturated", [(1, 63, 2), (2, 100, 0)])
def test_weights_beyond_63_take_more_rows(key, repetitions, height, saturated):
    network = ep.FeedForward([(ep.Dense(jnp.full((2, 1), 100.0)), ep.LI(10.0, 10.0))])
    setup = experiment(network, IDEAL, repetitions=repetitions)
    recording = hw.run(setup, network, IDEAL, ep.Spikes.from_events([1.0], [0]), T1, key)
    assert np.max(recording.cadc[0]) - 80 == pytest.approx(height * 0.9 / np.e, abs=0.7)
    assert recording.saturated == saturated


def test_what_the_chip_has_no_circuit_for():
    with pytest.raises(ValueError, match="Izhikevich is no neuron of the chip"):
        features_of(ep.Izhikevich(ep.CurrentSynapses(5.0), 0.02, 0.2, -65.0, 8.0))
    assert features_of(ep.LI(10.0, 10.0)) == hw.Features(spiking=False)
