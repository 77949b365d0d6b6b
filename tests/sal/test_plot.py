"""The figures show the data they are given."""

import sys

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest

import sal
from sal import plot

matplotlib.use("Agg")
from matplotlib import pyplot


@pytest.fixture
def ax():
    figure, ax = pyplot.subplots()
    yield ax
    pyplot.close(figure)


def test_raster(ax):
    spikes = sal.Raster.from_counts(np.array([[0, 1], [0, 0], [1, 1]]), dt=0.5)
    assert plot.raster(spikes, ax) is ax
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[0.0, 1], [1.0, 0], [1.0, 1]])
    with pytest.raises(ValueError, match=r"one replica.*\(3, 4, 2\)"):
        plot.raster(sal.Raster(jnp.zeros((3, 4, 2)), 0.5), ax)


def test_differences(ax):
    later = jnp.array([[0.1, 0.2], [0.3, 0.1]])
    found = sal.SpikeTimingDifferences(later, *jnp.array([0.5, 0.5, 0.0, 1.0]), 0.25, 0.5)
    assert plot.differences(found, 2, ax, color="red") is ax
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_xdata(), [-0.75, -0.25, 0.25, 0.75])
    np.testing.assert_allclose(line.get_ydata(), [0.2, 0.1, 0.3, 0.1], rtol=1e-6)
    assert line.get_color() == "red"


def test_phase_plane(ax):
    w12, w21 = np.array([-1.0, 0.0, 1.0]), np.array([-2.0, 2.0])
    updates = np.arange(-6.0, 6.0).reshape(3, 2, 2)
    assert plot.phase_plane(w12, w21, updates, ax) is ax
    colours, arrows = ax.collections
    np.testing.assert_array_equal(np.ravel(colours.get_array()), np.abs(updates[..., 1]).ravel())
    np.testing.assert_array_equal(arrows.get_offsets(), [[-2, -1], [-2, 1]])
    np.testing.assert_array_equal((arrows.U, arrows.V), [[-1, 1], [-1, 1]])


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'credax\[plot\]'"):
        plot.raster(sal.Raster.from_counts(np.eye(2), dt=1.0))
