"""What is done with one member, traced: how it starts, what an epoch does, how it is judged."""

import copy
import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jaxtyping import PRNGKeyArray, PyTree

from benchmarks.checkpoint import compare, describe
from benchmarks.errors import InvalidInput
from benchmarks.training import Metrics, Training, check_epochs, conclude, run_epoch, unpack

RESERVED = ("epoch", "epoch_s")
"""What every line of metrics.jsonl has besides the metrics."""


class OnePiece(Training):
    """A function in one piece as a training without epochs: its state is the key, and all is done at the end."""

    function: Callable[[PRNGKeyArray], Any] = eqx.field(static=True)
    epochs: int = 0
    steps_per_epoch: int = 1

    def init(self, key: PRNGKeyArray) -> PyTree:
        return key

    def epoch(self, state: PyTree, number: Any) -> tuple[PyTree, Metrics]:
        del number
        return state, {}

    def finish(self, state: PyTree) -> tuple[Any, ...]:
        return unpack(self.function(state), "The experiment", "(metrics, network, result)", 3, 4)


@dataclasses.dataclass(frozen=True)
class Traced:
    """A function as a jaxpr.

    The arrays that it closes over, such as data sets, are arguments: as constants they would be compiled into the
    program, copied and folded, over and over.
    """

    constants: list[Any]
    shape: PyTree
    """The arrays that it returns, by shape and dtype."""
    rest: PyTree
    """What it returns besides arrays."""
    _jaxpr: Any

    @staticmethod
    def of(function: Callable[..., PyTree], *args: PyTree) -> "Traced":
        """Traces `function` for arguments of these shapes and dtypes."""
        rest = []

        def arrays(*args):
            found, others = eqx.partition(function(*args), eqx.is_array)
            rest.append(others)
            return found

        closed, shape = jax.make_jaxpr(arrays, return_shape=True)(*args)
        return Traced(closed.consts, shape, rest[0], closed.jaxpr)

    def __call__(self, constants: list[Any], *args: PyTree) -> PyTree:
        leaves = jaxpr_as_fun(ClosedJaxpr(self._jaxpr, constants))(*jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(self.shape), leaves)


class Member:
    """The three functions of one member, with the traced settings and the key as arguments.

    - `init`: (values, key) -> state;
    - `epoch`: (values, state, number) -> (state, metrics);
    - `finish`: (values, state, the last epoch's metrics) -> (metrics, network, result, record).

    **Arguments:**

    - `at`: the training at given values of the traced settings.
    - `traced`: these settings, with their dtypes.
    - `key`: the dtype of keys; or that of seeds, from which keys are made.

    Raises `ValueError` if the training does not do what a `Training` does, and `TypeError` if a traced setting has to
    be a number: JAX raises that for a shape and for `if`, `int` and NumPy functions of a tracer.
    """

    def __init__(self, at: Callable[[dict[str, Any]], Training], traced: Mapping[str, Any], key: Any):
        self._at = at
        self.name = ""
        self.epochs = self.steps_per_epoch = 0
        self.traced = dict(traced)
        self.key = key
        started = time.perf_counter()
        values = {name: jax.ShapeDtypeStruct((), dtype) for name, dtype in traced.items()}
        self.init = Traced.of(self._init, values, jax.ShapeDtypeStruct((), key))
        state = self.init.shape
        self.epoch = Traced.of(self._epoch, values, state, jax.ShapeDtypeStruct((), jnp.result_type(int)))
        last = self.epoch.shape[1]
        self.finish = Traced.of(self._finish, values, state, last)
        self.metrics = list(self.finish.shape[0])
        """The names of all metrics in the end."""
        self.trace_s = time.perf_counter() - started

    def _init(self, values: dict[str, Any], key: Any) -> PyTree:
        training = self._at(values)
        self.name = type(training).__name__
        if not isinstance(training, OnePiece):
            check_epochs(training)
        self.epochs, self.steps_per_epoch = int(training.epochs), int(training.steps_per_epoch)
        return key if isinstance(training, OnePiece) else _jaxed(training.init(_as_key(key)))

    def _epoch(self, values: dict[str, Any], arrays: PyTree, number: Any) -> tuple[PyTree, Metrics]:
        state = eqx.combine(arrays, self.init.rest)
        after, metrics = run_epoch(self._at(values), state, number)
        after = _jaxed(after)
        change = compare(describe(state), describe(after))
        if change:
            raise InvalidInput(
                f"{self.name}.epoch must return a state with the structure, shapes and dtypes of its argument; it does "
                f"not ({change}; 'there' is before the epoch, 'here' is after it)."
            )
        self._check(metrics, f"{self.name}.epoch")
        return eqx.filter(after, eqx.is_array), metrics

    def _finish(self, values: dict[str, Any], arrays: PyTree, last: Metrics) -> tuple[Any, ...]:
        state = eqx.combine(arrays, self.init.rest)
        found = conclude(self._at(values), state if self.epochs else _as_key(state), last)
        self._check(found[0], f"{self.name}.finish" if self.epochs else "the experiment")
        return found

    def _check(self, metrics: Metrics, owner: str) -> None:
        for name, value in metrics.items():
            if value.shape != () or jnp.iscomplexobj(value):
                found = "complex number" if jnp.iscomplexobj(value) else f"shape {value.shape}"
                raise InvalidInput(f"Metric {name!r} of {owner} must be a real scalar, got {found}.")
            if self.epochs and name in RESERVED:
                raise InvalidInput(f"Metric {name!r} of {owner} must be renamed: every line of the metrics has one.")


def _as_key(seed: Any) -> Any:
    return seed if jnp.issubdtype(seed.dtype, jax.dtypes.prng_key) else jax.random.key(seed)


def _jaxed(state: PyTree) -> PyTree:
    """The state with NumPy's arrays as JAX's: what is in it may change."""
    return jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, np.ndarray | np.generic) else x, state)


def assign(config: Any, values: dict[str, Any]) -> Any:
    """A copy of the frozen `config` with traced `values`.

    Unlike dataclasses.replace it leaves out __post_init__, which could not look at traced values; it has seen the
    concrete ones when the sweep was planned.
    """
    assigned = copy.copy(config)
    for name, value in values.items():
        object.__setattr__(assigned, name, value)
    return assigned
