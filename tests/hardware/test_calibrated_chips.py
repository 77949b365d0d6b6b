"""Whole chips before and after calibration: calix' own acceptance, over the same 20 chips."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardware as hw
from hardware.configured import converter
from tests.hardware.test_calibrate import RATES, rates, threshold_for

pytestmark = pytest.mark.slow
CHIPS = 20
TARGETS = hw.Targets.default()


@functools.cache
def wafer():
    """Chips, and codes found for calix' default targets."""
    chips = jax.vmap(hw.Chip.fabricate)(jax.random.split(jax.random.key(1), CHIPS))
    keys = jax.random.split(jax.random.key(2), CHIPS)

    def one(pair):
        return hw.calibrate(hw.Emulated(pair[0]), TARGETS, pair[1])

    return chips, jax.block_until_ready(jax.lax.map(one, (chips, keys)))


def at(codes):
    """What the circuits then are, with what other parts of them add: rest, held potential."""
    chips, _ = wafer()
    p = jax.vmap(lambda chip, codes: chip.parameters(codes))(chips, codes)
    rest = p.leak + p.tau_mem * p.offset
    held = (p.reset / p.tau_reset + rest / p.tau_mem) / (1 / p.tau_reset + 1 / p.tau_mem)
    found = {name: np.asarray(x) for name, x in vars(p).items()}
    return found | {"rest": np.asarray(rest), "held": np.asarray(held)}


@functools.cache
def before_and_after():
    default = jax.tree.map(lambda x: jnp.broadcast_to(x, (CHIPS, *x.shape)), hw.Codes.default())
    return at(default), at(wafer()[1].codes)


def within(x):
    """Standard deviation within quadrants."""
    return np.nanstd(x.reshape(CHIPS, 4, 128), axis=2).mean()


@pytest.mark.parametrize(
    "uncalibrated, calibrated, most",
    [
        ("leak", "rest", 0.3),
        ("reset", "held", 0.2),
        ("threshold", "threshold", 0.35),
        ("tau_mem", "tau_mem", 0.45),
        ("tau_syn_exc", "tau_syn_exc", 0.2),
        ("tau_syn_inh", "tau_syn_inh", 0.2),
    ],
)
def test_spreads_shrink(uncalibrated, calibrated, most):
    before, after = before_and_after()
    success = np.asarray(wafer()[1].success)
    assert np.mean(success) > 0.999  # the others are known to have failed: one of them had 1024 µs
    assert within(np.where(success, after[calibrated], np.nan)) < most * within(before[uncalibrated])


@pytest.mark.parametrize(
    "name, target, most",
    [("rest", 80, 1.0), ("held", 70, 1.0), ("threshold", 125, 1.0), ("tau_mem", 10, 0.2), ("tau_syn_exc", 10, 0.3)],
)
def test_chips_agree(name, target, most):
    """Means of chips, and of all: nothing pulls to one side."""
    means = before_and_after()[1][name].mean(axis=1)
    np.testing.assert_allclose(means, target, atol=most)


def test_nearly_all_circuits_succeed():
    success = np.asarray(wafer()[1].success)
    assert success.mean() > 0.99


def test_thresholds_have_no_outliers():
    """Fewer than 5 % are more than 8 LSB off the median."""
    threshold = before_and_after()[1]["threshold"]
    assert np.mean(np.abs(threshold - np.median(threshold)) > 8) < 0.05


def test_strengths_match():
    """Between quadrants 320 to 640 codes; afterwards one strength, but for the pattern of single rows."""
    before, after = before_and_after()
    for end in ("exc", "inh"):
        name = f"strength_{end}"
        assert np.std(before[name]) / np.mean(before[name]) > 0.15
        assert np.mean(wafer()[1].success) > 0.99  # the others are known to have failed
        strength = np.where(wafer()[1].success, after[name], np.nan)
        assert np.max(np.nanstd(strength, axis=1) / np.nanmean(strength, axis=1)) < {"exc": 0.04, "inh": 0.05}[end]
        code = np.where(wafer()[1].success, getattr(wafer()[1].codes, f"i_synin_gm_{end}"), 0)
        assert np.max(code) < 1022  # no quadrant is too weak for its target
    ratio = after["strength_inh"].mean(axis=1) / after["strength_exc"].mean(axis=1)
    assert np.median(ratio) == pytest.approx(1, abs=0.03)


