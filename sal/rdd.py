"""Regression discontinuity design: backward weights from the causal effect of spikes (Guerguiev et al. 2019)."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from sal._mesh import vary_alike
from sal._numbers import as_arrays, as_parameter, check_positive
from sal.kernels import Time
from sal.state import count_steps
from sal.symmnet import AbstractTwin, Chain, _static, all_finite, static_count


def _parameter(name: str, default: float) -> Any:
    return eqx.field(default=default, converter=lambda x: as_parameter(f"RDDNet: {name}", x))


class RDDNet(AbstractTwin):
    """A neuron that just reached its threshold differs from one that just did not by its spike alone.

    Layers are stimulated one after the other, each for `duration`, so that nothing but its own noise drives a neuron:

        tau_m u' = mean - u + noise,    v as u, but reset to 0 after each spike, which is fired at v >= 1.

    Time is cut into windows, at whose beginning v = u, so that neuron j fires in a window if and only if the maximum
    Z_j of its drive u_j reaches 1. R_k is what neuron k above gets in the window, sum_j W_kj times the spikes of j; a
    function of Z_j that is linear on either side of 1 is fitted to it, where |Z_j - 1| < `bandwidth`, and the height of
    its jump is an estimate of W_kj, as at the jump it is one spike that is added. It is zero for a neuron that
    did not come close to the threshold from both sides. Its error does not depend on j, but on all the weights of k:

        std(B_kj - W_kj) ~ 1.65 |W_k| / sqrt(windows of a layer)    (with the defaults; measured)

    Backward weights keep `memory` of themselves and take the rest from the estimate: over phases, errors average out,
    and the layers below are spared weights that jump from phase to phase.

    The method, not its authors' protocol (who stimulate parts of a layer): all neurons of a layer are driven at once,
    and least squares are solved in closed form, not by gradient descent. Biases have no influence.
    """

    duration: float = _static("RDDNet: duration", 90_000.0)
    """Of the stimulation of a layer, shared out among the replicas (ms). (It, `replicas`, `window` and `dt` decide
    numbers of steps, and so are static.)"""
    replicas: int = static_count("RDDNet: replicas", 32)
    window: float = _static("RDDNet: window", 20.0)
    bandwidth: Time = _parameter("bandwidth", 1.0)
    memory: Time = _parameter("memory", 0.7)
    mean: Time = _parameter("mean", 0.4)
    """Of the drive u, in units of the threshold."""
    deviation: Time = _parameter("deviation", 0.3)
    """Standard deviation of the drive u."""
    tau_m: Time = _parameter("tau_m", 10.0)
    tau_ref: Time = _parameter("tau_ref", 10.0)
    dt: float = _static("RDDNet: dt", 1.0)

    def __check_init__(self):
        check_positive("RDDNet", bandwidth=self.bandwidth, tau_m=self.tau_m, tau_ref=self.tau_ref, dt=self.dt)
        if not self.dt <= self.window <= self.duration:
            raise ValueError(
                f"RDDNet: window must lie between dt = {self.dt} and duration = {self.duration}, got {self.window}"
            )
        count_steps("RDDNet: window", self.window, self.dt)
        if not isinstance(self.memory, Tracer) and not np.all((0 <= self.memory) & (self.memory < 1)):
            raise ValueError(f"RDDNet: memory must be at least 0 and below 1, got {self.memory}")

    def learn(
        self, forward: Chain, biases: Sequence[Array], backward: Chain, key: PRNGKeyArray
    ) -> list[Float[Array, "_neurons _sources"]]:
        up, bias, down = as_arrays((list(forward), list(biases), list(backward)))
        return _estimate(as_arrays(self), up, bias, down, key)

    def _estimate(self, forward: Chain, biases: Sequence[Array], backward: Chain, key: PRNGKeyArray) -> list[Array]:
        finite = all_finite(forward, biases, backward)
        # Neurons that only noise drives do not see each other: all layers are calculated side by side.
        layers = [weight.shape[1] for weight in forward]
        windows = max(1, round(self.duration / (self.window * self.replicas)))
        start = jnp.full((self.replicas, sum(layers)), self.mean, forward[0].dtype)
        start = vary_alike(start, self, key)
        _, observed = lax.scan(lambda drive, key: self._window(drive, key), start, jax.random.split(key, windows))
        cuts = np.cumsum(layers)[:-1]
        drives, counts = (jnp.split(x.reshape(-1, sum(layers)), cuts, axis=1) for x in observed)
        learned = [
            self.memory * old + (1 - self.memory) * causal_effects(drive, count @ weight.T, self.bandwidth)
            for old, weight, drive, count in zip(backward, forward, drives, counts, strict=True)
        ]
        return [jnp.where(finite, weight, jnp.nan) for weight in learned]

    def _window(self, drive: Array, key: PRNGKeyArray) -> tuple[Array, tuple[Array, Array]]:
        """The drive after a window, with its maximum and the number of spikes in it."""
        nothing = jnp.zeros_like(drive)
        keys = jax.random.split(key, round(self.window / self.dt))
        start = _State(drive, nothing, nothing, nothing - jnp.inf, nothing)
        state, _ = lax.scan(lambda state, key: (self._step(state, key), None), start, keys)
        return state.drive, (state.greatest, state.count)

    def _step(self, state: "_State", key: PRNGKeyArray) -> "_State":
        """Exact for drive and membrane, between spikes that fall on steps."""
        decay, lost = jnp.exp(-self.dt / self.tau_m), -jnp.expm1(-2 * self.dt / self.tau_m)
        noise = jax.random.normal(key, state.drive.shape, state.drive.dtype)
        drive = self.mean + (state.drive - self.mean) * decay + self.deviation * jnp.sqrt(lost) * noise
        after, resting = state.after * decay, state.resting - self.dt
        fires = (drive - after >= 1) & (resting < self.dt / 2)
        return _State(
            drive=drive,
            after=jnp.where(fires, drive, after),
            resting=jnp.where(fires, self.tau_ref, resting),
            greatest=jnp.maximum(state.greatest, drive),
            count=state.count + fires,
        )


@eqx.filter_jit
def _estimate(twin: RDDNet, forward: Chain, biases: Sequence[Array], backward: Chain, key: PRNGKeyArray) -> list[Array]:
    return twin._estimate(forward, biases, backward, key)


class _State(eqx.Module):
    drive: Float[Array, "replicas neurons"]
    after: Float[Array, "replicas neurons"]
    """u - v: what the last reset took from the membrane and has not come back."""
    resting: Float[Array, "replicas neurons"]
    """The rest of the refractory period."""
    greatest: Float[Array, "replicas neurons"]
    """Drive in this window so far."""
    count: Float[Array, "replicas neurons"]
    """Spikes in this window so far."""


def causal_effects(
    drive: Float[Array, "windows sources"], response: Float[Array, "windows neurons"], bandwidth: Time
) -> Float[Array, "neurons sources"]:
    """The jump of `response` where `drive` passes 1, by least-squares fits of a line on either side.

    Zero where one side has fewer than two different values of the drive within `bandwidth`.
    """
    z = drive - 1
    near = jnp.abs(z) < bandwidth
    left, found_left = _intercept(z, near & (z < 0))
    right, found_right = _intercept(z, near & (z >= 0))
    return jnp.where((found_left & found_right)[None], response.T @ (right - left), 0)


def _intercept(z: Array, chosen: Array) -> tuple[Float[Array, "windows sources"], Bool[Array, " sources"]]:
    """What each window contributes to the value at z = 0 of a line fitted to those chosen; whether there is one."""
    n, first, second = (jnp.sum(jnp.where(chosen, z**power, 0), axis=0) for power in range(3))
    determinant = n * second - first**2
    found = determinant > 1e-6 * n * second
    weights = jnp.where(chosen, second[None] - first[None] * z, 0) / jnp.where(found, determinant, 1)[None]
    return weights, found
