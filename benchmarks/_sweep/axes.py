"""The axes of a sweep: which values each swept field of a configuration takes."""

import dataclasses
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from benchmarks.errors import InvalidInput

Value = bool | int | float | str
_SWEEPABLE = (bool, float, int, str)  # the first that an annotation admits wins: `float | int` is swept as a float
_RANGE = re.compile(r"(?P<start>[^:]+):(?P<stop>[^:]+):(?P<kind>log|lin)(?P<num>\d+)")


@dataclasses.dataclass(frozen=True)
class LogRange:
    """`num` values from `start` to `stop`, both included, with a constant ratio.

    On the command line `start:stop:logN`. Raises ValueError unless both ends are finite and of the same sign and
    there are two values or more.
    """

    start: int | float
    stop: int | float
    num: int

    def __post_init__(self) -> None:
        _check_range(self, "log")
        if self.start * self.stop <= 0.0:
            raise InvalidInput(
                f"A logarithmic range cannot touch or cross zero, but runs from {self.start:g} to {self.stop:g}: "
                "use a linear range (`start:stop:linN`, LinearRange) or list the values."
            )

    def values(self) -> tuple[float, ...]:
        """The values, in order."""
        return tuple(np.geomspace(self.start, self.stop, self.num).tolist())


@dataclasses.dataclass(frozen=True)
class LinearRange:
    """`num` values from `start` to `stop`, both included, with a constant difference.

    On the command line `start:stop:linN`. Raises ValueError unless both ends are finite and there are two values or
    more.
    """

    start: int | float
    stop: int | float
    num: int

    def __post_init__(self) -> None:
        _check_range(self, "lin")

    def values(self) -> tuple[float, ...]:
        """The values, in order."""
        return tuple(np.linspace(self.start, self.stop, self.num).tolist())


def _check_range(span: LogRange | LinearRange, kind: str) -> None:
    text = f"{span.start:g}:{span.stop:g}:{kind}{span.num}"
    if span.num < 2:
        raise InvalidInput(
            f"The range {text} needs two values or more: write a single value as it is, e.g. {span.start:g}."
        )
    if not (math.isfinite(span.start) and math.isfinite(span.stop)):
        raise InvalidInput(f"The ends of the range {text} must be finite.")


Axis = LogRange | LinearRange | Iterable[Value] | np.ndarray | jax.Array | str


def sweepable_fields(config: type) -> dict[str, type]:
    """Maps each field of a configuration class that can be swept to bool, int, float or str.

    A field annotated `float | None` counts as a float, `Literal["a", "b"]` as str. Fields of other types (modules,
    tuples) are left out.
    """
    hints = typing.get_type_hints(config)
    found = {}
    for field in dataclasses.fields(config):
        annotation = hints[field.name]
        is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
        options = typing.get_args(annotation) if is_union else (annotation,)
        options = [type(x) for x in _named(annotation)] or options
        kind = next((kind for kind in _SWEEPABLE if kind in options), None)
        if field.init and kind is not None:
            found[field.name] = kind
    return found


def _named(annotation: Any) -> tuple[Value, ...]:
    """The values that a `Literal` names; none for other annotations."""
    return typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()


def check_named(config: type, name: str, value: Any) -> None:
    """Raises ValueError for a value that is none of those which the field's `Literal` names."""
    named = _named(typing.get_type_hints(config)[name])
    if named and value not in named:
        raise InvalidInput(f"{name}: {value!r} is not among {', '.join(map(str, named))}.")


def traced(default: int) -> Any:
    """A whole number of a configuration that sweeps trace as they do floats, such as the seed of a data set or a chip.

    It costs no compilation per value, but must not decide on shapes: `chip: int = benchmarks.traced(0)`.
    """
    return dataclasses.field(default=default, metadata={"traced": True})


def is_traced(config: type, name: str) -> bool:
    """Whether sweeps trace a field: floats, and whole numbers that are declared as `traced`."""
    kind = field_type(config, name)
    (field,) = (field for field in dataclasses.fields(config) if field.name == name)
    return kind is float or (kind is int and bool(field.metadata.get("traced")))