def test_channels_agree():
    """Standard deviation below 3 LSB, offsets below 20, means of quadrants within 5 of each other."""
    chips, found = wafer()
    channels = jax.vmap(converter)(chips, found.codes)
    reading = np.asarray(128 + channels.gain * (128 - 128) + channels.offset)
    assert reading.std(axis=1).max() < 3
    assert np.ptp(reading.reshape(CHIPS, 4, 128).mean(axis=2), axis=1).max() < 5
    assert np.std(np.asarray(found.codes.cadc_offset), axis=1).max() < 20


def test_codes_are_those_of_measured_chips():
    """Spreads of the codes that a calibration finds, as read from the files of three chips."""
    codes = wafer()[1].codes
    for name, least, most in (("leak", 25, 32), ("reset", 23, 30), ("threshold", 12, 15), ("synin_shift_exc", 95, 116)):
        assert least < within(np.asarray(getattr(codes, name))) < most
    for name, least, most in (("tau_mem", 0.11, 0.125), ("tau_syn_exc", 0.16, 0.2), ("i_synin_gm_exc", 0.044, 0.066)):
        code = np.asarray(getattr(codes, name)).reshape(CHIPS, 4, 128)
        assert least < (code.std(axis=2) / code.mean(axis=2)).mean() < most


@functools.cache
def one_chip():
    """The first of them."""
    return hw.Emulated(hw.Chip.fabricate(jax.random.split(jax.random.key(1), CHIPS)[0]))


def test_firing_rates_of_leak_over_threshold(key):
    """100 kHz within -10 and +15 % for 90 % of 512 circuits."""
    device = one_chip()
    found = hw.calibrate(device, hw.Targets.default(**RATES, threshold=float(threshold_for(100))), key)
    rate = rates(device, found.codes, key)
    assert np.mean(rate > 90) > 0.9 and np.mean(rate < 115) > 0.9


def test_postsynaptic_potentials(key):
    """Linear in the weight up to 288 (9 rows) when they excite; inhibition levels off."""
    device, codes = one_chip(), jax.tree.map(lambda x: x[0], wafer()[1].codes)
    codes = dataclasses.replace(codes, threshold=jnp.full(512, 1000.0))

    def heights(end, rows):
        times = [np.zeros(0), np.zeros(0)]
        times[end] = np.array([5.0])
        stimulus = hw.Stimulus(30.0, tuple(times), weight=32.0, rows=rows, madc=True)
        trace = np.asarray(device.measure(codes, stimulus, key).madc)
        return np.abs(trace[400:480].mean(axis=0) - trace[:140].mean(axis=0))

    excited = {rows: heights(0, rows) for rows in (1, 4, 9)}
    per_weight = [np.median(excited[rows]) / (32 * rows) for rows in excited]
    np.testing.assert_allclose(per_weight, per_weight[0], rtol=0.04)
    assert excited[9].std() / excited[9].mean() < 0.06
    inhibited = [np.median(heights(1, rows)) for rows in (1, 4, 9)]
    assert inhibited[2] < 0.8 * 9 * inhibited[0]


def test_conductance_based_inputs(key):
    """The upper half COBA, 300 and 30 LSB; the lower half CUBA. Heights of responses to a weight of 32 against V_leak:
    signs and slopes (MADC LSB per LSB), and where the line is zero (MADC LSB). Inhibition above 330 MADC LSB only, as
    calix accepts it: near the lower rail its responses get small anyway."""
    device, coba = one_chip(), np.arange(512) < 256
    exc, inh = (jnp.where(jnp.asarray(coba), reversal, jnp.nan) for reversal in (300.0, 30.0))
    targets = hw.Targets.default(e_coba_reversal_exc=exc, e_coba_reversal_inh=inh)
    found = hw.calibrate(device, targets, jax.random.key(2))
    assert np.mean(found.success) > 0.97
    np.testing.assert_array_equal(found.codes.e_reversal_exc[256:], hw.Codes.default().e_reversal_exc[256:])
    for end, (least, most) in enumerate([(650, 1500), (0, 330)]):
        slope, zero = slopes(device, found.codes, end, True, key)
        good = (slope < -0.05) if end == 0 else (slope > 0.1)
        assert np.mean(good[coba]) > 0.9
        assert np.mean((zero > least)[coba] & (zero < most)[coba]) > 0.9
        assert np.median(zero[coba]) == pytest.approx((750, 75)[end], abs=25)
        assert np.all(np.abs(slopes(device, found.codes, end, False, key)[0]) < 0.08)


