import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eventprop import LI, LIF, Dense, FeedForward, Network, Noise
from eventprop.parameters import is_concrete
from hardware import place
from hardware.targets import Targets
from hardware.units import from_seconds, hxtorch_targets

NETWORK = FeedForward(
    [(Dense(np.zeros((4, 200))), LIF(6.0, 5.0, refractory=1.0)), (Dense(np.zeros((3, 4))), LI(8.0, 5.0))]
)


def test_defaults_are_calix():
    targets = Targets.default()
    wanted = {"leak": 80, "reset": 70, "threshold": 125, "tau_mem": 10, "tau_syn_exc": 10, "refractory_time": 2}
    for name, value in (wanted | {"i_synin_gm_inh": 500, "membrane_capacitance": 63, "holdoff_time": 0}).items():
        np.testing.assert_array_equal(getattr(targets, name), np.full(512, value))
    assert targets.synapse_dac_bias == 600
    assert jnp.all(targets.spiking)


def test_known_targets_stay_known_in_a_program():
    """Calibration takes as long as the longest time constant asks for, and as the longest that there are if unknown."""

    def made(leak):
        placement = place(NETWORK)
        for targets in (Targets.of(NETWORK, placement, leak=leak, threshold=(150, 160)), Targets.default(leak=leak)):
            assert is_concrete(targets.tau_mem) and is_concrete(targets.threshold) and not is_concrete(targets.leak)
        return targets.leak

    np.testing.assert_array_equal(jax.jit(made)(90.0), np.full(512, 90))


def test_each_population_has_its_own():
    placement = place(NETWORK)
    targets = Targets.of(NETWORK, placement, leak=(90, 100), threshold=150, tau_syn=(jnp.arange(1.0, 5.0), 5.0))
    hidden, readout = placement.circuits
    assert hidden.shape == (4, 2)
    np.testing.assert_array_equal(targets.leak[hidden], np.full((4, 2), 90))
    np.testing.assert_array_equal(targets.leak[readout], np.full((3, 1), 100))
    np.testing.assert_array_equal(targets.tau_syn_inh[hidden], [[1, 1], [2, 2], [3, 3], [4, 4]])
    np.testing.assert_array_equal(targets.tau_mem[hidden], np.full((4, 2), 6))
    np.testing.assert_array_equal(targets.refractory_time[hidden], np.full((4, 2), 1))
    np.testing.assert_array_equal(targets.refractory_time[readout], np.full((3, 1), 2))
    assert targets.leak[500] == 80
    assert not jnp.any(targets.spiking[readout])
    assert jnp.all(targets.spiking[hidden])


def test_neurons_with_noise_are_asked_for_themselves():
    network = Network([Noise(LIF(6.0, 4.0, refractory=3.0), 0.1)], [(None, 0, Dense(np.zeros((2, 2))))])
    targets = Targets.of(network, place(network))
    assert [float(x[0]) for x in (targets.tau_mem, targets.tau_syn_exc, targets.refractory_time)] == [6, 4, 3]


def test_units_of_other_programs():
    targets = Targets.of(NETWORK, place(NETWORK), tau_mem=from_seconds(6e-6), **hxtorch_targets())
    assert targets.reset[0] == 80
    assert targets.refractory_time[0] == 1
    np.testing.assert_allclose(targets.tau_mem[0], 6)


def test_conductances_are_asked_for_by_population():
    assert Targets.default().e_coba_reversal_exc is None
    placement = place(NETWORK)
    targets = Targets.of(
        NETWORK, placement, e_coba_reversal_exc=(300, None), e_coba_reversal_inh=(30, None), e_coba_reference=100
    )
    hidden, readout = placement.circuits
    assert targets.e_coba_reversal_exc is not None and targets.e_coba_reference_inh is not None
    np.testing.assert_array_equal(targets.e_coba_reversal_exc[hidden], np.full((4, 2), 300))
    assert jnp.all(jnp.isnan(targets.e_coba_reversal_exc[readout]))
    np.testing.assert_array_equal(targets.e_coba_reference_inh[hidden], np.full((4, 2), 100))
    with pytest.raises(ValueError, match="need e_coba_reversal_exc and e_coba_reversal_inh"):
        Targets.default(e_coba_reversal_exc=300)


def test_targets_pass_gradients():
    def total(leak):
        return jnp.sum(Targets.of(NETWORK, place(NETWORK), leak=(leak, 80)).leak)

    assert jax.grad(total)(90.0) == 8


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"leak": 49}, "leak must lie within 50 to 160 LSB, but is 49"),
        ({"threshold": (100, 221)}, "threshold must lie within 50 to 220 LSB, but is 221"),
        ({"tau_mem": np.nan}, "tau_mem must lie within 0.5 to 60 µs"),
        ({"tau_syn": 31}, "tau_syn_exc must lie within 0.3 to 30"),
        ({"v_leak": 80}, r"\['v_leak'\] are no targets; there are"),
        ({"e_coba_reversal_exc": 200, "e_coba_reversal_inh": 30}, "e_coba_reversal_exc must lie within 240 to 400 LSB"),
        ({"leak": (80, 80, 80)}, "leak has 3 entries, but the network 2 populations"),
    ],
)
def test_targets_out_of_range_are_refused(target, message):
    with pytest.raises(ValueError, match=message):
        Targets.of(NETWORK, place(NETWORK), **target)


def test_traced_targets_are_checked_when_they_run():
    with pytest.raises(RuntimeError, match="leak must lie within"):
        jax.block_until_ready(jax.jit(lambda leak: Targets.default(leak=leak))(40.0).leak)
