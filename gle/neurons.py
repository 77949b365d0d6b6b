"""What neurons of networks of any topology have: time constants, and signals of one value each."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float

from gle.arrays import as_float
from gle.operators import LeadLag

Rates = Float[Array, "... _"]
"""A signal of one layer: [*batch, neurons]."""


class AbstractNeurons(eqx.Module):
    """Neurons with membrane and prospective time constants, tau_m and tau_r, of each."""

    tau_m: eqx.AbstractVar[Float[Array, " neurons"]]
    tau_r: eqx.AbstractVar[Float[Array, " neurons"]]

    @property
    def membrane(self) -> LeadLag:
        """The neurons: the past of their input, then its future."""
        return LeadLag(self.tau_m, self.tau_r)

    @property
    def error_neuron(self) -> LeadLag:
        """The neurons of the errors, which do the reverse."""
        return LeadLag(self.tau_r, self.tau_m)


def batch_mean(x: Float[Array, "*batch neurons"]) -> Float[Array, " neurons"]:
    """The mean over all leading axes."""
    return jnp.mean(x.reshape(-1, x.shape[-1]), axis=0)


def check_signal(name: str, signal: Array, like: Array, size: int) -> None:
    """Refuses a signal that is not [*batch, size], the batch being that of `like`."""
    wanted = (*like.shape[:-1], size)
    if signal.shape != wanted:
        raise ValueError(f"{name} must have the shape {wanted} of the state and the network, but has {signal.shape}.")


def per_neuron(name: str, value: ArrayLike | Sequence[float | int], neurons: int) -> Array:
    """[neurons] from one number or one for each of them."""
    array = jnp.asarray(as_float(name, value), jnp.result_type(float))
    if array.shape not in ((), (neurons,)):
        raise ValueError(f"{name} must be a number or [{neurons}], one per neuron, but has shape {array.shape}.")
    return jnp.broadcast_to(array, (neurons,))


def smallest(tau: Array) -> float:
    """The smallest entry; infinite, thus above every bound, while its value is traced."""
    return np.inf if isinstance(tau, Tracer) else float(np.min(np.asarray(tau)))
