"""Weight transport in deep networks: layers whose errors travel back through synapses of their own."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from sal._numbers import as_float
from sal.transports import AbstractTransport, Fixed, SignConcordant, Weights, weight_of


class Connection(eqx.Module):
    """A layer that is affine in its input, with a transport of its own for the errors.

        y = W x + b,    dL/dx = B^T dL/dy,    dL/dW = dL/dy x^T,    dL/db = dL/dy

    **Arguments:**

    - `layer`: any layer that is affine in its input and whose array `weight` is linear in it: `equinox.nn.Linear`,
        `Conv1d`, `Conv2d`, ..., or one of your own.
    - `transport`: where B comes from: `Transpose`, `Fixed`, `SignConcordant`, `KolenPollack`.

    Works under `jit` and under `vmap`, of samples and of whole networks. Through any transport but `Transpose` only
    first derivatives in reverse mode exist; forward mode and second derivatives raise `TypeError`.

    Raises `ValueError` if B has another shape than W.
    """

    layer: Any
    transport: AbstractTransport

    def __init__(self, layer: Callable[..., Array], transport: AbstractTransport):
        weight, backward = weight_of(layer), transport.backward(weight_of(layer))
        if backward.shape != weight.shape:
            raise ValueError(
                f"transport has backward weights of shape {backward.shape}, but layer.weight has the shape "
                f"{weight.shape}: B has the shape of W, not of its transpose"
            )
        self.layer, self.transport = layer, transport

    def __call__(self, x: Float[Array, "..."], *, key: PRNGKeyArray | None = None) -> Float[Array, "..."]:
        return self.transport.run(self.layer, x)

    @property
    def weight(self) -> Weights:
        """W."""
        return self.layer.weight

    @property
    def neurons(self) -> int:
        """How many neurons, or channels, the layer has."""
        return self.weight.shape[0]

    @property
    def sources(self) -> int:
        """From how many neurons, or channels, it receives."""
        return self.weight.shape[1]

    @property
    def backward(self) -> Weights:
        """B."""
        return self.transport.backward(self.layer.weight)

    @property
    def angle(self) -> Float[Array, ""]:
        """The angle between W and B in degrees."""
        return angle(self.weight, self.backward)


def affine_layers(model: PyTree) -> list[Any]:
    """All layers of `model` that can have a transport: `Connection`, `equinox.nn.Linear` and `equinox.nn.Conv`."""
    return [leaf for leaf in jax.tree.leaves(model, is_leaf=_is_layer) if _is_layer(leaf)]


def dense_layers(model: PyTree) -> list[Any]:
    """Those of `affine_layers` that are dense."""
    return [layer for layer in affine_layers(model) if weight_of(layer).ndim == 2]


def with_feedback(
    model: PyTree,
    kind: type[AbstractTransport],
    *,
    key: PRNGKeyArray,
    where: Callable[[Any], Sequence[Any]] = affine_layers,
) -> PyTree:
    """`model` with a new transport of one kind in each of its layers, or of those that `where(model)` lists.

        model = with_feedback(model, Fixed, key=key)                              # feedback alignment, but
        model = with_feedback(model, Transpose, key=key, where=dense_layers)      # exact in the dense layers

    Raises `ValueError` if `where` lists none, one twice, something else, or layers that are not in `model`.
    """
    chosen = where(model)
    if not chosen or not all(map(_is_layer, chosen)):
        raise ValueError(
            "where(model) must list layers of model, each a Connection, an equinox.nn.Linear or an equinox.nn.Conv; "
            f"got {[type(layer).__name__ for layer in chosen]}"
        )
    bare = [layer.layer if isinstance(layer, Connection) else layer for layer in chosen]
    # A key from which the model was drawn too must not give its weights again.
    keys = jax.random.split(jax.random.fold_in(key, 2**31 - 1), len(chosen))
    return replace_layers(
        model, chosen, [Connection(layer, kind.init(layer.weight, k)) for layer, k in zip(bare, keys, strict=True)]
    )


def replace_layers(model: PyTree, old: Sequence[Any], new: Sequence[Any]) -> PyTree:
    """`model` with its layers `old` (some of `affine_layers(model)`) replaced by `new`.

    Raises `ValueError` if one of them is not in `model`, or named twice.
    """
    # equinox.tree_at cannot find layers by their kind, or by the shape of their weights.
    replacement = {id(layer): layer_new for layer, layer_new in zip(old, new, strict=True)}
    there = {id(layer) for layer in affine_layers(model)}
    missing = [layer for layer in old if id(layer) not in there]
    if missing or len(replacement) < len(old):
        raise ValueError(
            f"where(model) must list layers of the model that it is given, each once; it lists {len(old)}, of which "
            f"{len(missing)} are not in the model (layers inside a Connection count as that) and "
            f"{len(old) - len(replacement)} are named again"
        )
    return jax.tree.map(lambda node: replacement.get(id(node), node), model, is_leaf=_is_layer)


def plastic_leaves(model: PyTree) -> PyTree:
    """Booleans in the structure of `model`, for `equinox.partition` or `optax.masked`: what gradients change.

    True for arrays of floating-point numbers but for the weights of `Fixed` and `SignConcordant`, whose gradient is
    zero, but which a weight decay would change and for which an optimiser would keep a state.
    """

    def is_frozen(node: Any) -> bool:
        return isinstance(node, Fixed | SignConcordant)

    def mark(node: Any) -> Any:
        return jax.tree.map(lambda leaf: not is_frozen(node) and eqx.is_inexact_array(leaf), node)

    return jax.tree.map(mark, model, is_leaf=is_frozen)


def angle(weight: Weights, backward: Weights) -> Float[Array, ""]:
    """The angle between W and B, taken as vectors, in degrees: 0 if aligned, 90 if unrelated or if one of them is 0.

    Precise near 0 and 180 too, where the arccosine of their cosine is not.
    """
    weight, backward = as_float("angle: weight", weight), as_float("angle: backward", backward)
    if weight.shape != backward.shape:
        raise ValueError(f"weight and backward must have the same shape, got {weight.shape} and {backward.shape}")
    weight, backward = _rescaled(weight), _rescaled(backward)
    a, b = weight * _norm(backward), backward * _norm(weight)
    return jnp.degrees(2 * _arctan2(_norm(a - b), _norm(a + b)))


def _rescaled(x: Array) -> Array:
    """In the same direction, and so long that squares neither overflow nor vanish."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), initial=0))
    return x / jnp.where(largest == 0, 1, largest)


def _norm(x: Array) -> Array:
    """The norm, with the derivative 0 at x = 0: where W and B are parallel the angle is as small as it can be."""
    squares = jnp.sum(x * x)
    return jnp.where(squares == 0, 0, jnp.sqrt(jnp.where(squares == 0, 1, squares)))


def _arctan2(y: Array, x: Array) -> Array:
    nothing = (x == 0) & (y == 0)
    return jnp.where(nothing, jnp.pi / 4, jnp.arctan2(y, jnp.where(nothing, 1, x)))


def _is_layer(node: Any) -> bool:
    return isinstance(node, Connection | eqx.nn.Linear | eqx.nn.Conv)
