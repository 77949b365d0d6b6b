import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardware as hw


def test_the_chip_has_131072_synapses_and_fans_in_128_signed_inputs():
    assert hw.BSS2.synapses == 131_072
    assert (hw.BSS2.arrays, hw.BSS2.fan_in) == (2, 128)
    np.testing.assert_array_equal(np.bincount(hw.BSS2.quadrant()), [128] * 4)
    np.testing.assert_array_equal(np.bincount(hw.BSS2.output()), [64] * 8)


def test_seconds_and_biological_time_become_microseconds():
    assert hw.from_seconds(10e-6) == pytest.approx(10.0)
    assert hw.from_biology(10.0) == 10.0
    with pytest.raises(ValueError, match="speedup"):
        hw.from_biology(1.0, speedup=0.0)


def test_codes_of_all_circuits():
    codes = hw.Codes.default(leak=np.arange(512), synapse_dac_bias=1000)
    assert codes.leak.shape == (512,) and codes.synapse_dac_bias.shape == (4,)
    assert codes.check().leak[7] == 7
    with pytest.raises(ValueError, match=r"\['leek'\] are no codes"):
        hw.Codes.default(leek=3)


@pytest.mark.parametrize("name, code", [("leak", 1023.0), ("leak", -1.0), ("tau_mem", 3.5), ("reset", float("nan"))])
def test_codes_out_of_range(name, code):
    codes = hw.Codes.default(**{name: code})
    with pytest.raises(ValueError, match=f"{name} must be whole numbers from 0 to 1022"):
        codes.check()


def test_traced_codes_out_of_range():
    codes = hw.Codes.default()

    @jax.jit
    def checked(leak):
        return dataclasses.replace(codes, leak=leak).check().leak

    checked(codes.leak)
    with pytest.raises(Exception, match="leak must be whole numbers"):
        jax.block_until_ready(checked(jnp.full(512, 1023.0)))


def test_placements_compare_by_value():
    def placement(row):
        route = hw.Route(np.full((2, 1), row), np.zeros((2, 1), int), np.arange(2))
        return hw.Placement((np.arange(3)[:, None],), (route,))

    assert placement(1) == placement(1) and hash(placement(1)) == hash(placement(1))
    assert placement(1) != placement(2)
    assert placement(1).repetitions == (1,)
    with pytest.raises(ValueError, match="row_pairs and slots"):
        hw.Route(np.zeros((2, 1), int), np.zeros((2, 2), int), np.arange(2))
