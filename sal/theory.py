"""The Markov chain of two coupled neurons, solved: stationary states and spike-timing differences (section 4.2.1).

A state (a, b) counts the steps since each neuron's last spike, 1 at the spike. Between spikes both counters go up
together, along a diagonal, so what lies between two spikes is a cumulative product, and the chain is known once its
2Z - 1 states right after a spike, (1, b) and (a, 1), are: one linear system, instead of a matrix over Z^2 states.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from sal._mesh import error_if
from sal._numbers import as_count, as_static
from sal.connectivity import Recurrent
from sal.escape import AbstractEscape, LogisticEscape
from sal.kernels import AbstractKernel, LastSpike
from sal.network import Network
from sal.order import AbstractOrder, Parallel, Sweep
from sal.state import count_steps

FIRST, SECOND = 0, 1


def two_neurons(
    weights: Sequence[float | Array] | Float[Array, "2"],
    biases: Sequence[float | Array] | Float[Array, "2"],
    psp: AbstractKernel,
    tau_ref: float,
    *,
    escape: AbstractEscape = LogisticEscape(),
    order: AbstractOrder = Sweep(),
) -> Network:
    """Two neurons coupled both ways, of which each feels the other's last spike (Eqs. 14, 15).

        u_1 = b_1 + W_12 kappa(time since the last spike of neuron 2)
        u_2 = b_2 + W_21 kappa(time since the last spike of neuron 1)

    `weights` are (W_12, W_21), `biases` (b_1, b_2) and `psp` is kappa. With `Sweep()` neuron 2 sees what neuron 1 did
    in the same step. Raises `ValueError` for weights or biases that are not two finite numbers.
    """
    w12, w21 = _two_numbers("weights", weights)
    connectivity = Recurrent(jnp.zeros((2, 2), w12.dtype).at[0, 1].set(w12).at[1, 0].set(w21))
    bias = _two_numbers("biases", biases)
    return Network(connectivity, bias, tau_ref, trace=LastSpike(psp), escape=escape, order=order)


class SpikeTimingDifferences(eqx.Module):
    """The distribution of the time differences of nearest spikes (STDD, Eq. 20).

    A pair is a spike of one neuron and one of the other, with no spike of either strictly in between. The
    probabilities of all pairs add up to one; differences beyond the stored ones fall off geometrically. (With
    `Parallel()`, a spike of one neuron may be followed by two that coincide, so the sides need not weigh the same.)
    """

    later: Float[Array, "2 lags"]
    """The probability that a pair ends with a spike of neuron 1, of neuron 2 (so it is causal for W_12, for W_21), at
    each of the differences `first`, `first` + dt, ..."""
    ratio: Float[Array, ""]
    """By which the probability falls from one difference to the next, from the last one stored on."""
    ends: Float[Array, ""]
    """1 - `ratio`, kept by itself because it may be tiny."""
    coincident: Float[Array, ""]
    """The probability of a difference of zero."""
    rate: Float[Array, ""]
    """Pairs per unit of time."""
    first: float = eqx.field(static=True)
    """The smallest difference that is not zero."""
    dt: float = eqx.field(static=True)

    def differences(self, lags: int) -> Float[Array, " lags"]:
        """The first `lags` time differences."""
        return jnp.arange(lags) * self.dt + self.first

    def probabilities(self, lags: int) -> Float[Array, "2 lags"]:
        """`later`, at the first `lags` time differences."""
        stored = self.later.shape[1]
        beyond = np.maximum(np.arange(lags) - (stored - 1), 0)
        return self.later[:, np.minimum(np.arange(lags), stored - 1)] * (self.ratio**beyond)[None]

    def tail(self, lags: int) -> Float[Array, "2"]:
        """The probability of all differences after the first `lags`."""
        known = self.probabilities(max(lags, self.later.shape[1]) + 1)
        return jnp.sum(known[:, lags:-1], axis=1) + known[:, -1] / self.ends


class SteadyState(eqx.Module):
    """What two neurons do in the long run."""

    states: Float[Array, "states states"]
    """The probability of a and b steps since the last spikes, at [a - 1, b - 1]; the last ones stand for all longer
    times, too."""
    rates: Float[Array, "2"]
    """Spikes per unit of time of each neuron."""
    active: Float[Array, "2 2"]
    """p(z_1, z_2): the probability that a neuron spiked (z = 1) or not (0) in the last tau_ref, at [z_1, z_2]."""
    differences: SpikeTimingDifferences
    """The time differences of their spikes."""


def steady_state(network: Network, *, dt: float, states: int | None = None) -> SteadyState:
    """The stationary distribution and the spike-timing differences of two neurons in steps of `dt`.

    The chain distinguishes `states` numbers of steps since a neuron's last spike, by default so many that the PSP
    has ended (give it where the PSP's time constant is traced); longer times count as the last of them. With a PSP that
    really ends, nothing is approximated. All of it can be differentiated with respect to weights, biases and PSP; `dt`
    and `states` are plain numbers.

    Raises `ValueError` for a network that has not two neurons, or whose PSPs add up (`two_neurons` makes one where only
    the last spike counts), for a dt that is not positive, a tau_ref that is no multiple of it, or fewer `states` than
    tau_ref / dt; `TypeError` for traced numbers that decide a shape; an error at run time for rates that exceed 1 / dt
    or are not finite, and for neurons connected to themselves.
    """
    dt, count = as_static("dt", dt), count_states(network, dt, states)
    refractory, psp = count_steps("tau_ref", network.tau_ref, dt), psp_of_last_spike(network)
    step = step_probabilities(network, psp, dt, refractory, count)
    diagonal = _diagonals(count)
    none = step.none[diagonal.a, diagonal.b]
    reached = jnp.cumprod(jnp.concatenate([jnp.ones_like(none[:, :1]), none[:, :-1]], axis=1), axis=1)
    leaving = (step.only_first + step.only_second + step.both)[-1, -1]
    visits = reached.at[:, -1].divide(leaving)  # a geometric series in the corner, where both counters have ended
    starts = _starts(step, diagonal, visits)
    visited = starts[:, None] * visits
    occupied = jnp.zeros((count, count), none.dtype).at[diagonal.a, diagonal.b].add(visited)
    once = starts / jnp.sum(visited)  # per step
    rates = jnp.stack([jnp.sum(once[diagonal.a[:, 0] == 0]), jnp.sum(once[diagonal.b[:, 0] == 0])]) / dt
    occupied = occupied / jnp.sum(visited)
    rows = jnp.stack([jnp.sum(occupied[refractory:], axis=0), jnp.sum(occupied[:refractory], axis=0)])
    active = jnp.stack([jnp.sum(rows[:, refractory:], axis=1), jnp.sum(rows[:, :refractory], axis=1)], axis=1)
    return SteadyState(occupied, rates, active, _differences(network.order, step, diagonal, reached, once, dt))


def expected_update(
    differences: SpikeTimingDifferences,
    window: AbstractKernel,
    anticausal: AbstractKernel | None = None,
    *,
    prefactors: tuple[float, float] = (-1.0, 1.0),
    lags: int | None = None,
) -> Float[Array, "2"]:
    """The mean change of (W_12, W_21) per pair of spikes, in units of the learning rate (Eqs. 2, 23).

        alpha_c sum_{Dt > 0} f+(Dt) p(Dt) + alpha_a sum_{Dt < 0} f-(Dt) p(Dt)

    `window` is f+ and, unless `anticausal` is given, f- as well; `prefactors` are (alpha_c, alpha_a), those of SAL by
    default. Coincident spikes change nothing. Times `differences.rate` it is the change per unit of time. A window
    counts for the first `lags` differences, by default as long as its `duration`, after which it is below 1e-7 (give it
    where the window's time constant is traced).
    """
    sides = []
    for kernel in (window, window if anticausal is None else anticausal):
        count = count_lags(kernel, differences.dt, lags)
        weight = kernel(differences.differences(count))
        sides.append(differences.probabilities(count) @ weight)
    return prefactors[0] * sides[0] + prefactors[1] * sides[1][::-1]


def count_states(network: Network, dt: float, states: int | None) -> int:
    """How many numbers of steps since a spike `steady_state` distinguishes."""
    refractory, psp = count_steps("tau_ref", network.tau_ref, dt), psp_of_last_spike(network)
    if states is None:
        return max(refractory, math.ceil(_longest("states", psp) / dt * (1 - 1e-6))) + 1
    states = as_count("states", states)
    if states < refractory:
        raise ValueError(f"states must be at least tau_ref / dt = {refractory}, got {states}")
    return states


def count_lags(window: AbstractKernel, dt: float, lags: int | None) -> int:
    """How many time differences `expected_update` takes into account."""
    return max(1, math.ceil(_longest("lags", window) / dt)) if lags is None else as_count("lags", lags)


class Step(NamedTuple):
    """The probabilities of what happens in a step from state (a, b), at [a - 1, b - 1] (Eq. 16)."""

    none: Float[Array, "states states"]
    only_first: Float[Array, "states states"]
    only_second: Float[Array, "states states"]
    both: Float[Array, "states states"]


class _Diagonals(NamedTuple):
    """The states (less one) that follow on each state right after a spike, as long as nobody spikes."""

    a: Int[np.ndarray, "starts states"]
    b: Int[np.ndarray, "starts states"]


def _diagonals(states: int) -> _Diagonals:
    """The starts are (1, 1), (1, 2), ..., (1, states), (2, 1), ..., (states, 1)."""
    zeros, numbers = np.zeros(states, int), np.arange(states)
    a, b = np.concatenate([zeros, numbers[1:]]), np.concatenate([numbers, zeros[1:]])
    return _Diagonals(*(np.minimum(start[:, None] + numbers[None], states - 1) for start in (a, b)))


def step_probabilities(network: Network, psp: AbstractKernel, dt: float, refractory: int, states: int) -> Step:
    """The table of what two neurons do next."""
    weights = jax.vmap(network.connectivity.synapses().drive, out_axes=1)(jnp.eye(2, dtype=network.bias.dtype))
    weights = error_if(
        weights, jnp.any(jnp.diag(weights) != 0), "Neurons that are connected to themselves have no theory."
    )
    kappa = psp(jnp.arange(states) * jnp.asarray(dt, network.bias.dtype) + network.order.elapsed(dt))
    ready = jnp.arange(1, states + 1) >= refractory

    def spikes(neuron: int, psp: Float[Array, " states"]) -> Float[Array, " states"]:
        u = network.bias[neuron] + weights[neuron, 1 - neuron] * psp
        p = network.escape.probability(u, network.tau_ref, dt)
        message = f"The rate of neuron {neuron + 1} exceeds 1 / dt, or is not finite; lower weights or biases, or dt."
        return error_if(p, ~jnp.all(p <= 1), message)

    if isinstance(network.order, Parallel):
        silent = spiking = kappa
    else:
        silent, spiking = jnp.concatenate([kappa[1:], kappa[-1:]]), jnp.full_like(kappa, kappa[0])
    first = ready[:, None] * spikes(FIRST, kappa)[None]
    after_silence = ready[None] * spikes(SECOND, silent)[:, None]
    after_spike = ready[None] * spikes(SECOND, spiking)[:, None]
    return Step(
        none=(1 - first) * (1 - after_silence),
        only_first=first * (1 - after_spike),
        only_second=(1 - first) * after_silence,
        both=first * after_spike,
    )


def _starts(step: Step, diagonal: _Diagonals, visits: Array) -> Float[Array, " starts"]:
    """The stationary distribution over the states right after a spike."""
    a, b = diagonal
    count, states = visits.shape
    rows = np.broadcast_to(np.arange(count)[:, None], a.shape)
    transition = jnp.zeros((count, count), visits.dtype)
    transition = transition.at[rows, np.minimum(b + 1, states - 1)].add(visits * step.only_first[a, b])
    transition = transition.at[rows, np.minimum(a + 1, states - 1) + states - 1].add(visits * step.only_second[a, b])
    transition = transition.at[:, 0].add(jnp.sum(visits * step.both[a, b], axis=1))
    # A stationary distribution is in the kernel of 1 - T^T; adding ones everywhere makes it the only solution.
    return jnp.linalg.solve(jnp.eye(count, dtype=visits.dtype) - transition.T + 1, jnp.ones(count, visits.dtype))


def _differences(
    order: AbstractOrder, step: Step, diagonal: _Diagonals, reached: Array, once: Array, dt: float
) -> SpikeTimingDifferences:
    a, b = diagonal
    after_first, after_second = (np.flatnonzero(counter[:, 0] == 0) for counter in (a, b))

    def pairs(starts: np.ndarray, ends: Array) -> Float[Array, " states"]:
        return once[starts] @ (reached * ends[a, b])[starts]

    first_later = pairs(after_second, step.only_first + step.both)
    ratio = step.none[-1, -1]
    if isinstance(order, Parallel):
        second_later, coincident = pairs(after_first, step.only_second + step.both), once[0]
    else:
        # If both spike in a step, the second one's spike follows on the first one's after half a step.
        second_later = jnp.concatenate([once[:1], pairs(after_first[1:], step.only_second)])
        first_later = jnp.concatenate([first_later, first_later[-1:] * ratio])
        coincident = jnp.zeros_like(ratio)
    later = jnp.stack([first_later, second_later])
    ends = (step.only_first + step.only_second + step.both)[-1, -1]
    total = jnp.sum(later) + jnp.sum(later[:, -1]) * ratio / ends + coincident
    return SpikeTimingDifferences(
        later / total, ratio, ends, coincident / total, total / dt, float(order.elapsed(dt)), dt
    )


def _longest(name: str, kernel: AbstractKernel) -> float:
    if isinstance(kernel.duration, Tracer):
        raise TypeError(
            f"{name} must be given, as {type(kernel).__name__} has a traced duration, which would decide it"
        )
    return float(np.max(kernel.duration))


def psp_of_last_spike(network: Network) -> AbstractKernel:
    """kappa of a network of two neurons that feel only the last spike; raises `ValueError` for others."""
    if network.connectivity.neurons != 2:
        raise ValueError(f"network must have two neurons, got {network.connectivity.neurons}")
    trace = network.trace
    if isinstance(trace, LastSpike):
        return trace.kernel
    if isinstance(trace, AbstractKernel) and trace.duration <= network.tau_ref * (1 + 1e-6):
        return trace
    raise ValueError(
        f"network must feel only the last spike, got the trace {trace!r}; use sal.LastSpike, or sal.two_neurons"
    )


def _two_numbers(name: str, values: Sequence[float | Array] | Array) -> Float[Array, "2"]:
    array = jnp.asarray(values, jnp.result_type(float))
    if array.shape != (2,):
        raise ValueError(f"{name} must be two numbers, got shape {array.shape}")
    if not isinstance(array, Tracer) and not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite, got {array}")
    return array
