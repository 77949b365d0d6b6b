import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
import hardware as hw
from hardware.circuits import features_of
from tests.hardware.networks import TRIAL, experiment, layers

IDEAL = hw.Emulated(hw.Chip.ideal())
NO_DRIFT = hw.Noise(threshold=0.0)


def test_a_weight_of_50_lifts_the_membrane_by_45_over_e(key):
    """The scaling that hxtorch's tests accept: with both time constants 10 µs, 16.6 LSB."""
    stimulus = hw.Stimulus(30.0, (np.array([5.0]), np.array([])), weight=50.0, madc=True)
    found = IDEAL.measure(hw.Codes.default(), stimulus, key)
    height = np.asarray(found.madc[:, 3]).max() / 2.5 - 80.4
    assert height == pytest.approx(45 / np.e, rel=0.03)
    np.testing.assert_allclose(found.cadc.max(axis=0), 97, atol=1)
    assert found.spikes.count().sum() == 0


@pytest.mark.parametrize("end", [0, 1])
def test_responses_to_many_rows(end, key):
    """Excitation is linear up to 288; inhibition saturates as measured (MADC LSB; strengths fitted to its middle)."""
    times = [np.array([]), np.array([])]
    times[end] = np.array([1.0])
    codes = hw.Codes.default(leak=266.0, threshold=900.0)
    heights = []
    for rows in (1, 4, 9):
        stimulus = hw.Stimulus(20.0, tuple(times), weight=32.0, rows=rows, madc=True)
        trace = np.asarray(IDEAL.measure(codes, stimulus, key).madc[:, 0])
        heights.append(np.max(np.abs(trace - trace[0])))
    if end == 0:
        np.testing.assert_allclose(np.array(heights) / [32, 128, 288], 0.784, rtol=0.08)
    else:
        np.testing.assert_allclose(heights, [14, 82, 129], atol=12)


def test_leak_over_threshold(key):
    """T = t_ref + tau ln((L - R) / (L - Theta)), plus what the finite reset takes."""
    codes = hw.Codes.default(leak=286, reset=166, threshold=232, refractory_counter=255)
    chip = hw.Chip.ideal()
    p = jax.tree.map(lambda x: float(x[0]), chip.parameters(codes))
    found = IDEAL.measure(codes, hw.Stimulus(60.0), key).spikes.times[7, :5]
    left = p.reset + p.tau_reset / p.tau_mem * (p.leak - p.reset)  # where the clamp ends, to first order
    left += (p.threshold - left) * np.exp(-p.refractory / p.tau_reset)
    period = p.refractory + p.tau_mem * np.log((p.leak - left) / (p.leak - p.threshold))
    np.testing.assert_allclose(np.diff(found), period, rtol=0.01)


def test_intervals_vary_between_neurons_and_hardly_within_one(key):
    """CV 13 % between neurons before calibration, 0.4 % within one."""
    codes = hw.Codes.default(leak=330, reset=190, threshold=262)
    device = hw.Emulated(hw.Chip.fabricate(jax.random.key(3), noise=NO_DRIFT))
    right = jax.tree.map(lambda x: x, device.chip.right_shift)
    codes = jax.tree.map(lambda x: x, codes)
    import dataclasses

    codes = dataclasses.replace(codes, synin_shift_exc=jnp.round(right[0]), synin_shift_inh=jnp.round(right[1]))
    times = np.asarray(device.measure(codes, hw.Stimulus(60.0, max_spikes=64), key).spikes.times)
    intervals = np.diff(np.where(np.isfinite(times), times, np.nan), axis=1)
    own = np.nanmean(intervals, axis=1)
    fires = np.sum(np.isfinite(intervals), axis=1) > 4
    print(fires.mean(), np.nanmedian(own), own[fires].std() / own[fires].mean())
    within = np.nanstd(intervals[fires], axis=1) / own[fires]
    print(np.median(within))
    assert np.median(within) < 0.008


