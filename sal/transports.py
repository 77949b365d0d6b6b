"""How errors get from the outputs of a layer to its inputs."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

Weights = Float[Array, "_neurons *_sources"]
"""Forward weights W, or backward weights B, which have the same shape here: a layer sends B^T e where
backpropagation sends W^T e. For a convolution, `[channels_out, channels_in, height, width]`."""


class AbstractTransport(eqx.Module):
    """How errors get from the outputs of a layer to its inputs."""

    @classmethod
    @abc.abstractmethod
    def init(cls, weight: Weights, key: PRNGKeyArray) -> "AbstractTransport":
        """A new one for a layer with the forward weights `weight`."""

    @abc.abstractmethod
    def backward(self, weight: Weights) -> Weights:
        """The backward weights B at the forward weights `weight`."""

    @abc.abstractmethod
    def run(self, layer: Callable[[Array], Array], x: Array) -> Array:
        """`layer(x)`, with a backward pass that sends errors through B."""


class Transpose(AbstractTransport):
    """B = W: backpropagation, by plain automatic differentiation."""

    @classmethod
    def init(cls, weight: Weights, key: PRNGKeyArray) -> "Transpose":
        return cls()

    def backward(self, weight: Weights) -> Weights:
        return weight

    def run(self, layer: Callable[[Array], Array], x: Array) -> Array:
        return layer(x)


class Fixed(AbstractTransport):
    """B is random and no gradient changes it: feedback alignment (Lillicrap et al. 2016).

    It is also the place for backward weights that are learned elsewhere (SAL, RDD) and written here.
    """

    weight: Weights

    @classmethod
    def init(cls, weight: Weights, key: PRNGKeyArray) -> "Fixed":
        return cls(kaiming_uniform(weight, key))

    def backward(self, weight: Weights) -> Weights:
        return self.weight

    def run(self, layer: Callable[[Array], Array], x: Array) -> Array:
        return _transported(layer, self.weight, x)


class SignConcordant(AbstractTransport):
    """B = sgn(W) |B_0| with a fixed random B_0, element by element (section 5.3, method 2)."""

    weight: Weights
    """B_0."""

    @classmethod
    def init(cls, weight: Weights, key: PRNGKeyArray) -> "SignConcordant":
        return cls(kaiming_uniform(weight, key))

    def backward(self, weight: Weights) -> Weights:
        return jnp.sign(weight) * jnp.abs(self.weight)

    def run(self, layer: Callable[[Array], Array], x: Array) -> Array:
        return _transported(layer, self.backward(weight_of(layer)), x)


class KolenPollack(AbstractTransport):
    """B gets the gradient of W (Kolen & Pollack 1994; Akrout et al. 2019, Eqs. 16, 17).

    With a weight decay lambda on both (`optax.add_decayed_weights` before the optimiser) W - B decays, whatever the
    gradient: under gradient descent with the rate eta as (1 - eta lambda)^t.
    """

    weight: Weights

    @classmethod
    def init(cls, weight: Weights, key: PRNGKeyArray) -> "KolenPollack":
        return cls(kaiming_uniform(weight, key))

    def backward(self, weight: Weights) -> Weights:
        return self.weight

    def run(self, layer: Callable[[Array], Array], x: Array) -> Array:
        tied = eqx.tree_at(weight_of, layer, _tie((weight_of(layer), self.weight)))
        return _transported(tied, self.weight, x)


def kaiming_uniform(weight: Weights, key: PRNGKeyArray) -> Weights:
    """Weights of the shape of `weight` from U(-s, s), s = 1 / sqrt(inputs of a neuron), as Equinox draws W."""
    bound = weight[0].size ** -0.5
    return jax.random.uniform(key, weight.shape, weight.dtype, -bound, bound)


def weight_of(layer: Any) -> Any:
    """W."""
    return layer.weight


def _transported(layer: Callable[[Array], Array], backward: Weights, x: Array) -> Array:
    """`layer(x)` whose gradient by x takes `backward` for the weights.

    The parameters get theirs by plain automatic differentiation of a layer whose input is constant: in a custom rule of
    their own, `vmap` would make a weight gradient per sample before it sums them.
    """
    mirror = jax.lax.stop_gradient(eqx.filter(eqx.tree_at(weight_of, layer, backward), eqx.is_array))
    return _receive((layer(jax.lax.stop_gradient(x)), x), eqx.combine(mirror, layer))


@eqx.filter_custom_vjp
def _receive(pair: tuple[Array, Array], mirror: Callable[[Array], Array]) -> Array:
    """y of (y, x); its error reaches x through `mirror`, as well as y."""
    return pair[0]


@_receive.def_fwd
def _receive_forward(perturbed: Any, pair: tuple[Array, Array], mirror: Callable[[Array], Array]) -> tuple[Array, None]:
    return _once(pair), None


@_receive.def_bwd
def _receive_backward(
    residuals: None, error: Array, perturbed: Any, pair: tuple[Array, Array], mirror: Callable[[Array], Array]
) -> tuple[Array, Array]:
    return error, jax.vjp(mirror, pair[1])[1](error)[0]


@jax.custom_jvp
def _once(pair: tuple[Array, Array]) -> Array:
    return pair[0]


@_once.defjvp
def _refuse(primals: Any, tangents: Any) -> Any:
    raise TypeError(
        "a Connection was differentiated twice: errors that travel through weights of their own have first derivatives "
        "only; use the transport Transpose() for others"
    )


@eqx.filter_custom_vjp
def _tie(pair: tuple[Weights, Weights]) -> Weights:
    return pair[0]


@_tie.def_fwd
def _tie_forward(perturbed: Any, pair: tuple[Weights, Weights]) -> tuple[Weights, None]:
    return pair[0], None


@_tie.def_bwd
def _tie_backward(residuals: None, gradient: Weights, perturbed: Any, pair: tuple[Weights, Weights]) -> Any:
    return gradient, gradient