def field_type(config: type, name: str) -> type:
    """The type (bool, int, float or str) of a field; ValueError for a field that does not exist or cannot be swept."""
    fields = sweepable_fields(config)
    if name in fields:
        return fields[name]
    known = ", ".join(f"{field} ({kind.__name__})" for field, kind in fields.items())
    if name in {field.name for field in dataclasses.fields(config)}:
        raise InvalidInput(
            f"{config.__name__}.{name} is not a float, int, str or bool and cannot be set here: choose among {known}."
        )
    raise InvalidInput(f"{config.__name__} has no field {name!r}; its fields are {known}.")


def parse_value(name: str, kind: type, text: str) -> Value:
    """Reads one value of type `kind` as written on the command line."""
    text = text.strip()
    if kind is str:
        return text
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise InvalidInput(f"{name}: {text!r} is neither true nor false.")
        return text.lower() == "true"
    try:
        if kind is int and re.fullmatch(r"[+-]?\d+", text):
            return int(text)  # a float would round what is beyond 2^53
        return _convert(name, kind, float(text))
    except ValueError as error:
        raise InvalidInput(f"{name}: {text!r} is not {_NOUN[kind]}.") from error


def expand(config: type, over: Mapping[str, Any]) -> dict[str, tuple[Value, ...]]:
    """All values of every axis, converted to the types of the fields.

    **Arguments:**

    - `config`: the configuration class.
    - `over`: field name to a `LogRange`, a `LinearRange`, a sequence of values, or the same as text
        (`a:b:logN`, `a:b:linN`, or a list separated by commas).

    **Returns:** field name to values, in the order of `over`.
    """
    if not over:
        raise InvalidInput("A sweep needs an axis, for example `--over learning_rate=1e-4:1e-2:log8`.")
    kinds = {name: field_type(config, name) for name in over}
    axes = {}
    for name in over:
        values = _axis_values(name, kinds[name], over[name])
        for value in values:
            check_named(config, name, value)
        if kinds[name] is int and is_traced(config, name) and any(abs(int(value)) >= 2**31 for value in values):
            raise InvalidInput(f"{name}: a traced whole number has 32 bits, but {list(values)} need more.")
        repeated = next((value for value in values if values.count(value) > 1), None)
        if repeated is not None:
            raise InvalidInput(f"{name}: the value {repeated!r} appears more than once among {list(values)}.")
        axes[name] = values
    return axes


_NOUN = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}


def _axis_values(name: str, kind: type, axis: Any) -> tuple[Value, ...]:
    if isinstance(axis, str):
        axis = _parse_axis(name, kind, axis)
    if isinstance(axis, LogRange | LinearRange):
        if kind not in (int, float):
            raise InvalidInput(
                f"{name}: a range needs a numeric field, but this one is {_NOUN[kind]}: list the values."
            )
        values = axis.values()
        axis = [round(value) for value in values] if kind is int else values
    if not isinstance(axis, Iterable) or getattr(axis, "ndim", 1) == 0:
        raise InvalidInput(f"{name}: {axis!r} is a single value: an axis is a list of values, [{axis!r}], or a range.")
    values = tuple(_convert(name, kind, value) for value in axis)
    if not values:
        raise InvalidInput(f"{name}: the axis is empty: give at least one value.")
    return values


def _parse_axis(name: str, kind: type, text: str) -> LogRange | LinearRange | list[Value]:
    if ":" in text and kind is not str:
        match = _RANGE.fullmatch(text.strip())
        if match is None:
            raise InvalidInput(
                f"{name}: {text!r} is no range: write start:stop:logN or start:stop:linN, e.g. 1e-4:1e-2:log8."
            )
        start, stop = (float(parse_value(name, float, match[end])) for end in ("start", "stop"))
        span = LogRange if match["kind"] == "log" else LinearRange
        try:
            return span(start, stop, int(match["num"]))
        except ValueError as error:
            raise InvalidInput(f"{name}: {error}") from error
    return [parse_value(name, kind, item) for item in text.split(",")] if text.strip() else []


def _convert(name: str, kind: type, value: Any) -> Value:
    """The value as exactly `kind`, so that 5 and 5.0 make the same plan and NumPy scalars can be written as JSON."""
    if hasattr(value, "item") and np.ndim(value) == 0:  # of NumPy or JAX
        value = value.item()
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value):
        return float(value)
    if kind is int and isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0:
        return int(value)
    if kind in (bool, str) and isinstance(value, kind):
        return value
    raise InvalidInput(f"{name}: {value!r} is not {_NOUN[kind]}.")
