"""The circuits of a chip as populations of neurons: which parts are on, and several joined to one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from eventprop import (
    ALIF,
    EIF,
    LI,
    LIF,
    AbstractConnection,
    AbstractNeuron,
    AdaptiveCurrent,
    AdEx,
    ConductanceSynapses,
    Dense,
)
from eventprop.neurons.noise import without_noise
from hardware.chip import Parameters
from hardware.device import Features
from hardware.neuron import Adaptation, Circuit, CircuitState, Conductance, Rail, Receptor, Upstroke
from hardware.units import RAIL, RAIL_WIDTH


def features_of(neuron: AbstractNeuron) -> Features:
    """The parts of the circuit that a model neuron needs. Raises ValueError for neurons that the chip has not."""
    neuron = without_noise(neuron)
    known = isinstance(neuron, LIF | LI | EIF | AdEx)
    adaptive = isinstance(neuron, ALIF) and isinstance(neuron.adaptation, AdaptiveCurrent)
    if not (known or adaptive):
        raise ValueError(
            f"{type(neuron).__name__} is no neuron of the chip, which has LIF, LI, EIF, AdEx and ALIF with an adaptive "
            "current."
        )
    return Features(
        spiking=not isinstance(neuron, LI),
        exponential=isinstance(neuron, EIF | AdEx),
        adaptation=adaptive or isinstance(neuron, AdEx),
        conductances=isinstance(getattr(neuron, "synapses", None), ConductanceSynapses),
    )


def circuit(parameters: Parameters, circuits: np.ndarray, features: Features) -> Circuit:
    """The neurons that are made of these circuits [neurons, merged].

    Joined membranes are one: capacitances and currents add up, so rates and strengths are means weighted by
    capacitance. Synaptic inputs stay apart, receptor 2 k + end of circuit k (0 exc, 1 inh). The first circuit has the
    spikes, and alone adapts. All clamp together, and the exponentials of all act: with the onset and the sharpness of
    the first (calibrated ones agree within 0.2 LSB and 2 %), n of them at n times the capacitance are one.
    """
    each = jax.tree.map(lambda x: x[circuits], parameters)
    share = each.capacitance / jnp.sum(each.capacitance, axis=1, keepdims=True)
    first = jax.tree.map(lambda x: x[:, 0], each)
    leak_rate, reset_rate = jnp.sum(share / each.tau_mem, 1), jnp.sum(share / each.tau_reset, 1)
    receptors = [
        _receptor(each, share, slot, end, features) for slot in range(circuits.shape[1]) for end in ("exc", "inh")
    ]
    return Circuit(
        1 / leak_rate,
        jnp.sum(share * each.leak / each.tau_mem, 1) / leak_rate,
        tuple(receptors),
        first.threshold if features.spiking else None,
        jnp.sum(share * each.reset / each.tau_reset, 1) / reset_rate,
        1 / reset_rate,
        first.refractory,
        first.holdoff,
        jnp.sum(share * each.offset, 1),
        Upstroke(first.onset, first.sharpness) if features.exponential else None,
        Adaptation(first.adaptation_a * share[:, 0], first.adaptation_b * share[:, 0], first.tau_adaptation)
        if features.adaptation
        else None,
    )


def _receptor(each: Parameters, share: Array, slot: int, end: str, features: Features) -> Receptor:
    def of(name):
        return getattr(each, f"{name}_{end}")[:, slot]

    strength = share[:, slot] * of("strength") * (1 if end == "exc" else -1)
    if features.conductances:
        return Receptor(of("tau_syn"), strength, Conductance(of("e_reversal"), of("e_reference")))
    return Receptor(of("tau_syn"), strength, None if end == "exc" else Rail(RAIL, RAIL_WIDTH))


def at_rest(neuron: AbstractNeuron, neurons: int) -> CircuitState:
    """The state before a trial: V where leak and offset balance, if that is no spike; else the leak, or the reset."""
    neuron = without_noise(neuron)
    assert isinstance(neuron, Circuit)
    y = neuron.init(neurons, jnp.result_type(neuron.tau_mem))
    rest = neuron.leak + neuron.tau_mem * neuron.offset
    v = rest
    if neuron.threshold is not None:
        onset = neuron.threshold if neuron.upstroke is None else jnp.minimum(neuron.threshold, neuron.upstroke.onset)
        v = jnp.where(rest < onset, rest, jnp.where(neuron.leak < onset, neuron.leak, neuron.reset))
    return eqx.tree_at(lambda y: y.v, y, v)


class Part(AbstractConnection):
    """Dense synapses from some of the sources: weight [neurons, columns], of the sources `columns` out of `size`.

    The delay is a part of the program, which then needs memory for its length only.
    """

    weight: Float[Array, "neurons columns"]
    columns: tuple[int, ...] = eqx.field(static=True)
    size: int = eqx.field(static=True)
    delay: float | None = eqx.field(static=True, default=None)
    port: int = eqx.field(static=True, default=0)

    @property
    def sources(self) -> int:
        """All of them."""
        return self.size

    @property
    def neurons(self) -> int:
        """Number of postsynaptic neurons."""
        return self.weight.shape[0]

    def check_shapes(self, name: str) -> None:
        """Raise ValueError for weights with leading axes."""
        Dense(self.weight).check_shapes(name)

    def _whole(self, synapses: Array) -> Array:
        empty = jnp.zeros((self.weight.shape[0], self.size), synapses.dtype)
        return empty.at[:, np.asarray(self.columns)].set(synapses)

    def spread(self, synapses, index):
        """The columns of these sources."""
        return Dense(self.weight).spread(self._whole(synapses), index)

    def project(self, spikes):
        """A matrix product."""
        seen = spikes if len(self.columns) == self.size else spikes[..., np.asarray(self.columns)]
        return seen @ self.weight.T

    def table(self, index):
        """The transposed weights."""
        return Dense(self._whole(self.weight)).table(index)