def test_codes_out_of_range_are_refused(key):
    with pytest.raises(ValueError, match=r"codes.leak must be whole numbers from 0 to 1022"):
        IDEAL.measure(hw.Codes.default(leak=2000), hw.Stimulus(5.0), key)


def test_the_reference_shows_the_channels(key):
    device = hw.Emulated(hw.Chip.fabricate(jax.random.key(1)))
    samples = device.measure(hw.Codes.default(), hw.Stimulus(20.0, reference=128.0), key).cadc
    np.testing.assert_allclose(np.mean(samples, axis=0), 128 + np.asarray(device.chip.cadc_offset), atol=1.5)


def test_a_network_on_an_ideal_chip_is_the_model(key):
    """Potentials of the model in LSB, on the grid, beside samples; both with the same clamp."""
    network = layers()
    recording = hw.run(experiment(network, IDEAL), network, IDEAL, TRIAL, 40.0, key)
    circuit = hw.Circuit(10.0, 80.0, (hw.Receptor(10.0, 0.09), hw.Receptor(10.0, -0.09, 140.0)), 125.0, 70.0)
    weights = network.projections[0].connection.weight
    model = ep.Network(
        [circuit], [(None, 0, ep.Dense(jnp.maximum(weights, 0))), (None, 0, ep.Dense(jnp.maximum(-weights, 0), port=1))]
    )
    times = ep.simulate(model, TRIAL, 40.0, solver=ep.Grid(0.1, 16)).spikes[0].times
    found = recording.spikes[0]
    expected = np.sort(np.asarray(times).ravel())
    count = int(found.count())
    assert count == np.sum(np.isfinite(expected)) > 5
    np.testing.assert_allclose(found.times[:count], expected[:count], atol=0.15)
    assert recording.drops == 0 and recording.saturated == 0
    np.testing.assert_allclose(np.asarray(found.times[:count]) / 0.008 % 1 % 1, 0, atol=1e-2)


def test_time_and_energy(key):
    network = layers()
    batch = ep.Spikes.stack([TRIAL] * 3)
    recording = hw.run(experiment(network, IDEAL), network, IDEAL, batch, 40.0, key)
    assert recording.time == 120
    assert recording.energy == pytest.approx(21)
    assert recording.cadc[1].shape == (3, 24, 3) and recording.cadc_times[1] == pytest.approx(1.7)
    assert recording.spikes[1] is None
    np.testing.assert_array_equal(recording.cadc[0], np.round(recording.cadc[0]))


def test_trials_differ_and_runs_differ_by_their_keys(key):
    network, device = layers(), hw.Emulated(hw.Chip.fabricate(jax.random.key(1)))
    batch, setup = ep.Spikes.stack([TRIAL] * 2), experiment(network, device)
    one = hw.run(setup, network, device, batch, 20.0, key, throw=False)
    again = hw.run(setup, network, device, batch, 20.0, key, throw=False)
    other = hw.run(setup, network, device, batch, 20.0, jax.random.key(9), throw=False)
    np.testing.assert_array_equal(one.cadc[0], again.cadc[0])
    assert np.any(one.cadc[0][0] != one.cadc[0][1]) and np.any(one.cadc[0] != other.cadc[0])


def test_chips_are_vmapped(key):
    network = layers()
    chips = jax.vmap(hw.Chip.fabricate)(jax.random.split(jax.random.key(1), 3))

    def on(chip):
        device = hw.Emulated(chip)
        return hw.run(experiment(network, device), network, device, TRIAL, 20.0, key, throw=False).cadc[1]

    cadc = jax.vmap(on)(chips)
    assert cadc.shape == (3, 12, 3)
    single = on(jax.tree.map(lambda x: x[1], chips))
    np.testing.assert_allclose(cadc[1], single, atol=2)


def test_a_calibration_of_another_chip(key):
    network, other = layers(), hw.Chip.fabricate(jax.random.key(8))
    setup = experiment(network, hw.Emulated(other))
    with pytest.raises(Exception, match="belongs to another chip"):
        jax.block_until_ready(hw.run(setup, network, IDEAL, TRIAL, 10.0, key).drops)


