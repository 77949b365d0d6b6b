"""Regression discontinuity design: backward weights from the causal effect of spikes (Guerguiev et al. 2019)."""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from sal.kernels import DoubleExponential
from sal.symmnet import AbstractTwin, Chain, check_counts


class RDDNet(AbstractTwin):
    """A neuron that just reached its threshold differs from one that just did not by its spike alone.

    Leaky integrate-and-fire neurons are driven by noise x (an Ornstein-Uhlenbeck process) and by the layer below, whose
    spikes S leave the traces r = kappa * S, kappa(t) = (exp(-t / tau_m) - exp(-t / tau_s)) / (tau_m - tau_s):

        u = x + I - <I>,    I = tau_m W r,    v as u, but reset to 0 after each spike, which is fired at v >= 1.

    Homeostasis takes the running mean <I> away, and with it the biases. Without it, the neurons of a trained network,
    with strong weights of a sign, would be far from their threshold most of the time, and nothing could be learned
    about their effects.

    Time is cut into windows, at whose beginning v = u, so that neuron j fires in a window if and only if the maximum
    Z_j of its drive u_j reaches 1. R_k is what neuron k above gets in the window, sum_j W_kj times the spikes of j; a
    function of Z_j that is linear on either side of 1 is fitted to it, where |Z_j - 1| < `bandwidth`, and the height of
    its jump is B_kj: an estimate of W_kj, whatever the other neurons do, since at the jump it is one spike that is
    added. It is zero for a neuron that did not come close to the threshold from both sides.

    This is the method, not its authors' protocol: all neurons are driven all the time, and least squares are solved in
    closed form, not by gradient descent. What the backward weights were before has no influence.
    """

    duration: float = 90_000.0
    """Of the stimulation, shared out among the replicas (ms)."""
    replicas: int = 32
    window: float = 20.0
    bandwidth: float = 1.0
    mean: float = 0.4
    """Of the noise x, in units of the threshold."""
    deviation: float = 0.3
    """Standard deviation of the noise x; its correlation time is tau_m."""
    tau_m: float = 10.0
    tau_s: float = 3.0
    tau_ref: float = 10.0
    tau_homeostasis: float = 200.0
    """Time constant of the running mean of a neuron's input, which its threshold follows."""
    dt: float = 1.0

    def __check_init__(self):
        check_counts("RDDNet", replicas=self.replicas)
        if not self.dt <= self.window <= self.duration:
            raise ValueError(
                f"RDDNet: window must lie between dt = {self.dt} and duration = {self.duration}, got {self.window}"
            )

    def learn(
        self, forward: Chain, biases: Sequence[Array], backward: Chain, key: PRNGKeyArray
    ) -> list[Float[Array, "_neurons _sources"]]:
        layers = [forward[0].shape[1], *(weights.shape[0] for weights in forward)]
        rest = jnp.zeros((self.replicas, sum(layers)), forward[0].dtype)
        synapses = self._kernel.init(rest.shape, self.tau_ref).astype(rest.dtype)
        start = _State(rest + self.mean, rest, rest, synapses, rest)
        windows = max(1, round(self.duration / (self.window * self.replicas)))

        def one(state, key):
            return self._window(state, forward, key)

        _, observed = lax.scan(one, start, jax.random.split(key, windows))
        cuts = np.cumsum(layers)[:-1]
        drives, counts = (jnp.split(x.reshape(-1, sum(layers)), cuts, axis=1) for x in observed)
        return [
            causal_effects(drive, count @ weights.T, self.bandwidth)
            for weights, drive, count in zip(forward, drives, counts, strict=False)
        ]

    @property
    def _kernel(self) -> DoubleExponential:
        return DoubleExponential(self.tau_s, self.tau_m, area=1.0)

    def _window(self, state: "_State", forward: Chain, key: PRNGKeyArray) -> tuple["_State", Any]:
        """The state after a window, with the greatest drive and the number of spikes in it."""
        steps = round(self.window / self.dt)
        nothing = jnp.zeros_like(state.noise)
        begin = _State(state.noise, nothing, nothing, state.synapses, state.usual)

        def step(carry, key):
            state, greatest, count = carry
            state, drive, spikes = self._step(state, forward, key)
            return (state, jnp.maximum(greatest, drive), count + spikes), None

        carry = begin, nothing - jnp.inf, nothing
        (state, greatest, count), _ = lax.scan(step, carry, jax.random.split(key, steps))
        return state, (greatest, count)

    def _step(self, state: "_State", forward: Chain, key: PRNGKeyArray) -> tuple["_State", Array, Array]:
        """Exact for the noise, the traces and the membranes, between spikes that fall on steps."""
        decay = math.exp(-self.dt / self.tau_m)
        kick = self.deviation * math.sqrt(1 - decay**2) * jax.random.normal(key, state.noise.shape, state.noise.dtype)
        noise = self.mean + (state.noise - self.mean) * decay + kick
        trace = self._kernel.read(state.synapses, self.dt, self.dt)
        received = self.tau_m * _upwards(forward, trace)
        usual = state.usual + (received - state.usual) * (self.dt / self.tau_homeostasis)
        drive = noise + received - usual
        after, resting = state.after * decay, state.resting - self.dt
        fires = (drive - after >= 1) & (resting < self.dt / 2)
        after = jnp.where(fires, drive, after)
        resting = jnp.where(fires, self.tau_ref, resting)
        spikes = fires.astype(noise.dtype)
        synapses = self._kernel.update(state.synapses, spikes, self.dt)
        return _State(noise, after, resting, synapses, usual), drive, spikes


class _State(eqx.Module):
    noise: Float[Array, "replicas neurons"]
    after: Float[Array, "replicas neurons"]
    """u - v: what the last reset took from the membrane and has not come back."""
    resting: Float[Array, "replicas neurons"]
    """The rest of the refractory period."""
    synapses: Float[Array, "2 replicas neurons"]
    usual: Float[Array, "replicas neurons"]
    """The running mean of the synaptic input."""


def _upwards(forward: Chain, traces: Float[Array, "replicas neurons"]) -> Float[Array, "replicas neurons"]:
    """W r for all layers; the bottom one gets nothing."""
    cuts = np.cumsum([weights.shape[1] for weights in forward])
    parts = jnp.split(traces, cuts, axis=1)[:-1]
    above = [part @ weights.T for part, weights in zip(parts, forward, strict=True)]
    return jnp.concatenate([jnp.zeros_like(parts[0]), *above], axis=1)


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
