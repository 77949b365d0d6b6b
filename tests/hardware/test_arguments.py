"""What newcomers get wrong: every error names the argument, its value and what to do. Nearly nothing is compiled."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import eventprop as ep
import hardware as hw
from hardware.experiment import trial_time
from hardware.weights import hardware_weights
from tests.hardware.networks import TRIAL, experiment, layers

SMALL = dataclasses.replace(hw.BSS2, circuits=32, columns=16)
CHIP = hw.Emulated(hw.Chip.ideal())
NETWORK = layers()
READOUT = ep.FeedForward([(ep.Dense(jnp.ones((1, 5))), ep.LI(jnp.asarray(10.0), 10.0))])
NO_EVENTS = ep.Spikes(jnp.zeros((2, 0)), jnp.zeros((2, 0), jnp.int32))
NONE = ep.Spikes(jnp.zeros(0), jnp.zeros(0, jnp.int32))


def go(device=CHIP, network=NETWORK, spikes=TRIAL, t1=20.0, record=hw.Record()):
    return hw.run(experiment(NETWORK, CHIP), network, device, spikes, t1, jax.random.key(0), record)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"t1": 0.0}, "t1 must be positive and finite, but is 0"),
        ({"t1": np.nan}, "t1 must be positive and finite, but is nan"),
        (
            {"network": layers(hidden=1)},
            r"of another network, of \[12, 3\] neurons and \[5, 12\] sources",
        ),
        ({"device": hw.Ideal(), "network": layers(hidden=1)}, "this is the placement of another network"),
        ({"network": layers(inputs=6)}, r"this one has \[12, 3\] and \[6, 12\]"),
        ({"device": hw.Emulated(hw.Chip.ideal(SMALL))}, "this is the calibration of another chip"),
        ({"record": hw.Record(madc=((0, 12),))}, r"names a neuron that is none: the populations have \(12, 3\)"),
        ({"record": hw.Record(madc=((2, 0),))}, "names a neuron that is none"),
        ({"record": hw.Record(madc=((0, 0), (0, 1), (0, 2)))}, "must be up to two pairs"),
        ({"record": hw.Record(madc=((0, 1), (0, 3)))}, "are both on odd circuits"),
        ({"record": hw.Record(max_spikes=0)}, "record.max_spikes must be a whole number from 1"),
    ],
)
def test_a_run(arguments, message):
    with pytest.raises(ValueError, match=message):
        go(**arguments)


@pytest.mark.parametrize(
    "call",
    [
        lambda: go(device=CHIP.chip),
        lambda: hw.calibrate(CHIP.chip, hw.Targets.default(), jax.random.key(0)),
        lambda: hw.in_the_loop(experiment(NETWORK, CHIP), CHIP.chip),
    ],
)
def test_a_chip_is_no_device(call, untyped):
    with pytest.raises(ValueError, match=r"which cannot be run by itself: give Emulated\(chip\)"):
        call()


def test_a_surrogate_of_eventprop_is_no_gradient_of_a_chip(untyped):
    with pytest.raises(ValueError, match=r"Replay\(\), FirstSpike\(\) or SuperSpike\(alpha\) of hardware"):
        hw.in_the_loop(experiment(NETWORK, CHIP), CHIP, ep.SuperSpike(50.0))  # pyright: ignore[reportArgumentType]


def test_a_placement_prints_short():
    text = "Placement(neurons=[12, 3], circuits_per_neuron=[1, 1], sources=[5, 12], repetitions=[1, 1])"
    assert repr(hw.place(NETWORK)) == text


@pytest.mark.parametrize("device", [CHIP, hw.Ideal()])
@pytest.mark.parametrize(
    ("times", "index", "message"),
    [
        ([3.0, 1.0], [0, 1], "spikes.times must be sorted"),
        ([1.0, np.nan], [0, 1], "spikes.times must be sorted"),
        ([-1.0, 1.0], [0, 1], "spikes.times must be sorted, not negative"),
        ([1.0, 2.0], [0, 5], "spikes.index must name inputs of the network, 0 to 4"),
        ([1.0, 2.0], [-1, 0], "spikes.index must name inputs"),
    ],
)
def test_spikes_that_cannot_be_sent(device, times, index, message):
    with pytest.raises(RuntimeError, match=message):
        go(device, spikes=ep.Spikes(jnp.asarray(times), jnp.asarray(index)))


def test_a_traced_length_of_a_trial():
    with pytest.raises(ValueError, match="that is not traced"):
        jax.jit(trial_time)(20.0)


def test_trials_without_events(key):
    setup = experiment(READOUT, CHIP, trace_scale=1 / 45, trace_offset=80.0)
    shapes = jax.eval_shape(lambda: hw.run(setup, READOUT, CHIP, NO_EVENTS, 2.0, key))
    assert shapes.cadc[0].shape == (2, 2, 1) and shapes.drops.shape == (2,)
    resting = hw.run(setup, READOUT, hw.Ideal(), NO_EVENTS, 2.0, key)
    np.testing.assert_array_equal(resting.cadc[0], np.full((2, 2, 1), 80.0))
    assert resting.time == 4


def test_a_model_that_fails_is_an_error(key):
    network = eqx.tree_at(lambda n: n.layers[0][1].tau_mem, READOUT, jnp.asarray(np.nan))
    with pytest.raises(RuntimeError, match="the model has failed"):
        jax.block_until_ready(hw.run(hw.Experiment(hw.place(READOUT)), network, hw.Ideal(), NO_EVENTS, 2.0, key).cadc)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hw.Codes.default(leak=np.ones(3)), r"codes.leak must be one number or \(512,\)"),
        (lambda: hw.Calibration.from_codes(hw.Codes.default(SMALL), CHIP), "but this chip has 512 of them"),
        (lambda: hw.Targets.default(refractory_time=1, holdoff_time=3), "refractory_time - holdoff_time must be"),
        (lambda: hw.Targets.of(NETWORK, hw.place(NETWORK), leak=np.full(12, 80.0)), "leak must be one number, or one"),
        (lambda: hw.Targets.of(NETWORK, hw.place(NETWORK), hw.Limits(8, 8)), "placement is on a larger chip"),
        (lambda: hw.calibrate(CHIP, hw.Targets.default(SMALL), jax.random.key(0)), "targets are those of 32 circuits"),
        (lambda: hw.Mac(gain=np.nan), "gain must not be negative, got nan"),
        (lambda: hw.Mac(noise=-1.0), "noise must not be negative"),
        (lambda: hw.Noise(latency=-1.0), "noise.latency must not be negative"),
        (lambda: hw.Mismatch(leak=hw.Spread(-1.0)), "leak must not be negative"),
        (lambda: hw.Mismatch(correlated_strengths=1.5), "correlated_strengths must be a correlation"),
        (lambda: hw.Limits(circuits=31), "limits: 31 circuits in rows of 256 columns"),
        (lambda: hw.Limits(columns=0), "limits.columns must be a whole number from 1, but is 0"),
        (lambda: hw.Limits(power=np.inf), "limits.power must be finite, but is inf"),
        (lambda: hw.Noise(jitter=np.inf), "noise.jitter must be finite, but is inf"),
        (lambda: hw.Codes.default(sign_a=0.0).check(), "codes.sign_a must be -1 or 1, but holds 0"),
        (lambda: hw.SuperSpike(dt=np.inf), "dt must be finite, but is inf"),
        (lambda: hw.Ideal(trace_offset=np.nan), "trace_offset must be finite, but is nan"),
        (lambda: hw.Experiment(hw.place(NETWORK), cadc_time_shift=np.nan), "cadc_time_shift must be finite"),
        (lambda: hw.Circuit(10.0, np.nan, (), 125.0, 70.0), "leak must be finite, but is nan"),
        (lambda: hw.Receptor(10.0, np.inf), "strength must be finite, but is inf"),
        (lambda: hw.Rail(np.nan, 16.0), "rail must be finite, but is nan"),
        (lambda: hw.Stimulus(10.0, (np.array([-1.0]), np.zeros(0))), "times of the input exc must not be negative"),
        (lambda: hw.Stimulus(np.inf), "duration must be finite, but is inf"),
        (lambda: hw.Stimulus(10.0, rows=0), "rows must be a whole number from 1, but is 0"),
        (
            lambda: CHIP.measure(hw.Codes.default(), hw.Stimulus(10.0, weight=99.0), jax.random.key(0)),
            "stimulus' weight must be at most 63, but is 99.0: take more rows",
        ),
        (
            lambda: hw.measure_scaling(experiment(NETWORK, CHIP), NETWORK, CHIP, jax.random.key(0), weight=100.0),
            "weight must be a whole number from 1 to 63, LSB that all synapses have, but is 100.0",
        ),
        (
            lambda: hw.measure_scaling(experiment(NETWORK, CHIP), NETWORK, CHIP, jax.random.key(0), weight=0.3),
            "weight must be a whole number from 1 to 63",
        ),
        (lambda: hw.trace_to_dense(jnp.ones((2, 1)), jnp.arange(2.0), 0.0, 3), "dt must be positive, but is 0.0"),
        (
            lambda: ep.simulate(
                ep.FeedForward([(ep.Dense(jnp.ones((1, 1))), ep.LI(hw.Mixed(6.0, 5.7), 6.0))]),
                NONE,
                9.0,
                solver=ep.Exact(4),
            ),
            "of which only one value can be simulated: give model_side",
        ),
        (lambda: hw.Replay(largest_step=0.0), "largest_step must be positive"),
        (lambda: hw.FirstSpike(minimum=-1.0), "minimum must be positive"),
        (lambda: hw.Ideal(trace_scale=0.0), "trace_scale must be positive"),
        (lambda: hw.place(NETWORK, input_repetitions=0), "input_repetitions must be a whole number from 1"),
    ],
)
def test_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name, wrong", [("synapse_rows", 2.5), ("cadc_period", "1.7"), ("circuits", None)])
def test_limits_of_another_type(name, wrong, untyped):
    with pytest.raises(ValueError, match=f"limits.{name} must be a .*number.*{wrong}"):
        hw.Limits(**{name: wrong})


def test_identities_of_real_chips():
    class Driver:
        def run(self, setup, weights, spikes, t1, record, seed):
            raise RuntimeError

        def measure(self, codes, stimulus, seed):
            raise RuntimeError

    for identity in ((0,), (0, 2**32), (0, -1)):
        with pytest.raises(ValueError, match="identity must be"):
            hw.CallbackDevice(Driver(), hw.BSS2, identity)


def test_a_file_that_is_no_calibration_and_the_mock_that_takes_any(tmp_path):
    (tmp_path / "junk.npz").write_text("junk")
    with pytest.raises(ValueError, match="is no calibration"):
        hw.Calibration.load(tmp_path / "junk.npz", CHIP)
    codes = hw.Codes.default(leak=333)
    hw.Calibration.from_codes(codes, CHIP).save(tmp_path / "chip.npz")
    assert hw.Calibration.load(tmp_path / "chip.npz", hw.Ideal()).codes.leak[0] == 333
    for name, damaged in (
        ("success", np.ones(3, bool)),
        ("codes/leak", np.ones(512, complex)),
        ("identity", np.ones(2)),
    ):
        with np.load(tmp_path / "chip.npz") as file:
            np.savez(tmp_path / "damaged.npz", **dict(file) | {name: damaged})
        with pytest.raises(ValueError, match=f"is damaged: its {name} are"):
            hw.Calibration.load(tmp_path / "damaged.npz", CHIP)


def test_scales_of_weights_are_one_per_projection():
    """An array says what a list says."""
    placement, each = hw.place(NETWORK), [50.0, 10.0]
    found, wanted = (hw.largest_weights(placement, scales) for scales in (jnp.array(each), each))
    jax.tree.map(np.testing.assert_array_equal, found, wanted)
    found, wanted = (hardware_weights(NETWORK, placement, scales).values for scales in (jnp.array(each), each))
    jax.tree.map(np.testing.assert_array_equal, found, wanted)
    for wrong in (0.0, -50.0, np.nan, [50.0, 0.0]):
        with pytest.raises(ValueError, match="weight_scale must be positive"):
            hw.largest_weights(placement, wrong)
    with pytest.raises(ValueError, match="weight_scale has 3 numbers, but the network 2 projections"):
        hw.largest_weights(placement, jnp.ones(3))


def test_frozen_projections_are_left_alone():
    placement, frozen = hw.place(NETWORK), jax.tree.map(jnp.ones_like, NETWORK)
    frozen = eqx.tree_at(lambda n: n.projections[1].connection.weight, frozen, None)
    updates, _ = hw.keep_in_range(placement, 50.0).update(frozen, optax.EmptyState(), NETWORK)
    assert updates.projections[1].connection.weight is None
    before = NETWORK.projections[0].connection.weight
    wanted = np.clip(before + 1, -63 / 50, 63 / 50) - before
    np.testing.assert_allclose(updates.projections[0].connection.weight, wanted, atol=1e-6)


def test_chips_of_one_key_and_another_kind_are_other_chips():
    key, narrow = jax.random.key(0), dataclasses.replace(SMALL, columns=32)
    kinds = [{}, {"mismatch": hw.CALIBRATED}, {"limits": narrow}]
    chips = [hw.Chip.fabricate(key, **{"limits": SMALL} | kind).identity for kind in kinds]
    assert len({tuple(np.asarray(identity).tolist()) for identity in chips}) == 3
    with pytest.raises(ValueError, match=r"codes.leak has the shape \(512,\), but this chip has 32"):
        hw.Calibration.from_codes(hw.Codes.default(), hw.Emulated(hw.Chip.ideal(SMALL)))


def test_first_spikes_loses_no_event():
    events = ep.Spikes(jnp.array([1.0, 2.0, jnp.inf]), jnp.array([0, 3, -1]))
    np.testing.assert_array_equal(hw.first_spikes(events, 4), [1.0, np.inf, np.inf, 2.0])
    with pytest.raises(Exception, match="events of other neurons than 0 to 1"):
        hw.first_spikes(events, 2)
    with pytest.raises(ValueError, match="neurons must be a whole number from 1, but is 0"):
        hw.first_spikes(events, 0)


def test_a_rail_far_above_the_membrane():
    value, slope = jax.value_and_grad(hw.Rail(200.0, 1.0))(jnp.float32(80.0))
    assert 0 <= value < 1e-37 and 0 <= slope < 1e-37
    with pytest.raises(ValueError, match="holdoff must not be negative"):
        hw.Circuit(10.0, 80.0, (), 125.0, 70.0, holdoff=-1.0)


def test_targets_that_every_circuit_has():
    with pytest.raises(ValueError, match="leak must be a number or one per circuit, but is None"):
        hw.Targets.default(SMALL, leak=None)
    with pytest.raises(ValueError, match="holdoff_time must be a number"):
        hw.Targets.default(SMALL, holdoff_time=None)