def slopes(device, codes, end, conductances, key):
    """Of heights against the leak, per LSB of the CADC, and the potential at which they are zero, MADC LSB."""
    times = [np.zeros(0), np.zeros(0)]
    times[end] = np.array([5.0])
    features = hw.Features(spiking=False, conductances=conductances)
    stimulus = hw.Stimulus(30.0, tuple(times), weight=32.0, madc=True, features=features)
    rest, height = [], []
    for potential in ((80, 120, 160, 200), (140, 160, 180, 200))[end]:
        changed = dataclasses.replace(codes, leak=jnp.full(512, 22.0 + 2.4 * potential))
        trace = np.asarray(device.measure(changed, stimulus, key).madc)
        rest.append(trace[:140].mean(axis=0))
        height.append(np.abs(trace[400:480].mean(axis=0) - rest[-1]))
    x, y = np.array(rest), np.array(height)
    centred = x - x.mean(axis=0)
    slope = np.sum(centred * y, axis=0) / np.sum(centred**2, axis=0)
    return 2.5 * slope, x.mean(axis=0) - y.mean(axis=0) / np.where(slope == 0, np.nan, slope)


def test_short_time_constants_of_synapses():
    """0.5 to 2 µs, as far as the codes go, without bias; both strengths are one."""
    limits = dataclasses.replace(hw.BSS2, circuits=64, columns=32)
    device = hw.Emulated(hw.Chip.fabricate(jax.random.key(1), limits=limits))
    wanted = np.repeat([0.5, 1.0, 2.0, 10.0], 16)
    found = hw.calibrate(device, hw.Targets.default(limits, tau_syn=wanted), jax.random.key(2))
    p = jax.tree.map(np.asarray, device.chip.parameters(found.codes))
    for end, spreads in (("exc", (0.03, 0.03, 0.02, 0.02)), ("inh", (0.03, 0.03, 0.02, 0.02))):
        ratio = (getattr(p, f"tau_syn_{end}") / wanted).reshape(4, 16)
        np.testing.assert_allclose(ratio.mean(axis=1), 1, atol=0.03)
        assert np.all(ratio.std(axis=1) < spreads)
    np.testing.assert_allclose(p.strength_inh[16:].mean() / p.strength_exc[16:].mean(), 1, atol=0.04)


def test_codes_follow_their_targets(key):
    """d code / d target: 2.4 codes per LSB; the code of tau_mem goes as 1 / tau."""
    device = hw.Emulated(
        hw.Chip.fabricate(jax.random.key(1), limits=dataclasses.replace(hw.BSS2, circuits=32, columns=16))
    )

    def codes(leak, tau_mem):
        targets = hw.Targets.default(device.limits, leak=leak, tau_mem=tau_mem)
        found = hw.calibrate(device, targets, key).codes
        return found.leak, found.tau_mem

    (leak, tau), pushed = jax.linearize(codes, 80.0, 10.0)
    by_leak, by_tau = pushed(1.0, 0.0)[0], pushed(0.0, 1.0)[1]
    np.testing.assert_array_equal(leak, np.round(leak))
    for found, expected in ((by_leak, np.full(32, 2.4)), (by_tau, -tau / 10)):  # as well as slopes can be measured
        np.testing.assert_allclose(found, expected, rtol=0.25)
        np.testing.assert_allclose(np.mean(found / expected), 1, atol=0.04)
