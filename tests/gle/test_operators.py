import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gle import (
    Chain,
    DiscountedFuture,
    InputAdaptation,
    Lookback,
    Prospective,
    Retrospective,
    VoltageAdaptation,
    gain,
    phase_shift,
)

OMEGA = np.logspace(-2, 2, 41)


@eqx.filter_jit
def trajectory(operator, x, dt):
    return operator.trajectory(x, dt)


@pytest.mark.parametrize(("integral", "derivative"), [(Retrospective, Prospective), (DiscountedFuture, Lookback)])
def test_the_derivative_inverts_the_integral(integral, derivative, precision, rng):
    x = jnp.asarray(rng.normal(size=(200, 3)))
    tau = jnp.array([0.3, 1.0, 5.0])
    tolerance = 2e-5 if precision == np.float32 else 1e-13
    for first, second in ((integral, derivative), (derivative, integral)):
        back = trajectory(second(tau), trajectory(first(tau), x, 0.1), 0.1)
        np.testing.assert_allclose(back, x, atol=tolerance * 50)


@given(tau_m=st.floats(0.05, 20), tau_r=st.floats(0.05, 20))
def test_errors_and_adjoints_have_the_same_phase_and_inverse_gains(tau_m, tau_r):
    with jax.enable_x64(True):
        error = Chain((Retrospective(tau_r), Prospective(tau_m))).transfer(OMEGA)
        adjoint = Lookback(tau_r).transfer(OMEGA) * DiscountedFuture(tau_m).transfer(OMEGA)
        np.testing.assert_allclose(phase_shift(error), phase_shift(adjoint), atol=1e-14)
        np.testing.assert_allclose(phase_shift(error), np.arctan(OMEGA * tau_m) - np.arctan(OMEGA * tau_r), atol=1e-14)
        np.testing.assert_allclose(gain(error) * gain(adjoint), 1, rtol=1e-13)
        np.testing.assert_allclose(gain(error), np.sqrt((1 + (OMEGA * tau_m) ** 2) / (1 + (OMEGA * tau_r) ** 2)))


@pytest.mark.parametrize("operator", [Retrospective(0.7), Prospective(0.7), DiscountedFuture(0.7), Lookback(0.7)])
def test_a_sampled_oscillation_shows_the_transfer_function(operator, x64):
    """First order in dt: halving it halves the deviation."""
    omega, deviations = 2.0, []
    for dt in (0.04, 0.02):
        t = np.arange(0, 1024) * dt
        y = trajectory(operator, jnp.exp(1j * omega * t), dt)
        middle = len(t) // 2
        deviations.append(abs(y[middle] / np.exp(1j * omega * t[middle]) - operator.transfer(omega)))
    np.testing.assert_allclose(np.divide(deviations[:-1], deviations[1:]), 2, rtol=0.02)


@pytest.mark.parametrize(
    "operator", [Retrospective(0.7), Prospective(0.0), Chain((Retrospective(0.2), Prospective(1.2)))]
)
def test_streaming_equals_the_whole_trajectory(operator, x64, rng):
    x = jnp.asarray(rng.normal(size=(50, 2)))
    state = operator.init(jnp.zeros(2))
    _, streamed = jax.lax.scan(lambda s, x: operator.update(s, x, 0.1), state, x)
    np.testing.assert_allclose(streamed, trajectory(operator, x, 0.1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "operator", [Retrospective(0.7), Prospective(0.7), Chain((Retrospective(0.2), Prospective(2.0)))]
)
def test_a_constant_signal_stays(operator, x64):
    x = jnp.array([3.0, -1.0])
    _, y = operator.update(operator.init(x), x, 0.1)
    np.testing.assert_allclose(y, x, rtol=1e-13)


@pytest.mark.parametrize("neuron", [VoltageAdaptation(1.0, 0.9, 10 / 0.9), InputAdaptation(1.0, 0.9, 1.81 / 1.9)])
def test_adaptive_neurons_follow_their_transfer_function(neuron, x64):
    """Against an adaptive diffrax solution; and the first-order expansion is one (Eqs. 36, 39)."""
    omega, t1 = 0.7, 40.0
    term = diffrax.ODETerm(lambda t, y, args: jnp.stack(neuron.flow(*y, jnp.cos(omega * t))))
    solution = diffrax.diffeqsolve(
        term,
        diffrax.Tsit5(),
        0.0,
        t1,
        0.01,
        jnp.zeros(2),
        stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-12),
        max_steps=100_000,
    )
    expected = (neuron.transfer(omega) * np.exp(1j * omega * t1)).real
    np.testing.assert_allclose(solution.ys[-1, 0], expected, rtol=1e-7)
    ratios = [abs(neuron.transfer(w) - neuron.slow_transfer(w)) for w in (1e-3, 5e-4)]
    np.testing.assert_allclose(ratios[0] / ratios[1], 4, rtol=1e-2)
    assert phase_shift(neuron.transfer(0.1)) > 0  # prospective (Fig. 12)


@pytest.mark.parametrize("slowness", [1e4, 1e6, 1e7])
def test_slow_operators_keep_their_digits(slowness):
    """In float32, whose spacing below 1 is 6e-8: 1 - exp(-dt/tau) of 1e-6 used to be 5 to 19 % off, of 1e-8 zero."""
    dt, steps = 0.1, 1000
    tau, step = slowness * dt, jnp.ones((steps, 1))
    expected = -np.expm1(-np.arange(1, steps + 1) / slowness)[:, None]
    np.testing.assert_allclose(trajectory(Retrospective(tau), step, dt), expected, rtol=2e-5)
    update = jax.jit(lambda state: Retrospective(tau).update(state, jnp.ones(1), dt)[0])
    state = jnp.zeros(1)
    for _ in range(3):
        state = update(state)
    np.testing.assert_allclose(state, expected[2], rtol=1e-6)
    # D+ of a step is one entry of 1 / (1 - exp(-dt/tau)), then 1.
    ahead = trajectory(Prospective(tau), step, dt)
    np.testing.assert_allclose(ahead, np.r_[1 / expected[0, 0], np.ones(steps - 1)][:, None], rtol=1e-6)


def test_bad_time_constants_and_steps_are_refused():
    for bad in (-1.0, np.nan, np.array([1.0, -0.1]), jnp.asarray(-1.0)):
        for operator in (Retrospective, Prospective, DiscountedFuture, Lookback):
            with pytest.raises(ValueError, match="tau must be at least 0"):
                operator(bad).trajectory(jnp.ones((3, 2)), 0.1)
    with pytest.raises(ValueError, match="tau must be positive"):
        VoltageAdaptation(1.0, 0.0, 1.0)
    for dt in (0.0, -0.1, np.nan):
        with pytest.raises(ValueError, match="dt must be positive"):
            Retrospective(1.0).trajectory(jnp.ones((3, 1)), dt)


def test_signals_of_whole_numbers():
    operator = Chain((Retrospective(0.2), Prospective(2)))
    whole, same = np.arange(12).reshape(6, 2), jnp.arange(12.0).reshape(6, 2)
    np.testing.assert_array_equal(operator.trajectory(whole, 0.1), operator.trajectory(same, 0.1))
    assert operator.update(operator.init(whole[0]), whole[1], 0.1)[1].dtype == np.float32
