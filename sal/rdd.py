"""Regression discontinuity design: backward weights from the causal effect of spikes (Guerguiev et al. 2019)."""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from sal.symmnet import AbstractTwin, Chain, check_counts


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

    duration: float = 90_000.0
    """Of the stimulation of a layer, shared out among the replicas (ms)."""
    replicas: int = 32
    window: float = 20.0
    bandwidth: float = 1.0
    memory: float = 0.7
    mean: float = 0.4
    """Of the drive u, in units of the threshold."""
    deviation: float = 0.3
    """Standard deviation of the drive u."""
    tau_m: float = 10.0
    tau_ref: float = 10.0
    dt: float = 1.0

    def __check_init__(self):
        check_counts("RDDNet", replicas=self.replicas)
        if not self.dt <= self.window <= self.duration:
            raise ValueError(
                f"RDDNet: window must lie between dt = {self.dt} and duration = {self.duration}, got {self.window}"
            )
        if not 0 <= self.memory < 1:
            raise ValueError(f"RDDNet: memory must be at least 0 and below 1, got {self.memory}")

    def learn(
        self, forward: Chain, biases: Sequence[Array], backward: Chain, key: PRNGKeyArray
    ) -> list[Float[Array, "_neurons _sources"]]:
        # Neurons that only noise drives do not see each other: all layers are calculated side by side.
        layers = [weights.shape[1] for weights in forward]
        windows = max(1, round(self.duration / (self.window * self.replicas)))
        start = jnp.full((self.replicas, sum(layers)), self.mean, forward[0].dtype)
        _, observed = lax.scan(self._window, start, jax.random.split(key, windows))
        cuts = np.cumsum(layers)[:-1]
        drives, counts = (jnp.split(x.reshape(-1, sum(layers)), cuts, axis=1) for x in observed)
        return [
            self.memory * old + (1 - self.memory) * causal_effects(drive, count @ weights.T, self.bandwidth)
            for old, weights, drive, count in zip(backward, forward, drives, counts, strict=True)
        ]

    def _window(self, drive: Array, key: PRNGKeyArray) -> tuple[Array, tuple[Array, Array]]:
        """The drive after a window, with its maximum and the number of spikes in it."""
        nothing = jnp.zeros_like(drive)
        keys = jax.random.split(key, round(self.window / self.dt))
        start = _State(drive, nothing, nothing, nothing - jnp.inf, nothing)
        state, _ = lax.scan(lambda state, key: (self._step(state, key), None), start, keys)
        return state.drive, (state.greatest, state.count)

    def _step(self, state: "_State", key: PRNGKeyArray) -> "_State":
        """Exact for drive and membrane, between spikes that fall on steps."""
        decay = math.exp(-self.dt / self.tau_m)
        noise = jax.random.normal(key, state.drive.shape, state.drive.dtype)
        drive = self.mean + (state.drive - self.mean) * decay + self.deviation * math.sqrt(1 - decay**2) * noise
        after, resting = state.after * decay, state.resting - self.dt
        fires = (drive - after >= 1) & (resting < self.dt / 2)
        return _State(
            drive=drive,
            after=jnp.where(fires, drive, after),
            resting=jnp.where(fires, self.tau_ref, resting),
            greatest=jnp.maximum(state.greatest, drive),
            count=state.count + fires,
        )


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
    drive: Float[Array, "windows sources"], response: Float[Array, "windows neurons"], bandwidth: float
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
