"""In which order the neurons of a network are updated within a time step."""

import abc

import equinox as eqx
from jaxtyping import Array, Bool, Float

from sal.connectivity import AbstractSynapses, Fire
from sal.kernels import Time


class AbstractOrder(eqx.Module):
    """Whose new spikes a neuron sees within the same step."""

    @abc.abstractmethod
    def elapsed(self, dt: Time) -> Time:
        """The time between a neuron's update and the moment at which others read its trace."""

    @abc.abstractmethod
    def update(
        self, synapses: AbstractSynapses, fire: Fire, traces: Float[Array, " neurons"]
    ) -> tuple[Float[Array, " neurons"], Bool[Array, " neurons"]]:
        """Lets all neurons `fire` once. Returns what drove each neuron, and the spikes."""


class Parallel(AbstractOrder):
    """All neurons see the state of the step before (Eq. 16): a spike acts one dt later.

    As dt tends to zero this is exact; a network with n steps per refractory period samples with an error of order 1/n.
    """

    def elapsed(self, dt: Time) -> Time:
        return dt

    def update(self, synapses: AbstractSynapses, fire: Fire, traces: Array) -> tuple[Array, Array]:
        drives = synapses.drive(traces)
        _, spikes = fire(0, drives)
        return drives, spikes


class Sweep(AbstractOrder):
    """One block of neurons after the other: a block sees the new spikes of those before it (Buesing et al. 2011).

    Blocks are single neurons, or layers, whose neurons do not see each other. With `Rectangular(tau_ref)` and
    `LogisticEscape` the network samples its Boltzmann distribution without error at any dt. A spike acts half a dt
    later, on neurons before and after it in the order alike, so spike-timing differences come in half steps.
    """

    def elapsed(self, dt: Time) -> Time:
        return dt / 2

    def update(self, synapses: AbstractSynapses, fire: Fire, traces: Array) -> tuple[Array, Array]:
        return synapses.sweep(fire, traces)
