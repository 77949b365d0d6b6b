"""Which parameters learn, and within which bounds: helpers for optax."""

from collections.abc import Hashable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, PyTree

from gle.arrays import concrete
from gle.network import Network


def labels(network: Network) -> PyTree:
    """For `optax.partition`: each parameter's name, "connection", "tau_m", "tau_r", "feedback", "activation",
    "coupling" or "frozen".

        optax.partition({"connection": optax.adam(1e-3), "tau_m": optax.sgd(1e-4), ...}, labels)

    "coupling": beta and gamma, where these are arrays. "frozen": whatever belongs to a layer that is not plastic, so
    that no weight decay touches it.
    """
    names = jax.tree.map(lambda _: "coupling", eqx.filter(network, eqx.is_inexact_array))

    def label(layer: Any) -> Any:
        parts = ("connection", "tau_m", "tau_r", "feedback", "activation")

        def name(part):
            return jax.tree.map(lambda _: part if layer.plastic else "frozen", getattr(layer, part))

        marked = [name(part) for part in parts]
        return eqx.tree_at(lambda layer: [getattr(layer, part) for part in parts], layer, marked)

    return eqx.tree_at(lambda network: network.layers, names, tuple(label(layer) for layer in names.layers))


def only(**optimisers: optax.GradientTransformation) -> optax.GradientTransformation:
    """An optimiser for each of these `labels`, as in `only(connection=optax.adam(1e-3))`; the rest stays as it is."""
    names = ("connection", "tau_m", "tau_r", "feedback", "activation", "coupling", "frozen")
    unknown = sorted(set(optimisers) - set(names))
    if unknown:
        raise ValueError(f"only: there are no parameters {', '.join(unknown)}; choose among {', '.join(names)}.")
    transforms: dict[Hashable, optax.GradientTransformation] = dict.fromkeys(names, optax.set_to_zero())
    return optax.partition(transforms | optimisers, labels)


def weights_only(optimiser: optax.GradientTransformation) -> optax.GradientTransformation:
    """`optimiser` for weights and biases; time constants and feedback weights stay as they are."""
    return only(connection=optimiser)


def at_least(tau_m: ArrayLike, tau_r: ArrayLike) -> optax.GradientTransformation:
    """Keeps time constants at these values or above, whatever the updates say: the last one of an `optax.chain`.

    Raises ValueError for bounds that are not positive.
    """
    bounds = {"tau_m": tau_m, "tau_r": tau_r}
    for name, bound in bounds.items():
        if concrete(bound) and not np.all(np.asarray(bound) > 0):
            raise ValueError(f"{name} must be positive, like all time constants, but is {bound}.")

    def bounded(update, parameter, label):
        return _no_lower_than(bounds[label], update, parameter) if label in bounds else update

    def transform(updates, parameters):
        return jax.tree.map(bounded, updates, parameters, labels(parameters))

    return optax.stateless(transform)


def _no_lower_than(bound: ArrayLike, update: Array, parameter: Array) -> Array:
    """The update, or the smallest one after which parameter + update, as it is rounded, is at least the bound."""
    bound = jnp.asarray(bound, parameter.dtype)
    least = bound - parameter
    # The sum may round to below the bound by half a unit in the last place of the largest of the three numbers.
    unit = jnp.finfo(parameter.dtype).eps * jnp.maximum(jnp.abs(least), bound)
    least = jnp.where(parameter + least < bound, least + unit, least)
    return jnp.where(parameter + update < bound, jnp.maximum(update, least), update)
