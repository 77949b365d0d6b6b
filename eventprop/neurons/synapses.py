"""Synapses of a neuron: receptors with exponentially decaying currents or conductances."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from eventprop.parameters import Parameter, all_positive, as_float, check_positive

Receptors = tuple[Float[Array, " neurons"], ...]
"""What each receptor (port) holds: a current or a conductance."""


def check_port(port: int, ports: int, name: str) -> None:
    """Raise ValueError for a receptor that is none."""
    if not 0 <= port < ports:
        raise ValueError(f"port {port} is none of {name}, which has the receptors 0 to {ports - 1}.")


def _per_port(name: str) -> Callable[[Any], tuple[Parameter, ...]]:
    """The converter of a field that holds one parameter for each receptor; anything but a tuple is the only one's."""

    def convert(value: Any) -> tuple[Any, ...]:
        values = value if isinstance(value, tuple) else (value,)
        return tuple(as_float(f"{name}[{port}]", each) for port, each in enumerate(values))

    return convert


class AbstractSynapses(eqx.Module):
    """The receptors of a neuron, ports 0, 1, ...: connections with `port=p` end on receptor p.

    A presynaptic spike adds its charge to what the receptor holds, which decays with the receptor's own time constant:

        tau_syn,p s_p' = -s_p,    a spike at port p: s_p += w.
    """

    tau_syn: eqx.AbstractVar[tuple[Parameter, ...]]

    def __check_init__(self):
        if not self.tau_syn:
            raise ValueError("tau_syn must hold at least one time constant, but is ().")
        for port, tau in enumerate(self.tau_syn):
            check_positive(f"tau_syn[{port}]", tau)

    @abc.abstractmethod
    def current(self, y: Receptors, v: Float[Array, " neurons"]) -> Float[Array, " neurons"]:
        """The current into a membrane at the potential v."""

    @property
    def ports(self) -> int:
        """The number of receptors."""
        return len(self.tau_syn)

    def init(self, neurons: int, dtype: Any) -> Receptors:
        """Nothing has arrived."""
        return tuple(jnp.zeros(neurons, dtype) for _ in self.tau_syn)

    def decay(self, y: Receptors) -> Receptors:
        """ds_p/dt = -s_p / tau_syn,p."""
        return tuple(-s / tau for s, tau in zip(y, self.tau_syn, strict=True))

    def receive(self, y: Receptors, port: int, charge: Float[Array, " neurons"]) -> Receptors:
        """s_p += charge. Raises ValueError for a port that does not exist."""
        check_port(port, self.ports, type(self).__name__)
        return (*y[:port], y[port] + charge, *y[port + 1 :])

    def valid(self, y: Receptors) -> Bool[Array, ""]:
        """Time constants are positive, and what receptors hold is finite."""
        return all_positive(*self.tau_syn) & jnp.all(jnp.isfinite(jnp.stack(y)))


class CurrentSynapses(AbstractSynapses):
    """Current-based receptors: I = sum_p I_p with tau_syn,p I_p' = -I_p.

    tau_syn: a number or an array [neurons] for one receptor; a tuple of them for several:
        `CurrentSynapses((2.0, 10.0))` has a fast port 0 and a slow port 1. The sign of a synapse is that of its weight.

    Raises ValueError for time constants that are not positive and for an empty tuple.
    """

    tau_syn: tuple[Parameter, ...] = eqx.field(converter=_per_port("tau_syn"))

    def current(self, y: Receptors, v: Float[Array, " neurons"]) -> Float[Array, " neurons"]:
        """I = sum_p I_p, whatever the potential."""
        return sum(y[1:], y[0])


class ConductanceSynapses(AbstractSynapses):
    """Conductance-based receptors: I = sum_p g_p (E_p - V) with tau_syn,p g_p' = -g_p.

    tau_syn and reversal (E_p): a number or an array [neurons] for one receptor, a tuple of them for several:
        `ConductanceSynapses((2.0, 10.0), reversal=(0.0, -80.0))` has an excitatory port 0 and an inhibitory port 1.
        Conductances are in units of the membrane's leak (where tau_mem V' = -V + ... has the leak 1). Weights shall not
        be negative: whether a synapse excites is up to the reversal potential of its port.

    Raises ValueError for time constants that are not positive, and for different numbers of receptors.
    """

    tau_syn: tuple[Parameter, ...] = eqx.field(converter=_per_port("tau_syn"))
    reversal: tuple[Parameter, ...] = eqx.field(converter=_per_port("reversal"))

    def __check_init__(self):
        if len(self.tau_syn) != len(self.reversal):
            raise ValueError(
                f"tau_syn is given for {len(self.tau_syn)} receptors and reversal for {len(self.reversal)}: each port "
                "needs both."
            )

    def current(self, y: Receptors, v: Float[Array, " neurons"]) -> Float[Array, " neurons"]:
        """I = sum_p g_p (E_p - V)."""
        each = [g * (e - v) for g, e in zip(y, self.reversal, strict=True)]
        return sum(each[1:], each[0])