def test_lost_events_are_an_error(key):
    network = layers()
    setup, record = experiment(network, IDEAL), hw.Record(max_spikes=1)
    lost = hw.run(setup, network, IDEAL, TRIAL, 40.0, key, record, throw=False)
    every = hw.run(setup, network, IDEAL, TRIAL, 40.0, key)
    assert lost.drops > 0
    assert lost.spikes[0].count() + lost.drops == every.spikes[0].count()
    with pytest.raises(Exception, match="the chip has lost events"):
        jax.block_until_ready(hw.run(setup, network, IDEAL, TRIAL, 40.0, key, record).drops)


def test_weights_beyond_63_take_more_rows(key):
    """Two row pairs of 63 carry 100, and 100 on one pair is clipped."""
    network = ep.FeedForward([(ep.Dense(jnp.full((2, 1), 100.0)), ep.LI(10.0, 10.0))])
    spike = ep.Spikes.from_events([1.0], [0])
    heights = []
    for repetitions in (1, 2):
        setup = experiment(network, IDEAL, repetitions=repetitions)
        recording = hw.run(setup, network, IDEAL, spike, 20.0, key)
        heights.append(float(np.max(recording.cadc[0])) - 80)
        assert recording.saturated == (2 if repetitions == 1 else 0)
    np.testing.assert_allclose(heights, [63 * 0.9 / np.e, 100 * 0.9 / np.e], atol=0.7)


def test_gradients_reach_weights_codes_and_chip(x64, key):
    """Without steps the derivatives are those of central differences."""
    network = layers(hidden=4)
    device = hw.Emulated(hw.Chip.fabricate(jax.random.key(4)), quantised=False)
    setup = experiment(network, device)
    handle = device.configure(network, setup.placement, setup.calibration.codes)
    weights = tuple(p.connection.weight for p in network.projections)

    def loss(first, chip, leak_mean):
        own = hw.Emulated(chip, quantised=False)
        import dataclasses

        handle = own.configure(network, setup.placement, dataclasses.replace(hw.Codes.default()))
        handle = dataclasses.replace(
            handle, parameters=dataclasses.replace(handle.parameters, leak=handle.parameters.leak + leak_mean)
        )
        found = own.run(handle, (first, weights[1]), TRIAL, 12.0, hw.Record(), key)
        return jnp.mean(found.cadc[1])

    del handle
    gradient = jax.grad(loss, argnums=(0, 2))(weights[0], device.chip, jnp.asarray(0.0))
    shift = 1e-4
    difference = (loss(weights[0], device.chip, shift) - loss(weights[0], device.chip, -shift)) / (2 * shift)
    np.testing.assert_allclose(gradient[1], difference, rtol=1e-4)
    step = jnp.zeros_like(weights[0]).at[1, 2].set(shift)
    difference = (loss(weights[0] + step, device.chip, 0.0) - loss(weights[0] - step, device.chip, 0.0)) / (2 * shift)
    np.testing.assert_allclose(gradient[0][1, 2], difference, rtol=1e-4, atol=1e-9)


def test_gradients_pass_through_all_steps(key):
    """Straight through rounding of weights, CADC samples and stamps."""
    network = layers()
    setup = experiment(network, IDEAL)

    def loss(network, of):
        return of(hw.run(setup, network, IDEAL, TRIAL, 20.0, key))

    for of in (lambda r: jnp.sum(r.voltage[1]), lambda r: r.spikes[0].times[0]):
        gradient = jax.grad(loss)(network, of)
        assert np.any(gradient.projections[0].connection.weight != 0)


def test_what_the_chip_has_no_circuit_for():
    with pytest.raises(ValueError, match="Izhikevich is no neuron of the chip"):
        features_of(ep.Izhikevich(ep.CurrentSynapses(5.0), 0.02, 0.2, -65.0, 8.0))
    assert features_of(ep.LI(10.0, 10.0)) == hw.Features(spiking=False)
