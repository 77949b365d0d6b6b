"""The Mackey-Glass series (Mackey & Glass 1977), a chaotic delay equation, and NeuroBench's sequences of it.

x'(t) = beta x(t - tau) / (1 + x(t - tau)^n) - gamma x(t)        (Ellenberger et al. 2024, Eq. 55)
"""

import numpy as np
from jaxtyping import Float

from benchmarks.errors import InvalidInput

LYAPUNOV_TIME = 197.0
"""Of the series with delay 17, in which errors grow by a factor of e."""


def series(
    duration: float, dt: float = 0.2, *, initial: float = 0.7206597, delay: float = 17.0
) -> Float[np.ndarray, " time"]:
    """x every `dt`, in float64, from one delay after the constant past `initial` on, as NeuroBench's series begin.

    Beta 0.2, gamma 0.1, n 10. Fourth-order Runge-Kutta with steps of `dt`, of which `delay` has to be a multiple; in
    the middle of a step the delayed value is the cubic Hermite interpolant.
    """
    lag, steps = round(delay / dt), round(duration / dt)
    if lag < 1 or abs(lag * dt - delay) > 1e-9 * delay:
        raise InvalidInput(f"delay must be a positive multiple of dt = {dt}, but is {delay}.")
    if steps < 1:
        raise InvalidInput(f"duration must be at least dt = {dt}, but is {duration}.")
    x, slope = [initial] * (lag + 1), [0.0] * lag
    for past in range(lag + steps):
        before, after = x[past], x[past + 1]
        start = _slope(x[-1], before)
        slope.append(start)
        # At the end of the constant past the slope jumps; the last constant interval has slope zero at both ends.
        right = 0.0 if past + 1 == lag else slope[past + 1]
        middle = (before + after) / 2 + dt / 8 * (slope[past] - right)
        second = _slope(x[-1] + dt / 2 * start, middle)
        third = _slope(x[-1] + dt / 2 * second, middle)
        last = _slope(x[-1] + dt * third, after)
        x.append(x[-1] + dt / 6 * (start + 2 * second + 2 * third + last))
    return np.array(x[2 * lag : 2 * lag + steps])


def sequences(
    count: int = 30, length: float = 20.0, shift: float = 0.5, *, dt: float = 0.2, initial: float = 0.7206597
) -> Float[np.ndarray, "count time"]:
    """Overlapping sequences of one series, `length` long and `shift` apart, both in Lyapunov times."""
    total = (length + (count - 1) * shift) * LYAPUNOV_TIME
    whole = series(total + 2 * dt, dt, initial=initial)
    steps = round(length * LYAPUNOV_TIME / dt)
    starts = [round(number * shift * LYAPUNOV_TIME / dt) for number in range(count)]
    return np.stack([whole[start : start + steps] for start in starts])


def _slope(x: float, delayed: float) -> float:
    return 0.2 * delayed / (1 + delayed**10) - 0.1 * x
