"""What a metric is: whether it shall be large or small, and on which split of the data it was measured."""

import dataclasses
import fnmatch
from collections.abc import Iterable
from typing import Any

from benchmarks.errors import InvalidInput

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Metric:
    """A declaration of a metric that an experiment returns.

        Metric("weight_error", higher_is_better=False)
        Metric("kl_*", higher_is_better=False)                   # all that begin so
        Metric("correlation", higher_is_better=True, split="test")

    A `Card` has them as `metrics`. A function of one's own, or a `Training`, has an attribute of this name:
    `experiment.metrics = (...)`, below the function.
    """

    name: str
    """As it is returned, or a pattern: `*` stands for what depends on the settings."""
    higher_is_better: bool | None = None
    """None for what is neither to be made large nor small, such as a number of spikes: nothing is chosen by it."""
    split: str | None = None
    """Where it was measured: "train", "validation" or "test"; by default what its name begins with (`test_loss`), or
    None, on no data. By a metric of the test set nothing is chosen, so that its figures keep their worth."""

    def __post_init__(self):
        if self.split is None:
            object.__setattr__(self, "split", next((s for s in SPLITS if self.name.startswith(f"{s}_")), None))
        elif self.split not in SPLITS:
            raise InvalidInput(f"split of metric {self.name!r}: {self.split!r} is none of {', '.join(SPLITS)}.")


STANDARD = (
    *(Metric(f"{split}_accuracy", higher_is_better=True) for split in SPLITS),
    *(Metric(f"{split}_loss", higher_is_better=False) for split in SPLITS),
    Metric("step_ms", higher_is_better=False),
    Metric("compile_s", higher_is_better=False),
)
"""Metrics that mean the same everywhere, and need no declaration."""


def metrics_of(experiment: Any) -> tuple[Metric, ...]:
    """What a card, a function or a class declares; raises ValueError if that is something else."""
    metrics = getattr(experiment, "metrics", ())
    if not (isinstance(metrics, tuple | list) and all(isinstance(metric, Metric) for metric in metrics)):
        raise InvalidInput(f"metrics: must be a tuple of benchmarks.Metric, but is {metrics!r}.")
    return tuple(metrics)


def declaration(metrics: Iterable[Metric], name: str) -> Metric | None:
    """What is declared of a metric: under its own name, or under the first pattern that fits."""
    known = (*metrics, *STANDARD)
    exact = (metric for metric in known if metric.name == name)
    return next(exact, next((metric for metric in known if fnmatch.fnmatchcase(name, metric.name)), None))


def refuse_test_metric(metrics: Iterable[Metric], name: str) -> None:
    """Refuses to choose settings or seeds by what they do on the test set."""
    if (declaration(metrics, name) or Metric(name)).split == "test":
        raise InvalidInput(
            f"metric: no ranking by {name!r}: choosing by the test set makes its figures worthless; rank by a "
            "validation metric such as 'validation_accuracy'."
        )


def to_rank_by(metrics: Iterable[Metric], name: str) -> Metric:
    """The declaration of a metric that shall rank settings; refuses what is of the test set or has no direction."""
    refuse_test_metric(metrics, name)
    metric = declaration(metrics, name)
    if metric is None:
        raise InvalidInput(
            f"metric: whether {name!r} shall be large or small is declared nowhere: write, below your function, "
            f"FUNCTION.metrics = (benchmarks.Metric({name!r}, higher_is_better=...),)."
        )
    if metric.higher_is_better is None:
        raise InvalidInput(f"metric: {name!r} is neither to be made large nor small: rank by another one.")
    return metric
