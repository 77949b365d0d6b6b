"""Fabricated chips against what is known of measured ones; all statistics over the same 20 chips, one program."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardware as hw
from hardware.chip import CODES_PER_LSB

CHIPS = 20


@functools.cache
def wafer():
    return jax.jit(jax.vmap(hw.Chip.fabricate))(jax.random.split(jax.random.key(1), CHIPS))


def by_quadrant(x):
    return np.asarray(x).reshape(CHIPS, 4, 128)


def within(x):
    return by_quadrant(x).std(axis=2).mean()


def between(x):
    return by_quadrant(x).mean(axis=2)


@functools.cache
def codes_for_one_target():
    """The codes of every circuit for the same potentials, time constants and strengths: what a calibration finds."""
    chips, ideal = wafer(), hw.Chip.ideal()
    default = hw.Codes.default()
    wanted = {name: np.asarray(getattr(default, name) - ideal.zero[name]) / CODES_PER_LSB for name in ideal.zero}
    codes = {name: wanted[name] * CODES_PER_LSB + np.asarray(chips.zero[name]) for name in wanted}
    grid = np.arange(5.0, 1023.0)

    def tau(name, factor):
        # rate(c) = f c (1 + c / bend) for tau_syn, f c for tau_mem; found by interpolation
        rate = grid * (1 + grid / 390) if name.startswith("tau_syn") else grid
        wanted = np.interp(getattr(default, name)[0], grid, rate)
        return np.interp(wanted / np.asarray(factor), rate, grid)

    codes |= {name: tau(name, chips.factor[name]) for name in ("tau_mem", "tau_syn_exc", "tau_syn_inh")}
    codes |= {f"i_synin_gm_{end}": 500 / np.asarray(chips.factor[f"strength_{end}"]) for end in ("exc", "inh")}
    codes |= {f"synin_shift_{end}": np.asarray(x) for end, x in zip(("exc", "inh"), chips.right_shift, strict=True)}
    return codes


@pytest.mark.parametrize(
    "name, least, most", [("leak", 25, 31), ("reset", 23, 29), ("threshold", 12, 14), ("synin_shift_exc", 95, 116)]
)
def test_codes_of_potentials_differ_within_quadrants(name, least, most):
    assert least < within(codes_for_one_target()[name]) < most


@pytest.mark.parametrize(
    "name, least, most",
    [
        ("tau_syn_exc", 0.16, 0.2),
        ("tau_syn_inh", 0.16, 0.2),
        ("tau_mem", 0.11, 0.12),
        ("i_synin_gm_exc", 0.044, 0.055),
        ("i_synin_gm_inh", 0.044, 0.055),
    ],
)
def test_codes_of_currents_differ_within_quadrants_in_proportion(name, least, most):
    codes = by_quadrant(codes_for_one_target()[name])
    assert least < (codes.std(axis=2) / codes.mean(axis=2)).mean() < most


def test_quadrants_differ():
    codes = codes_for_one_target()
    for name in ("leak", "reset", "threshold"):
        ranges = np.ptp(between(codes[name]), axis=1)
        assert 10 < ranges.mean() < 26
    np.testing.assert_allclose(between(codes["tau_mem"]) / 300, 1, atol=0.15)
    means = between(codes["tau_syn_exc"])
    assert 50 < means.min() < 70 < 90 < means.max() < 140  # measured on three chips: 62 to 98
    means = between(codes["i_synin_gm_exc"])
    assert 250 < means.min() < 400 < 600 < means.max() < 900  # 321 to 638
    low, high = np.percentile(np.asarray(wafer().cadc_slope), [4, 96])  # the extremes of three chips: 267 and 389
    assert 250 < low < 285 and 370 < high < 405


def test_time_constants_of_synapses_differ_over_a_chip():
    logs = np.log(np.asarray(wafer().factor["tau_syn_exc"]))
    assert 0.24 < logs.std(axis=1).mean() < 0.32


def test_parameters_are_correlated():
    def correlation(a, b):
        a, b = (by_quadrant(x) - between(x)[..., None] for x in (a, b))
        return np.corrcoef(a.ravel(), b.ravel())[0, 1]

    chips = wafer()
    assert correlation(chips.zero["leak"], chips.zero["reset"]) == pytest.approx(0.61, abs=0.03)
    strengths = (np.log(np.asarray(chips.factor[f"strength_{end}"])) for end in ("exc", "inh"))
    assert correlation(*strengths) == pytest.approx(0.42, abs=0.03)
    assert correlation(chips.zero["leak"], chips.zero["threshold"]) == pytest.approx(0, abs=0.03)


def test_cadc_channels_have_offsets():
    assert 9.2 < np.std(np.asarray(wafer().cadc_offset), axis=1).mean() < 10


def test_synapses_have_a_pattern_of_their_own():
    chip = jax.tree.map(lambda x: x[3], wafer())
    rows, circuits = jnp.meshgrid(jnp.arange(128), jnp.arange(60), indexing="ij")
    gain = np.asarray(chip.synapse_gain(rows, circuits, 0))
    np.testing.assert_array_equal(gain[5, 7], chip.synapse_gain(jnp.array(5), jnp.array(7), 0))
    assert gain.mean() == pytest.approx(1, abs=0.015)
    assert gain.std() == pytest.approx(0.05, abs=0.004)
    assert gain.mean(axis=1).std() == pytest.approx(0.03, abs=0.006)  # drivers
    other = np.asarray(chip.synapse_gain(rows, circuits, 1))
    assert abs(np.corrcoef(gain.ravel(), other.ravel())[0, 1]) < 0.05


def test_chips_differ_and_one_key_makes_one_chip():
    chips = wafer()
    assert len(np.unique(np.asarray(chips.identity), axis=0)) == CHIPS
    again = hw.Chip.fabricate(jax.random.split(jax.random.key(1), CHIPS)[4])
    np.testing.assert_array_equal(again.identity, chips.identity[4])
    np.testing.assert_allclose(again.zero["leak"], chips.zero["leak"][4], rtol=1e-5)


def test_default_codes_hit_default_targets_on_an_ideal_chip():
    found = hw.Chip.ideal().parameters(hw.Codes.default())
    expected = {"leak": 80, "reset": 70, "threshold": 125, "tau_mem": 10, "tau_syn_exc": 10, "refractory": 2}
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(found, name), value, rtol=0.006)
    np.testing.assert_allclose(found.offset, 0, atol=1e-6)


def test_ranges_of_targets_can_be_reached():
    """0.5 to 60 µs for membranes with the gears, 0.3 to 30 µs for synapses, 50 to 220 LSB, 40 ns to 32 µs."""
    ideal = hw.Chip.ideal()

    def at(**codes):
        return jax.tree.map(lambda x: float(x[0]), ideal.parameters(hw.Codes.default(**codes)))

    assert at(tau_mem=1000, leak_gear=1).tau_mem < 0.5 and at(tau_mem=100, leak_gear=-1).tau_mem > 60
    assert at(tau_syn_exc=1022).tau_syn_exc < 0.3 and at(tau_syn_exc=20).tau_syn_exc > 30
    assert at(leak=100).leak < 50 and at(threshold=1022).threshold > 220
    assert at(refractory_counter=5).refractory == pytest.approx(0.04)
    assert at(refractory_counter=255, refractory_clock=4).refractory > 32


@pytest.mark.parametrize("clock, longest", [(0, 2.04), (3, 16.32), (6, 130.56)])
def test_the_refractory_counter(clock, longest):
    found = hw.Chip.ideal().parameters(hw.Codes.default(refractory_counter=255, refractory_clock=clock))
    np.testing.assert_allclose(found.refractory, longest, rtol=1e-6)


def test_holdoff_counts_odd_periods():
    found = hw.Chip.ideal().parameters(hw.Codes.default(holdoff_time=5, refractory_clock=1))
    np.testing.assert_allclose(found.holdoff, 21 * 0.016, rtol=1e-6)


def test_codes_have_gradients(x64):
    chip = jax.tree.map(lambda x: x, hw.Chip.fabricate(jax.random.key(3)))
    codes = hw.Codes.default(adaptation_a=100, adaptation_b=50, offset=100, cadc_offset=0)

    def total(codes):
        return sum(jnp.sum(x) for x in jax.tree.leaves(chip.parameters(codes)))

    gradient = eqx.filter_grad(total)(codes)
    for name in ("leak", "tau_mem", "tau_syn_inh", "i_synin_gm_exc", "offset", "membrane_capacitance", "adaptation_b"):
        step = jnp.zeros(512).at[17].set(1e-3)
        up, down = (dataclasses.replace(codes, **{name: getattr(codes, name) + s * step}) for s in (1, -1))
        difference = (total(up) - total(down)) / 2e-3
        np.testing.assert_allclose(getattr(gradient, name)[17], difference, rtol=1e-4)
