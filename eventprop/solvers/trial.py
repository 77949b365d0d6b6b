"""One layer in one trial: everything that its closed-form solution depends on."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from eventprop.closed_form import Membrane
from eventprop.loops import vary_alike
from eventprop.network import Dense
from eventprop.neurons.li import LI, LIState
from eventprop.neurons.lif import LIF, FiresOnce, LIFState
from eventprop.solvers.weight_rows import rows


class LayerTrial(eqx.Module):
    """The initial value problem of one layer of LIF or LI neurons.

    Potentials are relative to the bias (v = V - bias). Every time is finite: padding and whatever comes after `end`
    have been moved to `end`, with `present` telling which events count. A spike of source i adds the row charge[i] to
    the currents: rows of the transposed weight, since gathering columns takes ten times as long. `once`: a spike ends a
    neuron's trial. `due` (None: nobody): a neuron that starts at or above its threshold fires at 0, before any
    input at that time. Times may have a column for each neuron, or one for all, where free states are asked for; the
    search knows one axis for the layer.
    """

    membrane: Membrane
    threshold: Float[Array, "..."]
    reset: Float[Array, "..."]
    refractory: Float[Array, "..."] | None
    v: Float[Array, " neurons"]
    i: Float[Array, " neurons"]
    hold: Float[Array, " neurons"]
    due: Bool[Array, " neurons"] | None
    charge: Float[Array, "sources neurons"]
    times: Float[Array, " events"] | Float[Array, "events columns"]
    index: Int[Array, " events"]
    present: Float[Array, " events"] | Float[Array, "events columns"]
    end: Float[Array, ""]
    once: bool = eqx.field(static=True)

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return self.v.shape[0]

    def charges(self, index: Int[Array, " events"]) -> Float[Array, "events neurons"]:
        """What a spike of each of these sources adds to the currents."""
        return jnp.take(self.charge, index, axis=0, mode="clip")

    def select(self, neuron: Int[Array, " selected"]) -> "LayerTrial":
        """The same trial of some of the neurons, in this order."""

        def pick(parameter):
            return parameter.at[neuron].get(mode="promise_in_bounds") if parameter.ndim else parameter

        names = ("membrane", "threshold", "reset", "refractory", "v", "i", "hold", "due")
        picked = {name: jax.tree.map(pick, getattr(self, name)) for name in names}

        def columns(x):
            return x.at[:, neuron].get(mode="promise_in_bounds") if x.ndim == 2 and x.shape[1] > 1 else x

        charge = self.charge.at[:, neuron].get(mode="promise_in_bounds")
        times, present = columns(self.times), columns(self.present)
        return dataclasses.replace(self, charge=charge, times=times, present=present, **picked)


def layer_trial(
    connection: Dense,
    neuron: LIF | LI,
    state: LIFState | LIState,
    times: Array,
    index: Array,
    t1: Array,
    *,
    at_rest: bool,
) -> LayerTrial:
    """Put a layer, its state at time 0 and its input together. Inputs at `t1` or later have no effect.

    A potential above the threshold by more than rounding explains counts as at the threshold. `at_rest`: none is near.
    """
    dtype = times.dtype
    membrane = Membrane(jnp.asarray(neuron.tau_mem, dtype), jnp.asarray(neuron.tau_syn, dtype))
    bias = jnp.asarray(neuron.bias, dtype)
    end = _finite_end(times, t1, membrane)
    present = times < end
    v, due = state.v - bias, None
    if isinstance(neuron, LIF):
        threshold = jnp.asarray(neuron.threshold, dtype)
        reset = neuron.reset(threshold, threshold) - bias
        refractory = None if neuron.refractory is None else jnp.asarray(neuron.period, dtype)
        if not at_rest:
            # Only the potential itself tells: less the bias it may be rounded across the threshold.
            due = state.v >= threshold
            above = v - (threshold - bias)
            v = jnp.where(above > rounding(threshold - bias, reset, bias), threshold - bias, v)
        threshold = threshold - bias
    else:
        threshold, reset, refractory = jnp.asarray(jnp.inf, dtype), jnp.asarray(0, dtype), None
    trial = LayerTrial(
        membrane=membrane,
        threshold=threshold,
        reset=reset,
        refractory=refractory,
        v=v,
        i=state.i,
        hold=state.refractory if isinstance(state, LIFState) else jnp.zeros_like(state.v),
        due=due,
        charge=rows(connection.weight),
        times=jnp.where(present, times, end),
        index=index,
        present=present.astype(dtype),
        end=end,
        once=isinstance(neuron, LIF) and isinstance(neuron.refractory, FiresOnce),
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
