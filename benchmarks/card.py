"""The card of an experiment: a configuration, a pure function of it, and the published figures to compare with."""

import contextlib
import dataclasses
import difflib
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from benchmarks.errors import InvalidInput
from benchmarks.metric import Metric, declaration
from benchmarks.training import Training

ALLOWED = (bool, int, float, str, tuple)
RESERVED = ("seed", "seeds", "resume", "results", "compilation_cache")
"""The options of every run, which no field may be called."""


@dataclasses.dataclass(frozen=True)
class Published:
    """A published figure that an experiment reproduces."""

    metric: str
    """Which of the experiment's metrics it is."""
    mean: float
    """Its published mean (fractions, not percent)."""
    std: float | None = None
    """Its published standard deviation over seeds, if there is one."""
    seeds: int | None = None
    """Over how many seeds it was taken."""
    source: str = ""
    """Where it stands: paper, table or figure."""
    epochs: int | None = None
    """How long the published training was; None for as many epochs as the configuration's default."""


@dataclasses.dataclass(frozen=True)
class Card:
    """What the command line, `sweep` and `report` know of an experiment.

    Raises `ValueError` if `config` is not a frozen dataclass of plain values with a one-line description.
    """

    name: str
    """Its name on the command line, such as `eventprop-yinyang`."""
    config: type
    """A frozen dataclass with a one-line docstring. Its defaults are the published values; its fields are bool, int,
    float, str or tuples of these. Float fields can be traced and vmapped, the others are static. Whole numbers are
    counts, from 1, unless the default is less."""
    function: Callable[[Any, PRNGKeyArray], tuple[Any, ...]]
    """`(config, key) -> (metrics, network, result)`, pure. Without a `training` it may return a record besides, any
    pytree of arrays that the figures need: the run saves it, and a sweep leaves it out. (With one, `finish` may.)"""
    training: Callable[[Any], Training] | None = None
    """`config -> Training`. If given, runs are made by `fit`, with progress and checkpoints; else `function` runs in
    one piece."""
    figures: Callable[..., None] | None = None
    """`(config, fit, directory)`, writes figures (PNG, PDF) into the run's directory, from what the run has saved:
    `fit.history`, `fit.network` and `fit.record`."""
    published: tuple[Published, ...] = ()
    """The figures to compare with."""
    metrics: tuple[Metric, ...] = ()
    """The metrics that it returns, besides losses and accuracies of the splits (`benchmarks.metric.STANDARD`)."""
    double: bool = False
    """Whether it needs float64, which its runs, sweeps and figures then have, whatever JAX's setting."""

    def __post_init__(self):
        if not dataclasses.is_dataclass(self.config) or not self.config.__dataclass_params__.frozen:  # pyright: ignore[reportAttributeAccessIssue]
            raise ValueError(f"config of experiment {self.name!r} must be a frozen dataclass, got {self.config!r}.")
        for field in dataclasses.fields(self.config):
            if field.name in RESERVED:
                raise ValueError(f"Field {field.name!r} of {self.config.__name__} must be renamed: every run has one.")
            value = getattr(self.config(), field.name)
            if not isinstance(value, ALLOWED):
                raise ValueError(
                    f"Field {field.name!r} of {self.config.__name__} has a {type(value).__name__} as its default; "
                    "use bool, int, float, str or a tuple of these, so that it can be set from the command line."
                )
        for figure in self.published:
            if declaration(self.metrics, figure.metric) is None:
                raise ValueError(f"Experiment {self.name!r} declares no metric {figure.metric!r}, which is published.")
        if not self.summary:
            raise ValueError(f"{self.config.__name__} needs a docstring: its first line is shown by --help.")

    @property
    def summary(self) -> str:
        """One line that says what the experiment is."""
        # A dataclass without a docstring is given its signature as one.
        text = (self.config.__doc__ or "").strip()
        return "" if text.startswith(f"{self.config.__name__}(") else text.split("\n")[0]


def check_counts(config: Any) -> None:
    """Refuses a whole number below 1, in a tuple too, where a card's configuration has a count."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        usual, found = (x if isinstance(x, tuple) else (x,) for x in (field.default, value))
        is_count = usual and all(type(number) is int and number >= 1 for number in usual)
        if is_count and any(type(number) is int and number < 1 for number in found):
            raise InvalidInput(f"{field.name} must be at least 1, but is {value}.")


def find(experiments: Mapping[str, Card], name: str) -> Card:
    """The experiment called `name`; raises `ValueError` with the names that are most alike if there is none."""
    if name not in experiments:
        alike = difflib.get_close_matches(name, [*experiments], n=3)
        asked = f": did you mean {' or '.join(alike)}?" if alike else "."
        raise InvalidInput(f"There is no experiment {name!r}{asked} `credax --help` lists all.")
    return experiments[name]


def precision(double: bool) -> contextlib.AbstractContextManager:
    """The context in which an experiment is traced and run: float64 if it needs that, else JAX's setting."""
    return jax.enable_x64(True) if double else contextlib.nullcontext()
