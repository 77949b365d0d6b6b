import dataclasses
import math
import typing

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks._sweep import LinearRange, LogRange
from benchmarks._sweep.axes import expand, parse_value, sweepable_fields


@dataclasses.dataclass(frozen=True)
class Config:
    """All kinds of fields."""

    rate: float = 1.0
    limit: float | None = None
    width: int = 1
    flag: bool = False
    name: "str" = "a"
    order: typing.Literal["up", "down"] = "up"
    shape: tuple[int, ...] = ()


def test_only_plain_fields_are_swept():
    kinds = {"rate": float, "limit": float, "width": int, "flag": bool, "name": str, "order": str}
    assert sweepable_fields(Config) == kinds


def test_log_range_has_a_constant_ratio_and_exact_ends():
    values = LogRange(1e-4, 1e-2, 9).values()
    assert (values[0], values[-1]) == (1e-4, 1e-2)
    np.testing.assert_allclose(np.divide(values[1:], values[:-1]), 10 ** (2 / 8), rtol=1e-12)


def test_linear_range_has_a_constant_difference():
    np.testing.assert_allclose(LinearRange(-1.0, 2.0, 4).values(), [-1.0, 0.0, 1.0, 2.0], atol=1e-15)


@pytest.mark.parametrize(
    ("name", "axis", "expected"),
    [
        ("rate", "1e-4:1e-2:log3", (1e-4, 1e-3, 1e-2)),
        ("rate", "-1:1:lin3", (-1.0, 0.0, 1.0)),
        ("rate", "5, 1e1", (5.0, 10.0)),
        ("rate", (5, 10), (5.0, 10.0)),
        ("rate", np.array([0.5, 0.25]), (0.5, 0.25)),
        ("rate", jnp.array([0.5, 0.25]), (0.5, 0.25)),
        ("width", (2**n for n in range(3)), (1, 2, 4)),
        ("limit", "inf,1", (math.inf, 1.0)),
        ("width", "50,100,200", (50, 100, 200)),
        ("width", "16:128:log4", (16, 32, 64, 128)),
        ("width", LinearRange(1, 3, 3), (1, 2, 3)),
        ("width", np.arange(2), (0, 1)),
        ("flag", "true,False", (True, False)),
        ("name", "a,b:c", ("a", "b:c")),
        ("order", "down, up", ("down", "up")),
    ],
)
def test_axes_become_values_of_the_fields_type(name, axis, expected):
    values = expand(Config, {name: axis})[name]
    assert values == pytest.approx(expected) if isinstance(expected[0], float) else values == expected
    assert {type(value) for value in values} == {type(expected[0])}


def test_axes_keep_their_order():
    assert list(expand(Config, {"rate": "1,2", "width": "1,2", "flag": "true"})) == ["rate", "width", "flag"]


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"speed": "1,2"}, r"no field 'speed'; its fields are rate \(float\), limit \(float\), width \(int\)"),
        ({"shape": "1,2"}, "shape is not a float, int, str or bool"),
        ({"rate": "fast"}, "rate: 'fast' is not a number"),
        ({"rate": [True]}, "rate: True is not a number"),
        ({"rate": "nan"}, "rate: 'nan' is not a number"),
        ({"rate": "1:2"}, "rate: '1:2' is no range: write start:stop:logN"),
        ({"rate": "0:1:log3"}, "rate: .*cannot touch or cross zero, but runs from 0 to 1"),
        ({"rate": "-1:1:log3"}, "cannot touch or cross zero"),
        ({"rate": "1:2:lin1"}, "two values or more"),
        ({"rate": "1:inf:lin3"}, "must be finite"),
        ({"rate": ""}, "rate: the axis is empty"),
        ({"rate": []}, "rate: the axis is empty"),
        ({"rate": np.ones((2, 1))}, "is not a number"),
        ({"rate": 3.0}, r"rate: 3.0 is a single value: an axis is a list of values, \[3.0\]"),
        ({"rate": np.float32(3)}, "is a single value"),
        ({"rate": "1,,2"}, "rate: '' is not a number"),
        ({"rate": "1,1.0"}, "1.0 appears more than once"),
        ({"width": "1.5"}, "width: '1.5' is not a whole number"),
        ({"width": "1:4:log9"}, "appears more than once"),
        ({"flag": "maybe"}, "flag: 'maybe' is neither true nor false"),
        ({"name": LinearRange(0, 1, 2)}, "name: a range needs a numeric field"),
        ({"order": "up,left"}, "order: 'left' is not among up, down"),
        ({}, "needs an axis"),
    ],
)
def test_bad_axes_are_refused(over, message):
    with pytest.raises(ValueError, match=message):
        expand(Config, over)


def test_whole_numbers_are_read_to_the_last_digit():
    big = 2**53 + 1  # no float
    assert parse_value("width", int, f" {big} ") == big
    assert parse_value("width", int, "1e3") == 1000
    assert expand(Config, {"width": f"{big},-{big}"})["width"] == (big, -big)
