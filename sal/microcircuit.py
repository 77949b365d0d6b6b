"""The spiking dendritic microcircuit (Gierlich et al., section 4.4)."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from sal._numbers import as_float, as_parameter, as_static, check_positive
from sal.escape import AbstractEscape, LogisticEscape
from sal.kernels import Time
from sal.network import AbstractNetwork
from sal.spikes import Raster
from sal.state import Clamp, Snapshot, State, count_steps

STEEPEST = 1 / 4
"""The largest derivative of a neuron's activity sigma(u) by its potential."""


class Compartments(NamedTuple):
    """What a step of a `Microcircuit` shows beside its somatic potentials (`Snapshot.compartments`)."""

    basal: Float[Array, " upper"]
    """v_bas of all pyramidal cells above the inputs."""
    apical: Float[Array, " hidden"]
    """v_api of those in hidden layers."""
    error: Float[Array, " upper"]
    """phi(<u>) - phi(b + lambda_bas <v_bas>), spikes per unit of time: the bracket of Eq. 37."""


class Memory(NamedTuple):
    """What the cells above the inputs were driven by of late, for moving averages."""

    recent: Float[Array, "steps 2 upper"]
    """v_bas, and u - b - lambda_bas v_bas: what comes from the apical dendrite, or from the target."""
    sums: Float[Array, "2 upper"]


