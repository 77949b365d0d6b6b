"""What comes in over time: shapes, dtypes and time steps, checked before anything is compiled."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PyTree

from gle.arrays import as_float, as_time_step, concrete, split_numbers, without
from gle.network import Network


def check_stream(network: Network, inputs: Array, targets: Array | None) -> None:
    """Raise ValueError unless inputs and targets are [time, *batch, neurons] of the network."""
    if inputs.ndim < 2 or 0 in inputs.shape[1:-1]:
        raise ValueError(
            f"inputs must be [time, *batch, sources] with at least one sample, but have shape {inputs.shape}."
        )
    for name, stream, width in (
        ("inputs", inputs, network.layers[0].connection.sources),
        ("targets", targets, network.layers[-1].connection.neurons),
    ):
        if stream is None:
            continue
        wanted = (*inputs.shape[:-1], width)
        if stream.shape != wanted:
            raise ValueError(f"{name} must have the shape {wanted}, [time, *batch, neurons], but has {stream.shape}.")


def over_a_stream(function: Callable[..., Any]) -> Callable[..., Any]:
    """`eqx.filter_jit` of function(network, inputs, [targets], *, dt, [u], ...), with the checks it needs outside.

    Streams may be lists, integers and NumPy arrays. Neither another dt nor another number in the network (beta, gamma)
    compiles anew. Networks that are returned, gradients, have the structure of the one that was given.
    """
    signature = inspect.signature(function)

    @eqx.filter_jit
    def compiled(numbers: PyTree, rest: Network, options: dict[str, Any]) -> Any:
        return function(eqx.combine(numbers, rest), **options)

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        options = dict(signature.bind(*arguments, **options).arguments)
        network = options.pop("network")
        for name in options.keys() & {"inputs", "targets"}:
            options[name] = as_float(name, options[name])
        if options.get("u") is not None:
            options["u"] = jax.tree.map(lambda x: as_float("u", x), options["u"])
        check_stream(network, options["inputs"], options.get("targets"))
        dt = options["dt"]
        options["dt"] = as_time_step(dt, network.layers[0].tau_m.dtype)
        if concrete(dt) and not np.asarray(dt) > 0:
            raise ValueError(f"dt must be positive, the time between two entries of the stream, but is {dt}.")
        numbers, rest = split_numbers(network)
        result = compiled(numbers, rest, options)
        is_network = lambda x: isinstance(x, Network)  # noqa: E731
        return jax.tree.map(lambda x: without(numbers, x) if is_network(x) else x, result, is_leaf=is_network)

    return call
