"""One population in one trial: everything that its closed-form solution depends on."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from eventprop.closed_form import LinearNeuron, Membrane
from eventprop.loops import vary_alike
from eventprop.solvers.afferents import Afferents


class LayerTrial(eqx.Module):
    """The initial value problem of a population whose input is known.

    Potentials are relative to the bias (v = V - bias). Every time is finite: padding and whatever comes after `end`
    have been moved to `end`, with `present` telling which events count. Times have one column for all neurons or one
    for each. An event adds the row charge[index] to the currents: rows of the transposed weight, since gathering
    columns takes ten times as long. `once`: a spike ends a neuron's trial. `due` (None: nobody): a neuron that starts
    at or above its threshold fires at 0, before any input at that time.
    """

    membrane: Membrane
    threshold: Float[Array, "..."]
    reset: Float[Array, "..."]
    refractory: Float[Array, "..."] | None
    v: Float[Array, " neurons"]
    i: Float[Array, " neurons"]
    hold: Float[Array, " neurons"]
    due: Bool[Array, " neurons"] | None
    charge: Float[Array, "rows neurons"]
    times: Float[Array, "events columns"]
    index: Int[Array, " events"]
    present: Float[Array, "events columns"]
    end: Float[Array, ""]
    once: bool = eqx.field(static=True)

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return self.v.shape[0]

    def charges(self, index: Int[Array, " events"]) -> Float[Array, "events neurons"]:
        """What events with these rows add to the currents."""
        return jnp.take(self.charge, index, axis=0, mode="clip")

    def select(self, neuron: Int[Array, " selected"]) -> "LayerTrial":
        """The same trial of some of the neurons, in this order."""

        def pick(parameter):
            return parameter.at[neuron].get(mode="promise_in_bounds") if parameter.ndim else parameter

        def columns(x):
            return x if x.shape[1] == 1 else x.at[:, neuron].get(mode="promise_in_bounds")

        names = ("membrane", "threshold", "reset", "refractory", "v", "i", "hold", "due")
        picked = {name: jax.tree.map(pick, getattr(self, name)) for name in names}
        charge = self.charge.at[:, neuron].get(mode="promise_in_bounds")
        times, present = columns(self.times), columns(self.present)
        return dataclasses.replace(self, charge=charge, times=times, present=present, **picked)


def layer_trial(
    neuron: LinearNeuron,
    coordinates: tuple[Array, Array, Array],
    afferents: Afferents,
    t1: Array,
    *,
    at_rest: bool,
) -> LayerTrial:
    """Put a population, its coordinates (V, I, time held) at 0 and its input together.

    Inputs at `t1` or later have no effect. A potential above the threshold by more than rounding explains counts as at
    the threshold. `at_rest`: none is near.
    """
    potential, current, held = coordinates
    v, due = potential - neuron.bias, None
    threshold, reset = jnp.asarray(jnp.inf, v.dtype), jnp.asarray(0, v.dtype)
    if neuron.threshold is not None and neuron.reset is not None:
        threshold, reset = neuron.threshold - neuron.bias, neuron.reset - neuron.bias
        if not at_rest:
            # Only the potential itself tells: less the bias it may be rounded across the threshold.
            due = potential >= neuron.threshold
            v = jnp.where(v - threshold > rounding(threshold, reset, neuron.bias), threshold, v)
    end = _finite_end(afferents.times, t1, neuron.membrane)
    present = afferents.times < end
    trial = LayerTrial(
        membrane=neuron.membrane,
        threshold=threshold,
        reset=reset,
        refractory=neuron.refractory,
        v=v,
        i=current,
        hold=held,
        due=due,
        charge=afferents.charge,
        times=jnp.where(present, afferents.times, end),
        index=afferents.index,
        present=present.astype(v.dtype),
        end=end,
        once=neuron.once,
    )
    return vary_alike(trial)


def _finite_end(times: Array, t1: Array, membrane: Membrane) -> Array:
    """`t1`, or where that is infinite a time at which every potential has decayed to zero."""
    last = jnp.max(jnp.where(jnp.isfinite(times), times, 0), initial=0)
    settled = last + 1000 * jnp.maximum(jnp.max(membrane.tau_mem), jnp.max(membrane.tau_syn))
    return jnp.where(jnp.isfinite(t1), t1, lax.stop_gradient(settled))


def rounding(threshold: Array, reset: Array, bias: Array) -> Array:
    """How far from the threshold a potential may be by rounding: half of all digits, since many kernels are summed."""
    return jnp.sqrt(jnp.finfo(threshold.dtype).eps) * (threshold - reset + jnp.abs(bias))
