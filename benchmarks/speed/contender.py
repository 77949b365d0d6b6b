"""What a package has to provide to be timed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import optax

from benchmarks.speed.problem import OPTIMISER


@dataclass(frozen=True)
class Contender:
    """The problem in the terms of one package.

    - `loss`: pure, `loss(weights, *batch) -> (loss, spikes)`, where `spikes` is the number of spikes in the batch;
    - `bound`: the spike or event bounds it runs with, in words;
    - `spikes`: how many spikes there are, found with far larger bounds; None if none can be lost unnoticed;
    - `hidden_spikes`: of the whole layer, mean over the trials; None if the package does not tell;
    - `remark`: where it differs from the others.
    """

    loss: Callable[..., Any]
    weights: Any
    batch: tuple[Any, ...]
    bound: str
    spikes: int | None
    hidden_spikes: float | None
    remark: str = ""


def training_step(contender: Contender) -> Callable[..., Any]:
    """Forward, loss, gradient and Adam: `step(weights, state, *batch) -> (weights, state, loss, spikes)`."""

    def step(weights, state, *batch):
        (loss, spikes), gradient = jax.value_and_grad(contender.loss, has_aux=True)(weights, *batch)
        updates, state = OPTIMISER.update(gradient, state, weights)
        return optax.apply_updates(weights, updates), state, loss, spikes

    return step
