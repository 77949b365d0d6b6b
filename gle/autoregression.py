"""Prediction of a series: a network that reads delayed values of it, and goes on with its own output as input."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Float, Num, PyTree

from gle.arrays import as_float, as_time_step, split_numbers, vary_alike
from gle.learning import Learner, check_state, examine
from gle.results import RESULTS, all_finite, raise_if
from gle.steppers import AbstractStepper, Step
from gle.system import AbstractSystem, dtype_of


def delayed(
    series: Num[Array | np.ndarray, "time *batch channels"], delays: Sequence[int] | np.ndarray
) -> Float[Array, "later *batch inputs"]:
    """x(t - d) for every one of the `delays`, in steps: the inputs from step max(delays) on, delays before channels."""
    series, delays = jnp.asarray(as_float("series", series)), _as_delays(delays)
    longest = max(delays)
    if series.shape[0] <= longest:
        raise ValueError(f"series must be longer than the longest delay, {longest}, but has {series.shape[0]} steps.")
    stop = series.shape[0]
    return jnp.concatenate([series[longest - delay : stop - delay] for delay in delays], axis=-1)


def autoregress(
    learner: Learner,
    past: Num[Array | np.ndarray, "window *batch channels"],
    steps: int,
    *,
    delays: Sequence[int] | np.ndarray,
    ahead: int = 1,
    dt: ArrayLike,
    stepper: AbstractStepper = Step(),
    throw: bool = True,
) -> tuple[Learner, Float[Array, "steps *batch channels"], RESULTS]:
    """Run a network that was taught to predict x(t + ahead dt) from x(t - delays dt) on its own predictions.

    - `past`: the series up to the newest prediction, so the last `ahead` entries are outputs of the network. Only the
        last max(delays) + ahead entries count.
    - `throw`: as in `online`; with False a learner that failed is returned as it was.

    Nothing is learned, and there are no errors. Returns the learner, the `steps` predictions that follow `past`, and a
    result.

    Raises ValueError for delays that are negative or none, a `past` that is too short, and a network or learner that
    does not fit them.
    """
    series, delays = as_float("past", past), _as_delays(delays)
    window = max(delays) + ahead
    if ahead < 1:
        raise ValueError(f"ahead must be at least 1, but is {ahead}.")
    if series.shape[0] < window:
        raise ValueError(f"past must hold max(delays) + ahead = {window} steps, but has {series.shape[0]}.")
    network, state, memory = learner
    read, channels = len(delays) * series.shape[-1], series.shape[-1]
    sources, outputs = network.sources, network.outputs
    if (sources, outputs) != (read, channels):
        raise ValueError(
            f"a network that goes on with {channels} channels at {len(delays)} delays needs {read} inputs and "
            f"{channels} outputs, but has {sources} and {outputs}."
        )
    still, dt = network.frozen(), as_time_step(dt, dtype_of(network))
    numbers, rest = split_numbers(still)
    past = jnp.asarray(series[-window:])
    after, outputs, result = _go_on(numbers, rest, state, past, steps, delays, ahead, dt, stepper, throw)
    return Learner(network, after, memory), outputs, result


@eqx.filter_jit
def _go_on(
    numbers: PyTree,
    still: AbstractSystem,
    state: Any,
    past: Array,
    steps: int,
    delays: tuple[int, ...],
    ahead: int,
    dt: Array,
    stepper: AbstractStepper,
    throw: bool,
) -> tuple[Any, Array, RESULTS]:
    still = eqx.combine(still, numbers)
    check_state(still, state, past.shape[1:-1], stepper)
    still, state, past, dt, stepper = vary_alike((still, state, past, dt, stepper))
    window, before = past.shape[0], state
    result = examine(still, stepper, past, dt)

    def step(carry, _):
        state, past = carry
        input = jnp.concatenate([past[window - ahead - delay] for delay in delays], axis=-1)
        state, signals = stepper.step(still, state, input, None, dt)
        output = signals.rate[-1]
        return (state, jnp.concatenate([past[1:], output[None]])), output

    (state, _), outputs = lax.scan(step, (state, past), length=steps)
    finite = all_finite((state, outputs)) | (result != RESULTS.successful)
    result = RESULTS.where(finite, result, RESULTS.non_finite)
    well = result == RESULTS.successful
    state = jax.tree.map(lambda new, old: jnp.where(well, new, old), state, before)
    if throw:
        state, outputs = raise_if((state, outputs), ~well, result)
    return state, outputs, result


def _as_delays(delays: Sequence[int] | np.ndarray) -> tuple[int, ...]:
    if not len(delays) or min(delays) < 0 or any(int(delay) != delay for delay in delays):
        raise ValueError(f"delays must be non-negative numbers of steps, at least one, but are {tuple(delays)}.")
    return tuple(int(delay) for delay in delays)
