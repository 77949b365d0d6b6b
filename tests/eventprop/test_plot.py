"""The figures show the data they are given."""

import subprocess
import sys
from functools import partial

import diffrax
import jax.numpy as jnp
import jaxtyping
import matplotlib
import numpy as np
import pytest

from eventprop import LI, LIF, Dense, Exact, FeedForward, FiresOnce, plot, simulate
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


def test_the_implicit_curve_turns_at_the_critical_weight(ax):
    """One spike on a LIF neuron: V peaks at t = tau_m tau_s / (tau_m - tau_s) ln(tau_m / tau_s), and for tau_m =
    4 tau_s touches the threshold 1 for w = 4^(4/3)."""
    weights, times = np.linspace(5.0, 9.0, 41), np.linspace(0.0, 30.0, 601)
    each = lambda neuron: FeedForward([(Dense(jnp.asarray(weights)[:, None]), neuron)])  # noqa: E731
    run = partial(simulate, spikes=Spikes.from_events([0.0], [0]), t1=40.0, solver=Exact(1))
    ys = run(each(LI(20.0, 5.0)), saveat=diffrax.SaveAt(ts=jnp.asarray(times))).ys
    spikes = run(each(LIF(20.0, 5.0, refractory=FiresOnce()))).spikes[0].first()
    plot.implicit_curve(weights, times, ys[0], 1.0, spikes, ax)
    fired, turns = ax.lines
    ((weight, time),) = turns.get_xydata()
    assert weight == pytest.approx(4 ** (4 / 3), rel=1e-4) and time == pytest.approx(20 / 3 * np.log(4), rel=0.02)
    # The neuron spikes above the critical weight alone, on the lower branch.
    np.testing.assert_array_equal(np.isfinite(fired.get_ydata()), weights > 4 ** (4 / 3))
    assert np.nanmax(np.where(np.isfinite(spikes), spikes, 0)) < 20 / 3 * np.log(4)


def test_a_curve_that_does_not_turn_has_no_critical_point(ax):
    times = np.linspace(0.0, 1.0, 11)
    plot.implicit_curve(np.array([1.0, 2.0]), times, times[:, None] * np.array([[2.0, 3.0]]), 1.0, ax=ax)
    assert ax.lines[0].get_xdata().size == 0
    with pytest.raises((ValueError, jaxtyping.TypeCheckError), match="values"):
        plot.implicit_curve(np.array([1.0, 2.0]), times, np.zeros((2, 11)), 1.0, ax=ax)


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