class Microcircuit(AbstractNetwork):
    """Layers of pyramidal cells with dendrites, and interneurons that predict the layer above (Eqs. 34-37, Fig. 6).

        u_l^P = b_l + lambda_bas v_l^bas + lambda_api v_l^api                                            (Eq. 34)
        v_l^bas = W_{l,l-1} z_{l-1},      v_l^api = B_{l,l+1} z_{l+1} + L_l^PI z_l^I
        u_l^I = b_{l+1} + lambda_den L_l^IP z_l^P                                                        (Eq. 35)
        u_L = b_L + lambda_bas v_L^bas + lambda_nudge (u_target - b_L - lambda_bas <v_L^bas>)            (Eq. 36)

    z are rectangular PSPs of `tau_ref` after each spike, <.> moving averages over the last `average`, the present step
    among them. The lateral weights are those of the self-predicting state at any time, L^IP = (lambda_bas / lambda_den)
    W_{l+1,l} and L^PI = -B_{l,l+1} (so that lambda_den drops out): without a target v_api is zero in the mean, with one
    it is the error that backpropagation with B for W^T would send. All cells are updated at once (as by `Parallel`).

    - `forward`: W_{l,l-1} of layer l = 1, ..., L, [layer l, layer l - 1].
    - `backward`: what stands for the transposes of `forward[1:]`, kept in their shapes (as in `Layered`).
    - `bias`: b_1, ..., b_L, numbers or [layer l]. The inputs, layer 0, get their potentials as `drive`.
    - `average`: decides numbers of steps, as `tau_ref` does: plain numbers.
    - `target`: u_target of the top layer [layer L]; None where nothing teaches.
    - `lateral`: the strength of both lateral weights, 1 for the self-predicting state.

    Cells are numbered from layer 0 up to layer L, then come the interneurons of layers 1, ..., L - 1 (`split`).

    Raises `ValueError` for weights and biases whose shapes do not fit, for a lambda that is known to be negative, a
    lambda_nudge known to be above 1 (it would overshoot the target), and for weights that are known to make the
    circuit unstable: where lambda_api |B| lambda_bas |W| / 16 reaches 1, with spectral norms, two layers may hold each
    other active for ever.
    """

    forward: tuple[Float[Array, "_above _below"], ...]
    backward: tuple[Float[Array, "_above _below"], ...]
    bias: tuple[Float[Array, " _layer"], ...]
    tau_ref: float = eqx.field(static=True)
    average: float = eqx.field(static=True)
    target: Float[Array, " top"] | None
    basal: Time
    apical: Time
    nudge: Time
    lateral: Time
    escape: AbstractEscape

    def __init__(
        self,
        forward: Sequence[ArrayLike | Sequence],
        backward: Sequence[ArrayLike | Sequence],
        bias: Sequence[ArrayLike | Sequence],
        tau_ref: Time | int = 10.0,
        *,
        average: Time | int = 2000.0,
        target: ArrayLike | Sequence | None = None,
        basal: Time = 1.0,
        apical: Time = 0.02,
        nudge: Time = 0.6,
        lateral: Time = 1.0,
        escape: AbstractEscape = LogisticEscape(),
    ):
        self.forward = tuple(as_float(f"Microcircuit: forward[{i}]", w) for i, w in enumerate(forward))
        self.backward = tuple(as_float(f"Microcircuit: backward[{i}]", w) for i, w in enumerate(backward))
        _check_layers([np.shape(w) for w in self.forward], [np.shape(w) for w in self.backward], len(bias))
        self.bias = tuple(_spread(i, b, len(w)) for i, (b, w) in enumerate(zip(bias, self.forward, strict=True)))
        self.target = None if target is None else as_float("Microcircuit: target", target)
        if self.target is not None and self.target.shape != (self.layers[-1],):
            raise ValueError(
                f"Microcircuit: target must have one entry per cell of the top layer, the shape ({self.layers[-1]},), "
                f"got {self.target.shape}"
            )
        self.tau_ref, self.average = (
            as_static(f"Microcircuit: {name}", x) for name, x in (("tau_ref", tau_ref), ("average", average))
        )
        check_positive("Microcircuit", tau_ref=self.tau_ref, average=self.average)
        self.basal, self.apical, self.nudge, self.lateral = (
            as_parameter(f"Microcircuit: {name}", x)
            for name, x in (("basal", basal), ("apical", apical), ("nudge", nudge), ("lateral", lateral))
        )
        self.escape = escape
        _check_strengths(self)

    @property
    def layers(self) -> tuple[int, ...]:
        """The number of pyramidal cells per layer, from the inputs."""
        return (self.forward[0].shape[1], *(len(w) for w in self.forward))

    @property
    def neurons(self) -> int:
        return sum(self.layers) + sum(self.layers[2:])

    def split(self, x: Array) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Values of all cells, [..., neurons]: of the pyramidal cells and of the interneurons, layer by layer."""
        parts = jnp.split(x, np.cumsum((*self.layers, *self.layers[2:]))[:-1], axis=-1)
        return tuple(parts[: len(self.layers)]), tuple(parts[len(self.layers) :])

    def aligning(self) -> "Microcircuit":
        """The same circuit while SAL acts: lambda_api = 1, no lateral synapses, no target."""
        return eqx.tree_at(
            lambda n: (n.apical, n.lateral, n.target), self, (1.0, 0.0, None), is_leaf=lambda x: x is None
        )

    def init(self, dt: float | None = None) -> State:
        """Silence, for steps of `dt`, without which the length of the averages is not known.

        Raises `ValueError` if `dt` is None.
        """
        if dt is None:
            raise ValueError("Microcircuit.init: dt must be given, it decides how many steps the averages remember")
        steps, upper = count_steps("average", self.average, dt), sum(self.layers[1:])
        zeros = jnp.zeros((steps, 2, upper), self.forward[0].dtype)
        return State.silent(self.neurons, Memory(zeros, jnp.zeros_like(zeros[0])), dt)

    def step(
        self, state: State, drive: Float[Array, " neurons"] | float, clamp: Clamp | None, dt: float, key: PRNGKeyArray
    ) -> tuple[State, Snapshot]:
        z = state.refractory(self.tau_ref, dt).astype(self.forward[0].dtype)
        cells, inter = self.split(z)
        basal = [w @ below for w, below in zip(self.forward, cells[:-1], strict=True)]
        apical = [
            b.T @ (above - self.lateral * predicted)
            for b, above, predicted in zip(self.backward, cells[2:], inter, strict=True)
        ]
        steps = count_steps("average", self.average, dt)
        slot, count = state.step % steps, jnp.minimum(state.step + 1, steps).astype(z.dtype)
        recent, sums = state.trace
        sums = sums - recent[slot]
        flat, rest = jnp.concatenate(basal), jnp.concatenate(self.bias)
        mean_basal = (sums[0] + flat) / count
        taught = jnp.concatenate([*(self.apical * v for v in apical), self._nudged(mean_basal)])
        now = jnp.stack([flat, taught])
        memory = Memory(recent.at[slot].set(now), sums + now)
        mean_taught = memory.sums[1] / count
        soma = rest + self.basal * flat + taught
        predictions = [b + self.lateral * self.basal * v for b, v in zip(self.bias[1:], basal[1:], strict=True)]
        potential = jnp.concatenate([jnp.zeros_like(cells[0]), soma, *predictions]) + drive

        spikes = state.draw(self.escape.probability(potential, self.tau_ref, dt), self.tau_ref, dt, clamp, key)
        later = state.after(spikes, memory)
        ready = state.ready(self.tau_ref, dt)
        saturated = ready & (self.escape.probability(potential, self.tau_ref, dt) > 1)
        predicted = rest + self.basal * mean_basal
        phi = [self.escape.probability(u, self.tau_ref, dt) / dt for u in (predicted + mean_taught, predicted)]
        shown = Compartments(flat, jnp.concatenate([*apical, flat[:0]]), phi[0] - phi[1])
        return later, Snapshot(spikes, later.refractory(self.tau_ref, dt), potential, saturated, shown)

    def _nudged(self, mean_basal: Array) -> Array:
        top = self.layers[-1]
        if self.target is None:
            return jnp.zeros_like(mean_basal[-top:])
        return self.nudge * (self.target - self.bias[-1] - self.basal * mean_basal[-top:])

    def plasticity(self, spikes: Raster, error: Float[Array, "time *replicas upper"]) -> "Microcircuit":
        """What a run taught the forward weights, as gradients to descend, in the structure of the circuit's arrays.

            Delta W = eta sum_t [phi(<u>) - phi(b + lambda_bas <v_bas>)] S_pre(t),   here -Delta W / eta      (Eq. 37)

        S_pre is 1 in the step of a spike. `error` is `compartments.error` of each step (`simulate(observe=...)`); sums
        are averaged over replicas. phi is the circuit's escape rate: `LogisticEscape`, as in the authors' code, or
        `ExponentialEscape`, as in the paper. All other gradients are zero.
        """
        cells, _ = self.split(spikes.spikes)
        errors = jnp.split(error, np.cumsum(self.layers[1:])[:-1], axis=-1)
        replicas = max(1, int(np.prod(error.shape[1:-1])))
        slopes = tuple(-jnp.einsum("...i,...j->ij", e, s) / replicas for e, s in zip(errors, cells[:-1], strict=True))
        zeros = jax.tree.map(jnp.zeros_like, eqx.filter(self, eqx.is_inexact_array))
        return eqx.tree_at(lambda n: n.forward, zeros, slopes)

    def signals(self, spikes: Raster) -> dict[str, Any]:
        """At forward and backward weights, as in `Layered`: `sal.align(transposed=True)` learns the latter."""
        cells = [Raster(part, spikes.dt) for part in self.split(spikes.spikes)[0]]
        nothing = jax.tree.map(lambda _: None, eqx.filter(self, eqx.is_inexact_array))

        def place(parts: Sequence[Raster]) -> Any:
            return eqx.tree_at(
                lambda n: (n.forward, n.backward),
                nothing,
                (tuple(parts), tuple(parts[1:])),
                is_leaf=lambda x: x is None,
            )

        return {"pre": place(cells[:-1]), "post": place(cells[1:])}


def _spread(layer: int, bias: Any, cells: int) -> Array:
    bias = as_float(f"Microcircuit: bias[{layer}]", bias)
    if bias.shape not in ((), (cells,)):
        raise ValueError(
            f"Microcircuit: bias[{layer}] must be a number or have the shape ({cells},) of its layer, got {bias.shape}"
        )
    return jnp.broadcast_to(bias, (cells,))


def _check_layers(forward: list[tuple[int, ...]], backward: list[tuple[int, ...]], biases: int) -> None:
    if len(forward) < 2 or any(len(shape) != 2 or 0 in shape for shape in forward):
        raise ValueError(
            "Microcircuit: forward must hold at least two weights [above, below], so that there is a hidden layer, "
            f"got the shapes {forward}"
        )
    for lower, upper in itertools.pairwise(forward):
        if upper[1] != lower[0]:
            raise ValueError(f"Microcircuit: forward weights of shape {upper} cannot follow those of shape {lower}")
    if backward != forward[1:]:
        raise ValueError(
            "Microcircuit: backward must hold weights in the shapes of all forward weights but the first, "
            f"{forward[1:]}, got {backward}"
        )
    if biases != len(forward):
        raise ValueError(f"Microcircuit: bias must hold one entry per forward weight, {len(forward)}, got {biases}")


def _check_strengths(circuit: Microcircuit) -> None:
    for name in ("basal", "apical", "nudge", "lateral"):
        value = getattr(circuit, name)
        if not isinstance(value, Tracer) and not np.all(np.asarray(value) >= 0):
            raise ValueError(f"Microcircuit: {name} must not be negative, got {value}: the circuit would learn upwards")
    if not isinstance(circuit.nudge, Tracer) and np.any(np.asarray(circuit.nudge) > 1):
        raise ValueError(f"Microcircuit: nudge must be at most 1, got {circuit.nudge}: it would overshoot the target")
    known = (*circuit.forward, *circuit.backward, circuit.basal, circuit.apical)
    if any(isinstance(x, Tracer) for x in known):
        return
    strength = np.asarray(circuit.basal) * np.asarray(circuit.apical) * STEEPEST**2
    for layer, (w, b) in enumerate(zip(circuit.forward[1:], circuit.backward, strict=True), 1):
        gain = np.max(strength) * np.linalg.norm(np.asarray(w), 2) * np.linalg.norm(np.asarray(b), 2)
        if not gain < 1:
            raise ValueError(
                f"Microcircuit: layers {layer} and {layer + 1} are unstable, their loop has a gain of up to {gain:.3g} "
                "(lambda_api |B| lambda_bas |W| / 16), which must be below 1; lower apical or the weights"
            )
