"""The figures show the data they are given."""

import sys

import matplotlib
import numpy as np
import pytest

import gle
from gle import plot

matplotlib.use("Agg")
from matplotlib import pyplot


@pytest.fixture
def axes():
    figure, axes = pyplot.subplots(2)
    yield axes
    pyplot.close(figure)


def test_the_response_of_a_membrane_is_that_of_a_low_pass_filter(axes):
    omega = np.array([0.1, 1.0, 10.0])
    assert plot.response(gle.Retrospective(2.0).transfer, omega, axes, color="red") is axes
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), -np.arctan(2 * omega) / np.pi, rtol=1e-5)
    np.testing.assert_allclose(axes[1].lines[0].get_ydata(), 1 / np.sqrt(1 + 4 * omega**2), rtol=1e-5)
    assert axes[1].lines[0].get_color() == "red"


def test_rates_and_targets(axes):
    times, values = np.arange(3.0), np.arange(6.0).reshape(3, 2)
    assert plot.rates(times, values, values + 1, axes[0]) is axes[0]
    first, second, target, other = axes[0].lines
    np.testing.assert_array_equal(second.get_ydata(), values[:, 1])
    np.testing.assert_array_equal(target.get_ydata(), values[:, 0] + 1)
    assert target.get_color() == first.get_color() != other.get_color()


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'credax\[plot\]'"):
        plot.rates(np.arange(2.0), np.zeros((2, 1)))
