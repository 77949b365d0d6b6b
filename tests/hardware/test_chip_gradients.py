"""The control beside the loop: gradients straight through the chip model, in weights and codes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
import hardware as hw
from hardware.routing import place
from hardware.weights import row_weights
from tests.hardware.networks import TRIAL, layers

T1 = 20.0
NAMES = ("leak", "reset", "threshold", "tau_mem", "tau_syn_exc", "i_synin_gm_exc", "i_synin_gm_inh", "cadc_offset")
NETWORK = layers()
PLACED = place(NETWORK)
CIRCUITS = np.concatenate([circuits[:, 0] for circuits in PLACED.circuits])
MISMATCH = dataclasses.replace(
    hw.MEASURED,
    **{name: hw.Spread(8.0) for name in ("leak", "reset", "threshold")},
    synin_shift=hw.Spread(3.0),
    cadc_slope=hw.Spread(0.0),
)
"""Nearly that of a calibrated chip: with its default codes neurons fire."""


def device(quantised):
    return hw.Emulated(hw.Chip.fabricate(jax.random.key(4), MISMATCH, hw.QUIET), quantised=quantised)


def split(x):
    """The numbers of a vector: both matrices of weights, and changes of codes [names, circuits that are used]."""
    first, second, codes = jnp.split(x, [60, 96])
    return (first.reshape(12, 5), second.reshape(3, 12)), codes.reshape(len(NAMES), len(CIRCUITS))


def codes_of(changes):
    default = hw.Codes.default()
    used = dict(zip(NAMES, changes, strict=True))
    return dataclasses.replace(
        default, **{name: getattr(default, name).at[CIRCUITS].add(change) for name, change in used.items()}
    )


def start():
    """Weights in whole LSB, codes at their defaults."""
    weights = [p.connection.weight.ravel() for p in NETWORK.projections]
    return jnp.concatenate([*weights, jnp.zeros(len(NAMES) * len(CIRCUITS))]).astype(float)


def linear(readings):
    """A loss that is linear in samples and in times."""
    times = readings.spikes[0].times
    return jnp.mean(readings.cadc[1]) + jnp.mean(readings.cadc[0]) + jnp.sum(jnp.where(times < jnp.inf, times, 0)) / 9


def smooth(x, key):
    """Without anything that has steps; and in which step of the grid each spike falls."""
    weights, changes = split(x)
    chip = device(False)
    readings = chip.run(chip.configure(NETWORK, PLACED, codes_of(changes)), weights, TRIAL, T1, hw.Record(), key)
    times = readings.spikes[0].times
    return linear(readings), jnp.where(times < jnp.inf, jnp.floor(times / chip.dt), -1)


def test_gradients_of_the_smooth_chip_are_those_of_differences(x64, key):
    """In 60 of all weights and codes; left out is who moves a spike to another step, or makes it come or go."""
    at, eps = start(), 1e-4
    (_, steps), gradient = jax.jit(jax.value_and_grad(smooth, has_aux=True))(at, key)
    chosen = np.sort(np.random.default_rng(0).choice(at.size, 60, replace=False))
    moves = eps * jnp.eye(at.size)[chosen]
    values, there = jax.jit(jax.vmap(smooth, (0, None)))(jnp.concatenate([at[None] + moves, at[None] - moves]), key)
    ahead, behind = np.asarray(values).reshape(2, -1)
    kept = np.all(np.asarray(there).reshape(2, len(chosen), -1) == np.asarray(steps), axis=(0, 2))
    assert np.sum(~kept) <= 3
    assert np.sum(gradient[chosen] != 0) > 50 and np.sum(steps >= 0) > 8
    np.testing.assert_allclose(gradient[chosen][kept], ((ahead - behind) / (2 * eps))[kept], rtol=1e-5, atol=1e-8)


@pytest.mark.slow
def test_straight_through_is_the_gradient_of_the_smooth_chip_at_whole_numbers(x64, key):
    """Of a loss that is linear in samples and stamps: what is rounded on the way does not show in the gradient."""
    chip = device(True)
    shift = jax.random.uniform(jax.random.key(9), start().shape, minval=-0.4, maxval=0.4)

    def whole(x):
        weights, changes = split(x)
        network = ep.FeedForward(
            [(ep.Dense(weight), neuron) for weight, neuron in zip(weights, NETWORK.neurons, strict=True)]
        )
        calibration = hw.Calibration.from_codes(hw.Codes.default(), chip)
        calibration = dataclasses.replace(calibration, codes=codes_of(changes).rounded())
        return linear(hw.run(hw.Experiment(PLACED, calibration), network, chip, TRIAL, T1, key))

    found = jax.jit(jax.grad(whole))(start() + shift)
    wanted = jax.jit(jax.grad(smooth, has_aux=True))(start(), key)[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("repetitions", [1, 2])
def test_row_weights_pass_the_whole_derivative(repetitions):
    """Also where a row pair is full: of a charge that all rows deliver alike, 1 per unit of weight."""
    full = 63.0 * repetitions
    weights = jnp.asarray([[5.0, -8.0, 0.5, 63.0, -63.0, full, -full, 62.0]])

    def charge(weights):
        rows = row_weights(weights, repetitions)
        return jnp.sum(rows[:, :, 0] - rows[:, :, 1])

    np.testing.assert_array_equal(jax.grad(charge)(weights), jnp.ones((1, 8)))
    rows = row_weights(weights, repetitions)
    assert np.max(rows) == 63 and np.min(rows) == 0


def test_codes_are_learned_through_rounding():
    codes = hw.Codes.default(leak=[200.4] * 511 + [1100.0])
    np.testing.assert_array_equal(codes.rounded().check().leak, [200.0] * 511 + [1022.0])
    slope = jax.grad(lambda leak: jnp.sum(dataclasses.replace(codes, leak=leak).rounded().leak))(codes.leak)
    np.testing.assert_array_equal(slope, [1.0] * 511 + [0.0])
