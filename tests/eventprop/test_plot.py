"""The figures show the data they are given."""

import subprocess
import sys

import jax.numpy as jnp
import jaxtyping
import matplotlib
import numpy as np
import pytest

from eventprop import plot
from eventprop.spikes import Spikes, SpikeTrains

matplotlib.use("Agg")
from matplotlib import pyplot


@pytest.fixture
def ax():
    figure, ax = pyplot.subplots()
    yield ax
    pyplot.close(figure)


@pytest.mark.parametrize(
    "spikes",
    [Spikes.from_events([1.0, 2.0, 5.0], [1, 0, 1]), SpikeTrains(jnp.array([[2.0, jnp.inf], [1.0, 5.0]]))],
    ids=["Spikes", "SpikeTrains"],
)
def test_raster(ax, spikes):
    assert plot.raster(spikes, ax) is ax
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [1.0, 2.0, 5.0])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [1, 0, 1])


def test_voltages(ax):
    values = np.arange(6.0).reshape(3, 2)
    trains = SpikeTrains(jnp.array([[0.5, jnp.inf], [jnp.inf, jnp.inf]]))
    assert plot.voltages(np.arange(3.0), values, threshold=1.0, spikes=trains, ax=ax) is ax
    first, second, threshold, ticks, none = ax.lines
    np.testing.assert_array_equal(first.get_ydata(), values[:, 0])
    np.testing.assert_array_equal(second.get_ydata(), values[:, 1])
    np.testing.assert_array_equal(threshold.get_ydata(), 1.0)
    np.testing.assert_array_equal(ticks.get_xydata(), [[0.5, 1.0]])
    assert ticks.get_color() == first.get_color() and none.get_xdata().size == 0


def test_plots_refuse_what_they_cannot_show(ax):
    with pytest.raises((ValueError, jaxtyping.TypeCheckError), match="spikes"):
        plot.raster([1.0, 2.0], ax)
    trains = SpikeTrains(jnp.ones((3, 1)))
    with pytest.raises(ValueError, match=r"spikes must be the trains of the \(2,\) neurons of values"):
        plot.voltages(np.arange(3.0), np.ones((3, 2)), spikes=trains, ax=ax)


def test_axes_are_made_when_none_are_given():
    ax = plot.raster(Spikes.from_events([1.0], [0]))
    assert ax.get_xlabel() == "time"
    pyplot.close(ax.figure)


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'credax\[plot\]'"):
        plot.raster(Spikes.from_events([1.0], [0]))


@pytest.mark.slow
def test_the_core_does_not_import_matplotlib():
    code = "import sys, eventprop; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
