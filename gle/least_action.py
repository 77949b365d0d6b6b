"""Neuronal least action (Senn et al. 2023): neurons that keep the energy stationary whatever the input does."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Num

from gle.activations import as_activation
from gle.arrays import as_float, as_number
from gle.connections import over_batch
from gle.results import raise_if
from gle.system import AbstractSystem, Drive

Rates = Float[Array, "... _"]


class LeastActionSignals(NamedTuple):
    """Of a moment: u', the outputs' u, all rates, the mismatch errors u - W r - W_in x - b, and what they come from."""

    derivative: Rates
    output: Rates
    rate: tuple[Rates]
    error: Rates
    input: Rates
    target: Rates | None = None


class LeastAction(AbstractSystem):
    """One population of neurons, recurrent or in layers, that follows (1 + tau d/dt) dE/du = 0:

        E(u) = 1/2 |u - W rho(u) - W_in x - b|^2 + 1/2 sum_o beta_o (target_o - u_o)^2
        u' = -H^-1 (dE/du / tau + d/dt dE/du at constant u),    H the Hessian of E in u

    so |dE/du| decays as exp(-t/tau) whatever the input does: neurons look ahead, and in between E stays at its minimum.
    It is the same as tau u' = -u + W r + e with r = rho + tau rho', e = ebar + tau ebar',
    ebar = rho'(u) * W^T ebar, and beta (target - u) more at the outputs.

        W' = (u - W rho - W_in x - b) rho^T,    W_in' likewise with x^T

    - `weight`: W [neurons, neurons]; `input_weight`: W_in [neurons, inputs]; `bias`: [neurons];
    - the outputs are the last neurons, `beta` one number for each of them [targets]; 0 leaves an output free;
    - `mask`: which entries of W exist and learn, such as those of layers; None: all.

    A stream holds values and slopes side by side: inputs [x, x'], targets likewise (`with_slopes`).
    `vector_field` takes the slopes from the functions of time themselves.

    Where H is not positive definite, as with strong weights far from the minimum, there is no solution: `signals`
    raise, or with throw=False are NaN. Raises ValueError for shapes that do not fit.
    """

    weight: Float[Array, "neurons neurons"]
    input_weight: Float[Array, "neurons inputs"]
    bias: Float[Array, " neurons"]
    activation: Callable[[Array], Array]
    tau: Float[Array, ""]
    beta: Float[Array, " targets"]
    mask: Bool[Array, "neurons neurons"] | None

    def __init__(
        self,
        weight: ArrayLike,
        input_weight: ArrayLike,
        activation: Callable[[Array], Array],
        *,
        tau: ArrayLike,
        beta: ArrayLike | Sequence[float],
        bias: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ):
        self.weight, self.input_weight = as_float("weight", weight), as_float("input_weight", input_weight)
        neurons = len(self.weight)
        self.bias = jnp.zeros(neurons, self.weight.dtype) if bias is None else as_float("bias", bias)
        self.tau = jnp.asarray(as_number("tau", tau), self.weight.dtype)
        self.beta = jnp.asarray(as_float("beta", beta), self.weight.dtype)
        self.mask = None if mask is None else jnp.asarray(mask, bool)
        shapes = {
            "weight": (self.weight, (neurons, neurons)),
            "input_weight": (self.input_weight, (neurons, self.input_weight.shape[-1])),
            "bias": (self.bias, (neurons,)),
            "mask": (self.weight if self.mask is None else self.mask, (neurons, neurons)),
        }
        for name, (found, wanted) in shapes.items():
            if found.shape != wanted:
                raise ValueError(f"{name} must be of shape {wanted}, as weight has it, but is of {found.shape}.")
        if self.beta.ndim != 1 or not 0 < len(self.beta) <= neurons:
            raise ValueError(f"beta must be [targets], one for each output, but has shape {self.beta.shape}.")
        self.activation = as_activation(activation, neurons)

    @property
    def sources(self) -> int:
        """Inputs and their slopes."""
        return 2 * self.input_weight.shape[1]

    @property
    def outputs(self) -> int:
        """Targets and their slopes."""
        return 2 * len(self.beta)

    @property
    def implicit(self) -> bool:
        """H u' is solved for u'."""
        return True

    def init(self, batch: tuple[int, ...] = (), dtype: Any = None) -> Rates:
        """All potentials zero."""
        return jnp.zeros((*batch, len(self.weight)), self.weight.dtype if dtype is None else dtype)

    def time_constants(self) -> tuple[Array]:
        """tau, with which dE/du decays."""
        return (self.tau,)

    def mismatch(self, u: Rates, x: Rates) -> Rates:
        """u - W rho(u) - W_in x - b."""
        weight = self.weight if self.mask is None else jnp.where(self.mask, self.weight, 0)
        drive = self.activation(u) @ weight.T + x @ self.input_weight.T
        return u - drive - over_batch(self.bias, u)

    def energy(self, u: Rates, x: Rates, target: Rates | None = None) -> Float[Array, "*batch"]:
        """E(u) of each sample, x and target without their slopes."""
        total = 0.5 * jnp.sum(self.mismatch(u, x) ** 2, axis=-1)
        if target is None:
            return total
        lack = target - u[..., -len(self.beta) :]
        return total + 0.5 * jnp.sum(over_batch(self.beta, lack) * lack**2, axis=-1)

    def signals(
        self, state: Rates, input: Rates, target: Rates | None = None, *, throw: bool = True
    ) -> LeastActionSignals:
        """Everything at this moment."""
        now, slope = jnp.split(input, 2, axis=-1)
        wanted, wanted_slope = (None, None) if target is None else jnp.split(target, 2, axis=-1)
        force = jax.grad(lambda u, x, target: jnp.sum(self.energy(u, x, target)))
        moving = lambda x, target: force(state, x, target)  # noqa: E731
        steepness, change = jax.jvp(moving, (now, wanted), (slope, wanted_slope))

        def velocity(u, x, target, right):
            hessian = jax.hessian(self.energy)(u, x, target)
            return -jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(hessian), right)

        for _ in state.shape[:-1]:
            velocity = jax.vmap(velocity)
        derivative = velocity(state, now, wanted, steepness / self.tau + change)
        if throw:
            derivative = raise_if(derivative, jnp.any(jnp.isnan(derivative)), _NOT_CONVEX)
        rate = self.activation(state)
        output = state[..., -len(self.beta) :]
        return LeastActionSignals(derivative, output, (rate,), self.mismatch(state, now), now, wanted)

    def vector_field(self, t: Any, state: Rates, args: Drive) -> Rates:
        """u', with the slopes of input and target at t by their derivatives."""

        def with_slope(function):
            return jnp.concatenate(jax.jvp(function, (t,), (jnp.ones_like(t),)), axis=-1)

        target = None if args.target is None else with_slope(args.target)
        return self.signals(state, with_slope(args.input), target).derivative

    def plasticity(self, signals: LeastActionSignals) -> "LeastAction":
        """dE/dW, dE/dW_in and dE/db, where the mask has synapses."""
        error, rate, x = (y.reshape(-1, y.shape[-1]) for y in (signals.error, signals.rate[0], signals.input))
        zeros = jax.tree.map(jnp.zeros_like, eqx.filter(self, eqx.is_inexact_array))
        weight = -error.T @ rate / len(error)
        if self.mask is not None:
            weight = jnp.where(self.mask, weight, 0)
        gradients = (weight, -error.T @ x / len(error), -jnp.mean(error, axis=0))
        return eqx.tree_at(lambda s: (s.weight, s.input_weight, s.bias), zeros, gradients)

    def loss(self, signals: LeastActionSignals) -> Float[Array, ""]:
        """1/2 sum (target - u)^2 of the outputs with beta > 0, averaged over the batch; zero without a target."""
        if signals.target is None:
            return jnp.zeros((), signals.output.dtype)
        lack = (signals.target - signals.output) ** 2
        return jnp.mean(0.5 * jnp.sum(jnp.where(over_batch(self.beta, lack) > 0, lack, 0), axis=-1))


_NOT_CONVEX = (
    "The energy of the least-action network is not convex here: its Hessian is not positive definite. Lower the "
    "weights, or start nearer to the minimum (gle.settle)."
)


def with_slopes(
    stream: Num[Array | np.ndarray, "time *batch channels"], dt: ArrayLike
) -> Float[Array, "time *batch both"]:
    """A stream and its slopes to the next step side by side, as `LeastAction` takes them; the last slope is zero."""
    stream = as_float("stream", stream)
    later = jnp.concatenate([stream[1:], stream[-1:]])
    return jnp.concatenate([stream, (later - stream) / dt], axis=-1)
