"""Weight transport: the synapses by which errors travel back through a connection."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from gle.connections import AbstractConnection


class AbstractFeedback(eqx.Module):
    """How the errors of a layer reach the layer below, and how the synapses that carry them learn."""

    @abc.abstractmethod
    def backward(
        self,
        connection: AbstractConnection,
        errors: Float[Array, "*batch neurons"],
        rates: Float[Array, "*batch sources"],
    ) -> Float[Array, "*batch sources"]:
        """What stands for W^T e in Eq. 7."""

    @abc.abstractmethod
    def gradient(self, forward: AbstractConnection) -> "AbstractFeedback":
        """The gradient of its own parameters, given that of the connection it belongs to."""


class Transpose(AbstractFeedback):
    """Exact weight transport: errors see the transpose of the forward weights."""

    def backward(self, connection: AbstractConnection, errors: Array, rates: Array) -> Array:
        return connection.transpose(errors, rates)

    def gradient(self, forward: AbstractConnection) -> "Transpose":
        return self


class FeedbackAlignment(AbstractFeedback):
    """Random, fixed backward weights (Lillicrap et al. 2016), here as a connection of the forward one's shape."""

    weights: AbstractConnection

    def backward(self, connection: AbstractConnection, errors: Array, rates: Array) -> Array:
        return self.weights.transpose(errors, rates)

    def gradient(self, forward: AbstractConnection) -> "FeedbackAlignment":
        return FeedbackAlignment(jax.tree.map(jnp.zeros_like, forward))


class KolenPollack(AbstractFeedback):
    """Backward weights that learn by the same local product as the forward ones (Kolen & Pollack 1994).

    Both get the gradient -e r^T. With a weight decay on both (`optax.add_decayed_weights`) their difference decays,
    whatever they started from.
    """

    weights: AbstractConnection

    def backward(self, connection: AbstractConnection, errors: Array, rates: Array) -> Array:
        return self.weights.transpose(errors, rates)

    def gradient(self, forward: AbstractConnection) -> "KolenPollack":
        return KolenPollack(forward)


def random_like(connection: AbstractConnection, key: PRNGKeyArray) -> AbstractConnection:
    """A connection of the same kind with weights of the same standard deviation, drawn anew, for feedback weights."""
    leaves, structure = jax.tree.flatten(eqx.filter(connection, eqx.is_inexact_array))
    keys = jax.random.split(key, len(leaves))
    drawn = [jnp.std(x) * jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
    return eqx.combine(jax.tree.unflatten(structure, drawn), connection)


def alignment(
    connection: AbstractConnection, feedback: AbstractFeedback, *, key: PRNGKeyArray, samples: int = 256
) -> Float[Array, ""]:
    """The angle in degrees between W^T e and what the feedback makes of it, over normally distributed errors."""
    errors = jax.random.normal(key, (samples, connection.neurons))
    rates = jnp.zeros((samples, connection.sources))
    exact, actual = connection.transpose(errors, rates), feedback.backward(connection, errors, rates)
    norm = jnp.linalg.norm(exact) * jnp.linalg.norm(actual)
    return jnp.degrees(jnp.arccos(jnp.clip(jnp.sum(exact * actual) / norm, -1, 1)))
