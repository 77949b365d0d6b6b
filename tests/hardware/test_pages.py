"""The examples of docs/hardware.md, run as printed, one after the other."""

import re
from pathlib import Path

import numpy as np
import pytest

import hardware as hw

TEXT = (Path(__file__).parents[2] / "docs" / "hardware.md").read_text(encoding="utf-8")
CHIP, CALIBRATION, ADEX, DRIVER, LOOP, CODES, TWIN = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def names():
    found: dict = {}
    exec(CHIP, found)
    exec(CALIBRATION, found)
    return found


def test_a_network_on_a_chip(names):
    """Samples within the converter's range, energy of 30 µs."""
    recording = names["recording"]
    samples = np.asarray(recording.cadc[0])
    assert samples.shape == (18, 4) and np.all((samples >= 0) & (samples <= 255) & (samples == np.round(samples)))
    np.testing.assert_allclose(recording.energy, 0.175 * 30, rtol=1e-6)


def test_calibration(names):
    assert np.all(names["calibration"].success)
    np.testing.assert_allclose(names["calibrated"].cadc[0][0], 80, atol=6)


def test_targets_of_a_model(names):
    exec(ADEX, names)
    targets, circuits = names["adex"], names["its_placement"].circuits[0].ravel()
    np.testing.assert_allclose(targets.sharpness[circuits], 4)
    np.testing.assert_allclose(targets.adaptation_b[circuits], 0.6)


def test_the_frame_of_a_driver(names):
    exec(DRIVER, names)
    nothing = names["nothing"]
    assert np.all(nothing.spikes[0].count() == 0) and np.all(nothing.cadc[0] == 80)


def test_gradients_in_the_loop(names):
    exec(LOOP, names)
    weight = names["gradient"].projections[0].connection.weight
    assert 0 < names["value"] < 30
    assert np.all(np.isfinite(weight)) and np.all(weight <= 0) and np.any(weight < 0)


def test_codes_are_learned_through_the_chip(names):
    """A leak moves the samples of its own circuit only: by 1 / 2.4 LSB per code, over four neurons, and somewhat more
    where an earlier spike leaves more time to recover."""
    exec("import dataclasses\n" + CODES, names)
    leak, circuits = np.asarray(names["towards"]["leak"]), names["placement"].circuits[0].ravel()
    np.testing.assert_allclose(leak[circuits], 1.2 / 2.4 / 4, rtol=0.25)
    assert np.all(np.delete(leak, circuits) == 0)


def test_a_fitted_twin_predicts_better_than_the_ideal_chip(names):
    exec("import equinox as eqx\n" + TWIN, names)
    assert names["before"] > 20 > 4 > names["after"]
    assert names["after"] > hw.Noise().cadc ** 2
