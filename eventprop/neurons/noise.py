"""White noise on the membranes of any neuron."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from eventprop.neurons.base import AbstractNeuron, Event, Stochastic
from eventprop.parameters import Parameter, check_not_negative, check_type, is_concrete, numeric


class Diffusive(eqx.Module):
    """What neurons offer on top that are driven by white noise: dy = f dt + diffusion dW, value by value."""

    @abc.abstractmethod
    def diffusion(self, t: Any, y: Any, args: Any) -> Any:
        """The amplitude of the noise for each value of the state; None for arrays of it that have none."""


class Noise(AbstractNeuron, Stochastic, Diffusive):
    """Any neuron with white noise on its membrane: dV = (...) dt + scale dW.

    `voltage` has to be one of the arrays of the state. A membrane that is held (a state with a `held` of 1, the
    refractory period) feels none. The free membrane of a LIF neuron is an Ornstein-Uhlenbeck process with the variance
    scale^2 tau_mem / 2. `Grid` draws one normal number per step and neuron from the key of the trial; no other solver
    takes noise. On CPU JAX's default keys ("threefry2x32") draw faster than those of "rbg" and "unsafe_rbg".

    neuron: whatever has a membrane potential. scale: in the unit of V per square root of that of time.

    Raises ValueError for a negative scale, and in a simulation for a potential that is computed from the state.
    """

    neuron: AbstractNeuron
    scale: Parameter = eqx.field(converter=numeric("scale"))

    def __check_init__(self):
        check_type("neuron", self.neuron, AbstractNeuron)
        if is_concrete(self.scale):
            check_not_negative("scale", self.scale)

    def init(self, neurons: int, dtype: Any = None) -> Any:
        """That of the neuron."""
        return self.neuron.init(neurons, dtype)

    def vector_field(self, t: Any, y: Any, args: Any) -> Any:
        """That of the neuron, the drift."""
        return self.neuron.vector_field(t, y, args)

    def diffusion(self, t: Any, y: Any, args: Any) -> Any:
        """`scale` for the potential of a free membrane. Raises ValueError if none of the arrays of `y` is one."""
        voltage = self.neuron.voltage(y)
        if not any(x is voltage for x in jax.tree.leaves(y)):
            name = type(self.neuron).__name__
            raise ValueError(f"the voltage of {name} must be an array of its state, to which noise can be added.")
        held = getattr(y, "held", None)
        free = jnp.ones_like(voltage) if held is None else 1 - held
        return jax.tree.map(lambda x: self.scale * free if x is voltage else None, y)

    @property
    def events(self) -> tuple[Event, ...]:
        """Those of the neuron."""
        return self.neuron.events

    def receive(self, y: Any, port: int, charge: Float[Array, " neurons"]) -> Any:
        """As the neuron does."""
        return self.neuron.receive(y, port, charge)

    def voltage(self, y: Any) -> Float[Array, " neurons"]:
        """That of the neuron."""
        return self.neuron.voltage(y)

    def valid(self, y: Any) -> Bool[Array, ""]:
        """Whether the neuron is, and the scale is not negative."""
        return self.neuron.valid(y) & jnp.all(jnp.asarray(self.scale) >= 0)

    def begin(self, y: Any, key: PRNGKeyArray) -> Any:
        """As the neuron does."""
        return self.neuron.begin(y, key) if isinstance(self.neuron, Stochastic) else y


def without_noise(neuron: AbstractNeuron) -> AbstractNeuron:
    """The neuron itself, of one that `Noise` is put on."""
    while isinstance(neuron, Noise):
        neuron = neuron.neuron
    return neuron
