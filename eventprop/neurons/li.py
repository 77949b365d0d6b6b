"""The leaky integrator: a readout that does not spike."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from eventprop.closed_form import LinearNeuron, Membrane
from eventprop.neurons.base import AbstractNeuron, ClosedForm, Event
from eventprop.neurons.synapses import check_port
from eventprop.parameters import Parameter, all_positive, check_positive, check_same_length, numeric


class LIState(eqx.Module):
    """State of leaky integrators: membrane potential v and synaptic current i."""

    v: Float[Array, " neurons"]
    i: Float[Array, " neurons"]


class LI(AbstractNeuron, ClosedForm):
    """Leaky integrators: the LIF membrane without threshold.

        tau_mem V' = -V + I + bias,    tau_syn I' = -I,    a presynaptic spike: I += w.

    Parameters and errors as for `LIF`.
    """

    tau_mem: Parameter = eqx.field(converter=numeric("tau_mem"))
    tau_syn: Parameter = eqx.field(converter=numeric("tau_syn"))
    bias: Parameter = eqx.field(converter=numeric("bias"), default=0.0)

    def __check_init__(self):
        check_positive("tau_mem", self.tau_mem)
        check_positive("tau_syn", self.tau_syn)
        check_same_length(tau_mem=self.tau_mem, tau_syn=self.tau_syn, bias=self.bias)

    def init(self, neurons: int, dtype: Any = None) -> LIState:
        """All potentials and currents zero."""
        return LIState(jnp.zeros(neurons, dtype), jnp.zeros(neurons, dtype))

    def vector_field(self, t: Any, y: LIState, args: Any) -> LIState:
        """The free dynamics."""
        return LIState((y.i + self.bias - y.v) / self.tau_mem, -y.i / self.tau_syn)

    @property
    def events(self) -> tuple[Event, ...]:
        """None: an integrator only listens."""
        return ()

    def receive(self, y: LIState, port: int, charge: Float[Array, " neurons"]) -> LIState:
        """I += charge (one receptor, port 0)."""
        check_port(port, 1, "LI")
        return LIState(y.v, y.i + charge)

    def voltage(self, y: LIState) -> Float[Array, " neurons"]:
        """V."""
        return y.v

    def valid(self, y: LIState) -> Bool[Array, ""]:
        """Time constants are positive, potentials and currents finite."""
        return all_positive(self.tau_mem, self.tau_syn) & jnp.all(jnp.isfinite(y.v) & jnp.isfinite(y.i))

    def closed_form(self, dtype: Any) -> LinearNeuron:
        """The same numbers in one precision."""
        tau_mem, tau_syn, bias = (jnp.asarray(x, dtype) for x in (self.tau_mem, self.tau_syn, self.bias))
        return LinearNeuron(Membrane(tau_mem, tau_syn), bias)

    def coordinates(self, y: LIState) -> tuple[Array, Array, Array]:
        """V and I; nothing is held."""
        return y.v, y.i, jnp.zeros_like(y.v)

    def from_coordinates(self, v: Array, i: Array, held: Array) -> LIState:
        """V and I."""
        del held
        return LIState(v, i)
