"""What comes in over time: shapes, dtypes and time steps, checked before anything is compiled."""

import functools
import inspect
import operator
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PyTree

from gle.arrays import as_float, as_time_step, concrete, split_numbers, vary_alike, without
from gle.network import Network
from gle.system import AbstractSystem, dtype_of


def check_stream(system: AbstractSystem, inputs: Array, targets: Array | None) -> None:
    """Raise ValueError unless inputs and targets are [time, *batch, neurons] of the system."""
    shape = np.shape(inputs)
    if len(shape) < 2 or 0 in shape[1:-1]:
        raise ValueError(f"inputs must be [time, *batch, sources] with at least one sample, but have shape {shape}.")
    for name, stream, width in (
        ("inputs", inputs, system.sources),
        ("targets", targets, system.outputs),
    ):
        if stream is None:
            continue
        wanted = (*shape[:-1], width)
        if stream.shape != wanted:
            raise ValueError(f"{name} must have the shape {wanted}, [time, *batch, neurons], but has {stream.shape}.")


def _as_potentials(network: Network, u: Any, batch: tuple[int, ...]) -> tuple[Array, ...]:
    """Potentials to start from, as arrays. Raises ValueError unless they are [*batch, neurons] of every layer."""
    wanted = [(*batch, layer.connection.neurons) for layer in network.layers]
    potentials = tuple(as_float("u", x) for x in u)
    if [np.shape(x) for x in potentials] != wanted:
        shapes = [np.shape(x) for x in potentials]
        raise ValueError(f"u must hold the potentials of each layer, of shapes {wanted}, but has {shapes}.")
    return potentials


def over_a_stream(function: Callable[..., Any]) -> Callable[..., Any]:
    """`eqx.filter_jit` of function(network, inputs, [targets], *, dt, [u], ...), with the checks it needs outside.

    Streams may be lists, integers and NumPy arrays. Neither another dt nor another number in the network (beta, gamma)
    compiles anew. Networks that are returned, gradients, have the structure of the one that was given.
    """
    signature = inspect.signature(function)

    @eqx.filter_jit
    def compiled(numbers: PyTree, rest: AbstractSystem, options: dict[str, Any]) -> Any:
        numbers, rest, options = vary_alike((numbers, rest, options))
        return function(eqx.combine(numbers, rest), **options)

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        options = dict(signature.bind(*arguments, **options).arguments)
        network = options.pop("network")
        for name in options.keys() & {"inputs", "targets"}:
            options[name] = as_float(name, options[name])
        check_stream(network, options["inputs"], options.get("targets"))
        if "targets" in options and not len(options["inputs"]):
            raise ValueError("inputs must hold at least one step for a gradient, but have none.")
        if options.get("u") is not None and isinstance(network, Network):
            options["u"] = _as_potentials(network, options["u"], options["inputs"].shape[1:-1])
        if options.get("window") is not None:
            options["window"] = operator.index(options["window"])  # NumPy's integer would be traced
        dt = options["dt"]
        options["dt"] = as_time_step(dt, dtype_of(network))
        if concrete(dt) and not np.asarray(dt) > 0:
            raise ValueError(f"dt must be positive, the time between two entries of the stream, but is {dt}.")
        numbers, rest = split_numbers(network)
        result = compiled(numbers, rest, options)
        is_network = lambda x: isinstance(x, Network)  # noqa: E731
        return jax.tree.map(lambda x: without(numbers, x) if is_network(x) else x, result, is_leaf=is_network)

    return call
