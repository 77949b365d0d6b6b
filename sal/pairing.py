"""Which spikes of two neurons form pairs, and how long after each other coincident spikes count."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool

from sal.kernels import AbstractKernel, Time
from sal.traces import AbstractTrace, AllSpikes, LastSpike

PreFirst = bool | Bool[Array, "post pre"]


class AbstractPairing(eqx.Module):
    """Which pairs of a pre- and a postsynaptic spike enter spike-timing-dependent plasticity."""

    @abc.abstractmethod
    def trace(self, window: AbstractKernel) -> AbstractTrace:
        """What the first spike of a pair leaves behind for the second."""

    @property
    @abc.abstractmethod
    def last_only(self) -> bool:
        """Whether a spike pairs with none but the last one of the other neuron."""

    @property
    @abc.abstractmethod
    def nearest_only(self) -> bool:
        """Whether, moreover, the neuron itself must not have fired since that spike."""


class AllPairs(AbstractPairing):
    """Every spike pairs with every spike of the other neuron (Eq. 13)."""

    def trace(self, window: AbstractKernel) -> AbstractTrace:
        return AllSpikes(window)

    @property
    def last_only(self) -> bool:
        return False

    @property
    def nearest_only(self) -> bool:
        return False


class LastPairs(AbstractPairing):
    """Every spike pairs with the last spike of the other neuron (Eq. 12)."""

    def trace(self, window: AbstractKernel) -> AbstractTrace:
        return LastSpike(window)

    @property
    def last_only(self) -> bool:
        return True

    @property
    def nearest_only(self) -> bool:
        return False


class NearestPairs(AbstractPairing):
    """Two spikes pair if neither neuron fires in between: nearest neighbours of first order.

    Causal and anti-causal pairs alternate, so there are equally many (section 4.2.2).
    """

    def trace(self, window: AbstractKernel) -> AbstractTrace:
        return LastSpike(window)

    @property
    def last_only(self) -> bool:
        return True

    @property
    def nearest_only(self) -> bool:
        return True


class AbstractCoincidence(eqx.Module):
    """What becomes of spikes within the same step (or, for spike times, at the same time)."""

    @property
    @abc.abstractmethod
    def pre_first(self) -> PreFirst | None:
        """Whether such a pair is causal (True) or anti-causal (False), or has no order (None)."""

    @property
    @abc.abstractmethod
    def share(self) -> float:
        """The part of a pair without order that counts as causal, and as much as anti-causal, 0 apart."""

    @abc.abstractmethod
    def elapsed(self, dt: Time) -> Time:
        """The spike-timing difference of a pair whose first spike was there at the second neuron's last update."""


class Dropped(AbstractCoincidence):
    """Coincident spikes are no pair."""

    @property
    def pre_first(self) -> None:
        return None

    @property
    def share(self) -> float:
        return 0.0

    def elapsed(self, dt: Time) -> Time:
        return dt


class Shared(AbstractCoincidence):
    """Coincident spikes are half a causal and half an anti-causal pair, with a spike-timing difference of zero."""

    @property
    def pre_first(self) -> None:
        return None

    @property
    def share(self) -> float:
        return 0.5

    def elapsed(self, dt: Time) -> Time:
        return dt


class Swept(AbstractCoincidence):
    """The spikes of a network with the order `Sweep`: differences count in half steps.

    Where `pre` (a bool, or one per synapse, [post, pre]) is True, the presynaptic neuron is updated before the
    postsynaptic one, and spikes within the same step are a causal pair half a step apart; elsewhere an anti-causal one.
    """

    pre: PreFirst

    @property
    def pre_first(self) -> PreFirst:
        return self.pre

    @property
    def share(self) -> float:
        return 0.0

    def elapsed(self, dt: Time) -> Time:
        return dt / 2


def one_by_one(neurons: int) -> Swept:
    """The coincidences of `Dense` synapses that are swept in the order of the neurons' numbers."""
    order = jnp.arange(neurons)
    return Swept(order[None, :] < order[:, None])
