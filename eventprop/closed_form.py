"""Closed form of a current-based leaky membrane between events.

    tau_mem V' = -V + I + bias,    tau_syn I' = -I

for any ratio of the time constants, without the cancellation of the textbook difference of exponentials.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

_SMALL = 0.25
"""Below it the series is exact to rounding; above it the difference of exponentials loses two bits at most."""


class LinearNeuron(eqx.Module):
    """All parameters of a neuron whose membrane is linear between spikes: what `ClosedForm` neurons tell a solver.

    Where V reaches `threshold` (None: never) it is set to `reset`, and held there for the time `refractory` (None: not
    at all), while I goes on. `once`: for good. Scalars or one value per neuron.
    """

    membrane: "Membrane"
    bias: Float[Array, "..."]
    threshold: Float[Array, "..."] | None = None
    reset: Float[Array, "..."] | None = None
    refractory: Float[Array, "..."] | None = None
    once: bool = eqx.field(static=True, default=False)


class Membrane(eqx.Module):
    """The linear flow of (V - bias, I).

    Time constants are scalars or one per neuron; neurons are the last axis of every argument.
    """

    tau_mem: Float[Array, "..."]
    tau_syn: Float[Array, "..."]

    def align(self, ndim: int) -> "Membrane":
        """The same membrane with leading axes of length one, to meet arguments of `ndim` dimensions."""
        return Membrane(expand(self.tau_mem, ndim), expand(self.tau_syn, ndim))

    def leak(self, t: Array) -> Array:
        """exp(-t / tau_mem): what is left of a membrane potential after `t`."""
        return jnp.exp(-1 / self.tau_mem * t)

    def decay(self, t: Array) -> Array:
        """exp(-t / tau_syn): what is left of a synaptic current after `t`."""
        return jnp.exp(-1 / self.tau_syn * t)

    def select(self, neuron: Int[Array, " selected"] | None) -> "Membrane":
        """Those of some neurons, in this order (None: all of them)."""
        if neuron is None:
            return self
        return jax.tree.map(lambda x: x.at[neuron].get(mode="promise_in_bounds") if x.ndim else x, self)

    def propagator(self, t: Array) -> tuple[Array, Array, Array]:
        """(leak, decay, response) after `t` >= 0: V goes to leak V + response I, and I to decay I."""
        leak, decay = self.leak(t), self.decay(t)
        return leak, decay, self.response(t, leak, decay)

    def response(self, t: Array, leak: Array, decay: Array) -> Array:
        """The membrane potential a time `t` >= 0 after a unit jump of the current (the postsynaptic potential),

            (exp(-t/tau_mem) - exp(-t/tau_syn)) tau_syn / (tau_mem - tau_syn)

        from the two exponentials. It is written with the slower one in front, so that nothing cancels or overflows;
        for equal time constants it is (t/tau) exp(-t/tau). Which one stands in front is no part of the function: both
        ways of writing it are the same smooth one, so derivatives of any order hold on either side and at equality.
        """
        rate_mem, rate_syn = 1 / self.tau_mem, 1 / self.tau_syn
        syn_slower = rate_syn < rate_mem
        difference = jnp.where(syn_slower, rate_mem - rate_syn, rate_syn - rate_mem)
        slow, fast = jnp.where(syn_slower, decay, leak), jnp.where(syn_slower, leak, decay)
        x = difference * t
        near = x < _SMALL
        far = (slow - fast) / jnp.where(near, 1, difference)
        # The series stays finite elsewhere too, for the sake of its derivatives.
        return rate_mem * jnp.where(near, slow * t * _phi_series(jnp.minimum(x, _SMALL)), far)


def expand(parameter: Array, ndim: int) -> Array:
    """Leading axes of length one for a per-neuron parameter; scalars stay scalars."""
    return parameter if parameter.ndim == 0 else parameter.reshape((1,) * (ndim - 1) + (-1,))


def _phi_series(x: Array) -> Array:
    """(1 - exp(-x)) / x = 1 - x/2 (1 - x/3 (1 - x/4 ...)) for 0 <= x < 1/4."""
    terms = 12 if x.dtype == jnp.float64 else 7
    total = jnp.ones_like(x)
    for n in range(terms, 1, -1):
        total = 1 - x * total * (1 / n)
    return total
