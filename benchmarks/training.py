"""A training problem as pure functions, and the loop that runs it without leaving JAX."""

import abc
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from benchmarks.datasets import DataSet
from benchmarks.errors import InvalidInput
from benchmarks.results import RESULTS as RESULTS
from benchmarks.results import fail_where
from benchmarks.results import outcome as outcome

Metrics = dict[str, Any]


class Training(eqx.Module):
    """A training problem: what to start from, what one epoch does, and how the outcome is judged.

    Subclasses hold the data and the settings in their fields. Arrays among them reach the compiled program as
    arguments, never as constants, so keep data there rather than in closures. Every method is pure and traceable:
    `fit` and `train` apply `jit` and `vmap` from outside, with one key per seed.

    A subclass has two fields besides its own: `epochs`, and `steps_per_epoch`, the number of optimiser steps in one.
    """

    epochs: eqx.AbstractVar[int]
    """Number of epochs."""
    steps_per_epoch: eqx.AbstractVar[int]
    """Optimiser steps in an epoch; a time per step is the time of an epoch divided by it."""

    @abc.abstractmethod
    def init(self, key: PRNGKeyArray) -> PyTree:
        """The state before the first epoch: network, optimiser state, key, and whatever else changes."""

    @abc.abstractmethod
    def epoch(self, state: PyTree, number: Int[Array, ""]) -> tuple[PyTree, Metrics]:
        """Runs epoch `number` (from 0).

        Returns the new state, with the structure, shapes and dtypes of the old one, and a dictionary of scalar
        metrics such as `train_loss` and `validation_accuracy`, the same names in every epoch. The test set has no
        place here.
        """

    @abc.abstractmethod
    def finish(self, state: PyTree) -> tuple[Metrics, PyTree, Any] | tuple[Metrics, PyTree, Any, PyTree]:
        """Judges the final state: scalar metrics (those on the test set too), the trained network, and a result, from
        any package's `RESULTS`. It may return a record besides, any pytree of arrays that the figures need."""


def train(training: Training, key: PRNGKeyArray) -> tuple[Metrics, PyTree, Any]:
    """Trains from `key` to the end: one `lax.scan` over the epochs, to be jitted and vmapped from outside.

    Returns `(metrics, network, result)`: the metrics of the last epoch joined with those of `finish`, the trained
    network, and what became of it. A success that ends in NaN is `non_finite` instead.

    `fit` does the same epoch by epoch, with a progress bar and checkpoints.
    """
    return train_recorded(training, key)[:3]


def train_recorded(training: Training, key: PRNGKeyArray) -> tuple[Metrics, PyTree, Any, PyTree]:
    """`train` with the record for figures, or None."""
    check_epochs(training)
    state, history = scan_state(partial(run_epoch, training), training.init(key), jnp.arange(training.epochs))
    last = {name: values[-1] for name, values in history.items()}
    return conclude(training, state, last)


def count_batches(samples: int, batch_size: int) -> int:
    """How many whole batches there are; raises `ValueError` if there is none."""
    if not 1 <= batch_size <= samples:
        raise InvalidInput(f"batch_size must be 1..{samples}, the training set, but is {batch_size}.")
    return samples // batch_size


def shuffled_batches(key: PRNGKeyArray, samples: int, batch_size: int) -> Int[Array, "batches batch"]:
    """Indices of the samples in random order; those that fill no batch sit this epoch out."""
    batches = count_batches(samples, batch_size)
    return jax.random.permutation(key, samples)[: batches * batch_size].reshape(batches, batch_size)


def splits_of(data: DataSet) -> tuple[tuple[Array, Array], ...]:
    """Features, as floats, and labels of the splits for training, validation and test, on the device."""
    return tuple(
        (jnp.asarray(split.features, dtype=float), jnp.asarray(split.labels))
        for split in (data.train, data.validation, data.test)
    )


