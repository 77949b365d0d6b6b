"""Weight transport: the synapses by which errors travel back through a connection."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from gle.arrays import vary_alike
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

    def check(self, connection: AbstractConnection) -> None:
        """Raise ValueError for a connection that it cannot belong to."""
        del connection


class Transpose(AbstractFeedback):
    """Exact weight transport: errors see the transpose of the forward weights."""

    def backward(self, connection: AbstractConnection, errors: Array, rates: Array) -> Array:
        return connection.transpose(errors, rates)

    def gradient(self, forward: AbstractConnection) -> "Transpose":
        return self


class FeedbackAlignment(AbstractFeedback):
    """Random backward weights (Lillicrap et al. 2016): any connection from as many sources to as many neurons.

    They keep the shape of the forward weights, errors see their transpose, and their gradient is zero; learning rules
    that prescribe increments (`sal.align`) may move them.
    """

    connection: AbstractConnection

    def backward(self, connection: AbstractConnection, errors: Array, rates: Array) -> Array:
        return self.connection.transpose(errors, rates)

    def gradient(self, forward: AbstractConnection) -> "FeedbackAlignment":
        return jax.tree.map(jnp.zeros_like, eqx.filter(self, eqx.is_inexact_array))

    def check(self, connection: AbstractConnection) -> None:
        _check_size("FeedbackAlignment", self.connection, connection)


class KolenPollack(AbstractFeedback):
    """Backward weights that learn by the same local product as the forward ones (Kolen & Pollack 1994).

    Both get the gradient -e r^T. With a weight decay on both (`optax.add_decayed_weights`) their difference decays,
    whatever they started from. The backward weights may lack a bias, which errors do not pass.
    """

    connection: AbstractConnection

    def backward(self, connection: AbstractConnection, errors: Array, rates: Array) -> Array:
        return self.connection.transpose(errors, rates)

    def gradient(self, forward: AbstractConnection) -> "KolenPollack":
        known = dict(jax.tree_util.tree_leaves_with_path(forward))
        own = eqx.filter(self.connection, eqx.is_inexact_array)
        return KolenPollack(jax.tree_util.tree_map_with_path(lambda path, x: known.get(path, jnp.zeros_like(x)), own))

    def check(self, connection: AbstractConnection) -> None:
        _check_size("KolenPollack", self.connection, connection)
        theirs = {path: jnp.shape(x) for path, x in jax.tree_util.tree_leaves_with_path(connection)}
        for path, x in jax.tree_util.tree_leaves_with_path(eqx.filter(self.connection, eqx.is_inexact_array)):
            if theirs.get(path, jnp.shape(x)) != jnp.shape(x):
                raise ValueError(
                    f"KolenPollack: backward weights learn as the forward ones do, so both need one shape, but "
                    f"{jax.tree_util.keystr(path)} has {jnp.shape(x)} and {theirs[path]}; see gle.random_like."
                )


def _check_size(name: str, backward: AbstractConnection, forward: AbstractConnection) -> None:
    ours, theirs = (backward.neurons, backward.sources), (forward.neurons, forward.sources)
    if ours != theirs:
        raise ValueError(
            f"{name}: backward weights stand in for the transpose of the forward ones and keep their shape, [neurons, "
            f"sources] = {theirs}, but lead from {ours[1]} sources to {ours[0]} neurons; see gle.random_like."
        )


def random_like(connection: AbstractConnection, key: PRNGKeyArray) -> AbstractConnection:
    """A connection of the same kind with weights of the same standard deviation, drawn anew, for feedback weights."""
    leaves, structure = jax.tree.flatten(eqx.filter(connection, eqx.is_inexact_array))
    keys = jax.random.split(key, len(leaves))
    drawn = [jnp.std(x) * jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
    return eqx.combine(jax.tree.unflatten(structure, drawn), connection)


def feedback_angle(
    connection: AbstractConnection, feedback: AbstractFeedback, *, key: PRNGKeyArray, samples: int = 256
) -> Float[Array, ""]:
    """The angle in degrees between W^T e and what the feedback makes of it, over normally distributed errors.

    It measures the maps, so any connection has one (of dense weights W and B it is the angle between W and B as
    vectors, as `samples` grows). 90 if either is zero. At 0 and 180 degrees, where it has a kink, its derivative is 0.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, but is {samples}.")
    feedback.check(connection)
    errors = jax.random.normal(key, (samples, connection.neurons))
    rates = jnp.zeros((samples, connection.sources))
    connection, feedback, errors, rates = vary_alike((connection, feedback, errors, rates))
    exact, actual = connection.transpose(errors, rates), feedback.backward(connection, errors, rates)
    # Unlike the arccosine of the cosine, precise near 0 and 180 degrees too.
    exact, actual = _of_length_one(exact), _of_length_one(actual)
    difference, total = _length(exact - actual), _length(exact + actual)
    both = jnp.any(exact != 0) & jnp.any(actual != 0)
    return jnp.where(both, jnp.degrees(2 * jnp.arctan2(difference, total)), 90)


def _of_length_one(x: Array) -> Array:
    """x / |x|, or 0, also where squares would overflow or vanish."""
    largest = jnp.max(jnp.abs(x))
    x = x / lax.stop_gradient(jnp.where(largest > 0, largest, 1))
    length = _length(x)
    return x / jnp.where(length > 0, length, 1)


def _length(x: Array) -> Array:
    """|x|, of derivative 0 at 0."""
    square = jnp.sum(x * x)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
