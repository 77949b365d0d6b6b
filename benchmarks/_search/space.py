"""What a search looks through: a distribution for every field."""

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
    if isinstance(space, kinds.BaseDistribution):
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
    made = kinds.IntDistribution if kind is int else kinds.FloatDistribution
    return made(low, high, log=match["kind"] == "log")


def corners(space: "Mapping[str, BaseDistribution]") -> dict[str, tuple[Value, ...]]:
    """The ends of ranges, and all values of lists, to try whether the experiment takes them."""
    return {name: getattr(d, "choices", None) or (d.low, d.high) for name, d in space.items()}  # pyright: ignore[reportAttributeAccessIssue]
