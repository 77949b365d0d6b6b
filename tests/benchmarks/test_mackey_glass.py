import numpy as np
import pytest
from scipy.integrate import solve_ivp

from benchmarks.datasets import mackey_glass

JITCDDE = {0: 1.266778, 15: 0.977294, 30: 0.681791, 45: 0.842856, 60: 1.156821, 75: 1.205191}
"""NeuroBench's recipe, 75 points per Lyapunov time, integrated with jitcdde at its default tolerance."""


def method_of_steps(duration, initial=0.7206597, delay=17.0):
    """The delay equation, one delay at a time, each an ordinary differential equation with a known past."""
    parts, past, x = [], lambda t: initial, initial
    for number in range(int(duration / delay) + 2):

        def slope(t, x, past=past):
            delayed = past(t - delay)
            return 0.2 * delayed / (1 + delayed**10) - 0.1 * x

        span = (number * delay, (number + 1) * delay)
        solution = solve_ivp(slope, span, [x], "DOP853", rtol=1e-11, atol=1e-12, dense_output=True, max_step=0.5)
        parts.append(solution.sol)
        past, x = (lambda t, sol=solution.sol: sol(t)[0]), solution.y[0, -1]
    return lambda t: parts[int(t // delay)](t)[0]


def test_series_is_of_fourth_order():
    exact = method_of_steps(57)
    errors = []
    for dt in (0.5, 0.25):
        x = mackey_glass.series(40.0, dt)
        errors.append(max(abs(value - exact(17 + dt * step)) for step, value in enumerate(x)))
    assert errors[1] < 2e-8
    assert 13 < errors[0] / errors[1] < 20


def test_series_is_that_of_jitcdde():
    x = mackey_glass.series(200.0)
    times = np.array(list(JITCDDE)) * mackey_glass.LYAPUNOV_TIME / 75
    np.testing.assert_allclose(np.interp(times, 0.2 * np.arange(len(x)), x), list(JITCDDE.values()), atol=3e-3)


def test_sequences_overlap():
    sequences = mackey_glass.sequences(3, length=0.4, shift=0.2)
    assert sequences.shape == (3, 394)
    np.testing.assert_array_equal(sequences[0, 197:], sequences[1, :197])


@pytest.mark.parametrize(("arguments", "message"), [((10.0, 0.3), "delay must be"), ((0.01, 0.2), "duration must be")])
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        mackey_glass.series(*arguments)
