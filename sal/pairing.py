"""Which spikes of two neurons form pairs, and how long after each other coincident spikes count."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool

from sal._numbers import as_bools, as_count
from sal.kernels import AbstractKernel, AbstractTrace, LastSpike, Time

PreFirst = bool | Bool[Array, "_post _pre"]


class AbstractPairing(eqx.Module):
    """Which pairs of a pre- and a postsynaptic spike enter spike-timing-dependent plasticity."""

    last_only: eqx.AbstractClassVar[bool]
    """Whether a spike pairs with none but the last one of the other neuron."""
    nearest_only: eqx.AbstractClassVar[bool]
    """Whether, moreover, the neuron itself must not have fired since that spike."""

    @abc.abstractmethod
    def trace(self, window: AbstractKernel) -> AbstractTrace:
        """What the first spike of a pair leaves behind for the second."""


class AllPairs(AbstractPairing):
    """Every spike pairs with every spike of the other neuron (Eq. 13)."""

    last_only: ClassVar[bool] = False
    nearest_only: ClassVar[bool] = False

    def trace(self, window: AbstractKernel) -> AbstractTrace:
        return window


class LastPairs(AbstractPairing):
    """Every spike pairs with the last spike of the other neuron (Eq. 12)."""

    last_only: ClassVar[bool] = True
    nearest_only: ClassVar[bool] = False

    def trace(self, window: AbstractKernel) -> AbstractTrace:
        return LastSpike(window)


class NearestPairs(AbstractPairing):
    """Two spikes pair if neither neuron fires in between: nearest neighbours of first order.

    Causal and anti-causal pairs alternate, so there are equally many (section 4.2.2).
    """

    last_only: ClassVar[bool] = True
    nearest_only: ClassVar[bool] = True

    def trace(self, window: AbstractKernel) -> AbstractTrace:
        return LastSpike(window)


class AbstractCoincidence(eqx.Module):
    """What becomes of spikes within the same step (or, for spike times, at the same time)."""

    pre_first: eqx.AbstractVar[PreFirst | None]
    """Whether such a pair is causal (True) or anti-causal (False), or has no order (None)."""
    mask: eqx.AbstractVar[Bool[Array, "_post _pre"] | None]
    """False where there is no synapse, so that no pairs are counted; None: nowhere."""
    share: eqx.AbstractClassVar[float]
    """The part of a pair without order that counts as causal, and as much as anti-causal, 0 apart."""

    def elapsed(self, dt: Time) -> Time:
        """The spike-timing difference of a pair whose first spike was there at the second neuron's last update."""
        return dt if self.pre_first is None else dt / 2


class Dropped(AbstractCoincidence):
    """Coincident spikes are no pair."""

    pre_first: ClassVar[None] = None
    mask: ClassVar[None] = None
    share: ClassVar[float] = 0.0


class Shared(AbstractCoincidence):
    """Coincident spikes are half a causal and half an anti-causal pair, with a spike-timing difference of zero."""

    pre_first: ClassVar[None] = None
    mask: ClassVar[None] = None
    share: ClassVar[float] = 0.5


class Swept(AbstractCoincidence):
    """The spikes of a network with the order `Sweep`: differences count in half steps.

    Where `pre_first` (a bool, or one per synapse, [post, pre]) is True, the presynaptic neuron is updated before the
    postsynaptic one, and spikes within the same step are a causal pair half a step apart; elsewhere an anti-causal one.
    Where `mask` is False there is no synapse, and nothing is counted.
    """

    pre_first: PreFirst = eqx.field(converter=lambda x: as_bools("Swept: pre_first", x))
    mask: Bool[Array, "_post _pre"] | None = eqx.field(default=None, converter=lambda x: _as_mask(x))
    share: ClassVar[float] = 0.0


def _as_mask(mask: Any) -> Any:
    return None if mask is None else as_bools("Swept: mask", mask)


def one_by_one(neurons: int) -> Swept:
    """The coincidences of `Recurrent` synapses that are swept in the order of the neurons' numbers.

    No neuron has a synapse onto itself: nothing is counted on the diagonal.
    """
    order = jnp.arange(as_count("neurons", neurons))
    return Swept(order[None, :] < order[:, None], order[None, :] != order[:, None])
