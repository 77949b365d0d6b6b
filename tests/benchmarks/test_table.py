import pytest

from benchmarks.table import difference, quantity


@pytest.mark.parametrize(
    ("metric", "mean", "std", "text"),
    [
        ("test_accuracy", 0.98104, 0.0018, "98.10 ± 0.18 %"),
        ("step_ms", 12.3456, 0.0, "12.35 ms"),
        ("divergence", 0.0123, None, "0.0123"),
        ("deviation", 4.2e-11, 1.4e-11, "4.2e-11 ± 1.4e-11"),
        ("deviation", 0.0, None, "0.000000"),
        ("deviation", None, None, "-"),
    ],
)
def test_quantities_show_what_matters(metric, mean, std, text):
    assert quantity(metric, mean, std) == text


def test_differences_are_signed():
    assert difference("test_accuracy", 0.98, 0.981) == "-0.10 points"
    assert difference("deviation", 4.2e-11, 1e-7) == "-1.0e-07"