def select(data: PyTree, batch: Int[Array, "*batch"]) -> PyTree:
    """The samples of a batch: entries of the first axis of all arrays."""
    return jax.tree.map(lambda x: x[batch], data)


def scan_state(
    step: Callable[[PyTree, PyTree], tuple[PyTree, PyTree]], state: PyTree, xs: PyTree
) -> tuple[PyTree, PyTree]:
    """`lax.scan` for a state that also holds what is no array, such as activations: that stays as it is."""
    arrays, rest = eqx.partition(state, eqx.is_array)

    def body(arrays, x):
        state, y = step(eqx.combine(arrays, rest), x)
        return eqx.filter(state, eqx.is_array), y

    arrays, ys = jax.lax.scan(body, arrays, xs)
    return eqx.combine(arrays, rest), ys


def averaged(average: PyTree, latest: PyTree, kept: float | Float[Array, ""]) -> PyTree:
    """The running average of a network's floating-point arrays, `kept` of the old one in it."""

    def mix(old, new):
        return kept * old + (1 - kept) * new if eqx.is_inexact_array(old) else old

    return jax.tree.map(mix, average, latest)


def check_epochs(training: Training) -> None:
    """Refuses a training without epochs or without steps."""
    for name in ("epochs", "steps_per_epoch"):
        if getattr(training, name) < 1:
            raise InvalidInput(
                f"{name} of {type(training).__name__} must be at least 1, got {getattr(training, name)}."
            )


def run_epoch(training: Training, state: PyTree, number: Int[Array, ""]) -> tuple[PyTree, Metrics]:
    """`training.epoch`, whose metrics may be Python's numbers too."""
    state, metrics = unpack(training.epoch(state, number), f"{type(training).__name__}.epoch", "(state, metrics)", 2)
    return state, as_arrays(metrics)


def conclude(training: Training, state: PyTree, last: Metrics) -> tuple[Metrics, PyTree, Any, PyTree]:
    """`training.finish`, with its metrics joined to those of the last epoch, checked by `verify`; a record or None."""
    found = unpack(training.finish(state), f"{type(training).__name__}.finish", "(metrics, network, result)", 3, 4)
    metrics, network, result, *record = found
    return *verify({**last, **as_arrays(metrics)}, network, result), record[0] if record else None


def unpack(found: Any, subject: str, wanted: str, *lengths: int) -> tuple[Any, ...]:
    """What a function of the user's returned, if it is a tuple of one of these `lengths`."""
    if not (isinstance(found, tuple) and len(found) in lengths):
        raise InvalidInput(f"{subject} must return {wanted}, got {type(found).__name__}.")
    return found


def as_arrays(metrics: Any) -> Metrics:
    """Metrics, among them Python's numbers, as arrays; raises `ValueError` for what is no dictionary of numbers."""
    if not (isinstance(metrics, dict) and all(isinstance(name, str) for name in metrics)):
        raise InvalidInput(f"Metrics must be a dictionary from name to scalar, got {metrics!r}.")
    for name, value in metrics.items():
        if not isinstance(value, bool | int | float | complex | np.generic | np.ndarray | jax.Array):
            raise InvalidInput(f"Metric {name!r} must be a scalar, got {value!r}.")
    return {name: jnp.asarray(value) for name, value in metrics.items()}


def verify(metrics: Metrics, network: PyTree, result: Any) -> tuple[Metrics, PyTree, Any]:
    """Turns a success with NaN in the network, or with a metric that is not finite, into `non_finite`."""
    # Infinite parameters are legitimate (a refractory period that never ends), NaN never is.
    bad = [jnp.any(jnp.isnan(leaf)) for leaf in jax.tree.leaves(eqx.filter(network, eqx.is_inexact_array))]
    bad += [~jnp.all(jnp.isfinite(value)) for value in metrics.values()]
    return metrics, network, fail_where(jnp.any(jnp.array(bad, dtype=bool)), result)
