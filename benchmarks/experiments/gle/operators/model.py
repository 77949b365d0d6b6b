"""Phases and gains of GLE's operators and of their adjoints (Ellenberger et al. 2024, Figs. 3, 11, 12)."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PRNGKeyArray

import gle
from benchmarks.training import Metrics
from gle import RESULTS

FREQUENCIES = tuple(10 ** (number / 20) for number in range(-40, 41))
"""Angular frequencies times tau_m."""


@dataclasses.dataclass(frozen=True)
class Operators:
    """Phases and gains of errors and adjoints.

    Phases agree and gains are inverse, in theory and in simulated oscillations.
    """

    tau_m: float = 1.0
    tau_r: float = 0.1
    samples: int = 1000
    """Time steps per period of a simulated oscillation."""
    periods: int = 50
    """How long it lasts; the last period is judged."""


def error_neuron(config: Operators) -> gle.Chain:
    """What an error passes in GLE: D+ I- (Eq. 19)."""
    return gle.Chain((gle.Retrospective(config.tau_r), gle.Prospective(config.tau_m)))


def adjoint_transfer(
    tau_m: gle.TimeConstant, tau_r: gle.TimeConstant, omega: Float[Array, "..."]
) -> Complex[Array, "..."]:
    """What an adjoint variable passes: I+ D- (Eq. 25)."""
    return gle.DiscountedFuture(tau_m).transfer(omega) * gle.Lookback(tau_r).transfer(omega)


def simulated(config: Operators, omega: Float[Array, ""]) -> tuple[Complex[Array, ""], Complex[Array, ""]]:
    """The transfer functions of error and adjoint, measured on simulated oscillations."""
    dt = 2 * jnp.pi / omega / config.samples
    t = jnp.arange(config.samples * config.periods) * dt
    wave = jnp.stack([jnp.cos(omega * t), jnp.sin(omega * t)], axis=1)
    error = error_neuron(config).trajectory(wave, dt)
    adjoint = gle.Lookback(config.tau_r).trajectory(wave, dt)
    adjoint = gle.DiscountedFuture(config.tau_m).trajectory(adjoint, dt)

    def ratio(response: Array, period: slice) -> Array:
        carrier = wave[period, 0] - 1j * wave[period, 1]
        return jnp.mean((response[period, 0] + 1j * response[period, 1]) * carrier)

    # An adjoint starts from the end of time, so it is in the first period that it has forgotten how it began.
    return ratio(error, slice(-config.samples, None)), ratio(adjoint, slice(config.samples))


def gle_operators(config: Operators, key: PRNGKeyArray) -> tuple[Metrics, gle.Chain, RESULTS]:
    """The largest deviations, over all frequencies, of error from adjoint and of simulation from theory."""
    del key
    omega = jnp.asarray(FREQUENCIES) / config.tau_m
    error, adjoint = error_neuron(config).transfer(omega), adjoint_transfer(config.tau_m, config.tau_r, omega)
    # Faster oscillations would need more periods until the neurons have forgotten how they began.
    slow = np.flatnonzero(np.array(FREQUENCIES) <= 10)[::4]
    measured = jax.lax.map(lambda omega: simulated(config, omega), omega[slow])
    metrics = {
        "phase_deviation": jnp.max(jnp.abs(gle.phase_shift(error) - gle.phase_shift(adjoint))),
        "gain_product_deviation": jnp.max(jnp.abs(gle.gain(error) * gle.gain(adjoint) - 1)),
        "simulated_phase_deviation": jnp.max(jnp.abs(gle.phase_shift(measured[0]) - gle.phase_shift(measured[1]))),
        "simulated_error_deviation": jnp.max(jnp.abs(measured[0] / error[slow] - 1)),
        "simulated_adjoint_deviation": jnp.max(jnp.abs(measured[1] / adjoint[slow] - 1)),
    }
    return metrics, error_neuron(config), RESULTS.successful
