"""What a search looks through: a distribution for every field."""

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchmarks._sweep.axes import Value, expand, field_type, parse_value
from benchmarks.errors import InvalidInput, MissingPackage

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_RANGE = re.compile(r"(?P<low>[^:,]+):(?P<high>[^:,]+):(?P<kind>log|lin)")


def import_optuna() -> Any:
    """The package optuna, which says nothing of its own accord."""
    try:
        import optuna
    except ImportError as error:
        raise MissingPackage("A search needs the package optuna: pip install 'credax[search]'.") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def distributions(config: type, over: Mapping[str, Any]) -> "dict[str, BaseDistribution]":
    """The distribution of every field: of a range `low:high:log` or `low:high:lin`, or of a list of values.

    Raises ValueError for what is neither, for fields that cannot be set, and for empty ranges.
    """
    optuna = import_optuna()
    if not over:
        raise InvalidInput("A search needs something to look through, e.g. `--over learning_rate=1e-4:1e-2:log`.")
    return {name: _distribution(optuna.distributions, config, name, field) for name, field in over.items()}


def _distribution(kinds: Any, config: type, name: str, space: Any) -> Any:
    kind = field_type(config, name)
    made = kinds.IntDistribution if kind is int else kinds.FloatDistribution
    if isinstance(space, kinds.CategoricalDistribution):
        space = space.choices
    if isinstance(space, kinds.BaseDistribution):
        if not isinstance(space, made) or kind not in (int, float):
            raise InvalidInput(f"{name}: {space} does not fit a field of type {kind.__name__}.")
        expand(config, {name: {space.low, space.high}})
        return space
    if not (isinstance(space, str) and ":" in space and kind is not str):
        return kinds.CategoricalDistribution(expand(config, {name: space})[name])
    match = _RANGE.fullmatch(space.strip())
    if match is None or kind is bool:
        raise InvalidInput(f"{name}: {space!r} is no range: write low:high:log or low:high:lin, e.g. 1e-4:1e-2:log.")
    low, high = (parse_value(name, kind, match[end]) for end in ("low", "high"))
    assert isinstance(low, int | float) and isinstance(high, int | float)
    if low >= high or (low <= 0 and match["kind"] == "log"):
        raise InvalidInput(f"{name}: {space!r} is empty: low must be below high, and above 0 in a logarithmic range.")
    if not math.isfinite(high - low):
        raise InvalidInput(f"{name}: the ends of the range {space!r} must be finite.")
    expand(config, {name: (low, high)})  # says what is wrong with its ends, if anything
    return made(low, high, log=match["kind"] == "log")


def edges(space: "Mapping[str, BaseDistribution]") -> list[dict[str, tuple[Value, ...]]]:
    """The ends of ranges, and all values of lists, to try whether the experiment takes them.

    One field at a time, with the first values of the others: of their combinations there may be billions.
    """
    ends = {name: tuple(getattr(d, "choices", None) or {d.low: 0, d.high: 0}) for name, d in space.items()}  # pyright: ignore[reportAttributeAccessIssue]
    first = {name: values[:1] for name, values in ends.items()}
    return [first | {name: values} for name, values in ends.items()]
