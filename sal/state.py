"""What every network of stochastic neurons carries from step to step, and what a step shows."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from sal._numbers import Clock, as_static
from sal.kernels import NEVER, Time


class Clamp(eqx.Module):
    """Neurons held in a state: where `neurons` is True they are refractory (z = 1) or silent (z = 0) as `z` says.

    A neuron held at 1 fires after every refractory period. Use `jax.vmap` for a batch of patterns.

    Raises `ValueError` for `neurons` that are no bools (numbers of neurons, say), for a `z` that is known to be
    neither 0 nor 1, and for shapes that differ.
    """

    neurons: Bool[Array, "*patterns neurons"] = eqx.field(converter=jnp.asarray)
    z: Bool[Array, "*patterns neurons"] = eqx.field(converter=lambda z: _as_states(z))

    def __check_init__(self):
        if self.neurons.dtype != bool:
            raise ValueError(
                f"Clamp: neurons must be bools, one per neuron, got {self.neurons.dtype}; for the neurons with the "
                "numbers `held` use jnp.zeros(n, bool).at[held].set(True)"
            )
        if self.neurons.shape != self.z.shape:
            raise ValueError(
                f"Clamp: neurons and z must have the same shape, got {self.neurons.shape} and {self.z.shape}"
            )


def _as_states(z: Any) -> Bool[Array, "*patterns neurons"]:
    if not isinstance(z, Tracer) and not np.all(np.isin(z, (0, 1))):
        raise ValueError(f"Clamp: z must be 0 or 1, the states in which neurons are held, got {z}")
    return jnp.asarray(z).astype(bool)


class State(eqx.Module):
    """What a network carries from step to step."""

    age: Int[Array, " neurons"]
    """Steps since the last spike."""
    trace: PyTree
    """Whatever else the network remembers."""
    step: Int[Array, ""]
    """How many steps lie behind; with the key it names the random numbers of the next one."""
    clock: Clock
    """The time step in which the state counts."""

    @staticmethod
    def silent(neurons: int, trace: PyTree = (), dt: float | None = None) -> "State":
        """Of neurons that have never spiked, with whatever else is remembered in `trace`, any pytree of arrays.

        With `dt` it is one for steps of `dt`, known while a program is traced. Else the first simulation decides.
        """
        return State(jnp.full((neurons,), NEVER, jnp.int32), trace, jnp.int32(0), Clock.new(dt))

    def refractory(self, tau_ref: float, dt: float) -> Bool[Array, " neurons"]:
        """z: True from the step of a spike on, for tau_ref."""
        return self.age < count_steps("tau_ref", tau_ref, dt)

    def draw(
        self, chance: Float[Array, " neurons"], tau_ref: float, dt: float, clamp: Clamp | None, key: PRNGKeyArray
    ) -> Bool[Array, " neurons"]:
        """Spikes: each neuron whose last one is at least tau_ref ago fires with its `chance`, or as clamped."""
        noise = jax.random.uniform(key, chance.shape, chance.dtype)
        return fires(chance, self.ready(tau_ref, dt), noise, clamp)

    def ready(self, tau_ref: float, dt: float) -> Bool[Array, " neurons"]:
        """Who may fire in the next step: those whose last spike will be tau_ref ago."""
        return self.age >= count_steps("tau_ref", tau_ref, dt) - 1

    def after(self, spikes: Bool[Array, " neurons"], trace: PyTree = ()) -> "State":
        """The state one step later, with these spikes and whatever else is remembered by then."""
        age = jnp.where(spikes, 0, jnp.minimum(self.age + 1, NEVER))
        return State(age, trace, self.step + 1, self.clock)


class Snapshot(eqx.Module):
    """One step of a network, as `observe` sees it."""

    spikes: Bool[Array, " neurons"]
    z: Bool[Array, " neurons"]
    """True while refractory: from the step of a spike on, for tau_ref."""
    potential: Float[Array, " neurons"]
    """u, as it was when the neuron was updated."""
    saturated: Bool[Array, " neurons"] | None = None
    """Who was to fire with a probability above 1; None where that cannot be."""
    compartments: PyTree = None
    """Potentials elsewhere than at the soma, and what else a network shows."""


def fires(
    chance: Float[Array, " block"], ready: Bool[Array, " block"], noise: Float[Array, " block"], clamp: Clamp | None
) -> Bool[Array, " block"]:
    """Who fires, given uniform `noise`; `clamp` is that of these neurons."""
    if clamp is not None:
        chance = jnp.where(clamp.neurons, clamp.z.astype(chance.dtype), chance)
    return ready & (noise < chance)


def count_steps(name: str, time: Time | int, dt: Time | int) -> int:
    """How many steps `time` is."""
    time, dt = as_static(name, time), as_static("dt", dt)
    if not dt > 0:
        raise ValueError(f"dt must be positive, got {dt}")
    steps = round(time / dt)
    if steps < 1 or not math.isclose(steps * dt, time, rel_tol=1e-6):
        raise ValueError(f"{name} must be a positive multiple of dt = {dt}, got {time}; change one of them")
    return steps
