"""Networks that differ in their feedback weights B alone, side by side (Max et al. 2024, Figs. 4, 5)."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

import gle
from benchmarks.datasets import DataSet, Split
from benchmarks.errors import InvalidInput
from benchmarks.training import Metrics, scan_state
from gle import RESULTS

METHODS = ("bp", "fa", "kp", "pal", "sal")
"""B is W (backpropagation), fixed (feedback alignment), learns with W (Kolen-Pollack), from noise (phaseless alignment
learning), or from spikes in a twin before each epoch (spike-based alignment learning)."""

Samples = tuple[Float[Array, "_samples sources"], Int[Array, " _samples"]]
"""Inputs and labels of a split."""


class State(eqx.Module):
    """What changes."""

    learners: dict[str, gle.Learner]
    key: PRNGKeyArray
    result: RESULTS


def feedback(method: str, b: gle.Dense) -> gle.AbstractFeedback:
    """How errors go back: through the transpose of W, or through B, which learns with W or as others teach it."""
    kinds = {"bp": lambda _: gle.Transpose(), "kp": gle.KolenPollack}
    return kinds.get(method, gle.FeedbackAlignment)(b)


def through(
    state: State,
    key: PRNGKeyArray,
    batches: tuple[Array, Array],
    dream: Callable[[gle.Learner], gle.Learner],
    learn: Callable[[str], Callable[..., tuple[gle.Learner, RESULTS]]],
    measure: Callable[[str, Any], Metrics],
) -> tuple[State, Metrics]:
    """An epoch of every network: `learn(name)` takes (learner, batch, key), `measure` the name and what has learned.

    key: of the next epoch. batches: one after another, with their keys. dream: what the twin of spikes does before.
    """
    learners, metrics, worst = {}, {}, state.result
    for name, learner in state.learners.items():
        if name == "sal":
            learner = dream(learner)
        step = learn(name)

        def batch(carry, chosen, step=step):
            learner, worst = carry
            learner, result = step(learner, *chosen)
            return (learner, RESULTS.where(worst == RESULTS.successful, result, worst)), None

        (learners[name], worst), _ = scan_state(batch, (learner, worst), batches)
        metrics |= measure(name, learners[name].network)
    return State(learners, key, worst), metrics


def nothing(network: Any, signals: Any) -> None:
    """What is kept of each step."""


def splits(data: DataSet, samples: int) -> tuple[Samples, Samples, Samples]:
    """The first samples of the training set, validation set and test set. Raises ValueError if there are too few."""
    if samples > len(data.train):
        raise InvalidInput(f"samples must be at most {len(data.train)}, the training set, but is {samples}.")
    chosen = Split(data.train.features[:samples], data.train.labels[:samples])
    return _flat(chosen), _flat(data.validation), _flat(data.test)


def _flat(split: Split) -> Samples:
    """Features as vectors, bytes between 0 and 1, and labels."""
    scale = 255 if split.features.dtype == np.uint8 else 1
    return jnp.asarray(split.features.reshape(len(split), -1) / scale, float), jnp.asarray(split.labels)
