"""Figure of two weights that align, after Gierlich et al., Fig. 2d, e."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import sal
from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.sal.pair.model import Course, Pair, network
from sal import plot
from sal.two_weights import attractor, phase_plane

BOTH, ONE = style.RED, "0.25"
GRID = 17
LIMIT = 2.0


def draw(config: Pair, fit: Fit, directory: Path) -> None:
    """Writes `pair` (PNG, PDF) into a run's directory, from the record of the run's first seed."""
    style.save(draw_courses(config, *fit.recorded()), directory / "pair")


def draw_courses(config: Pair, found: Course, theory: Course) -> Figure:
    """Weights over time on the left, in the plane of both weights on the right."""
    figure = Figure(figsize=(style.PAGE, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    _draw_time(left, config, found, theory)
    _draw_plane(figure, right, config, found)
    return figure


def _draw_time(ax: Axes, config: Pair, found: Course, theory: Course) -> None:
    records = found.both.shape[-2]
    time = np.arange(records + 1) * config.duration / records
    start = np.array([[config.w12, config.w21]])
    curves = ((BOTH, found.both, theory.both, "both learn"), (ONE, found.one, theory.one, r"only $W_{21}$ learns"))
    for colour, runs, curve, label in curves:
        for synapse in range(2):
            quartiles = np.percentile(runs[..., synapse], (25, 50, 75), axis=0)
            low, middle, high = (np.concatenate([start[0, synapse : synapse + 1], q]) for q in quartiles)
            ax.fill_between(time, low, high, color=colour, alpha=0.2, linewidth=0)
            ax.plot(time, middle, color=colour, label=label if synapse else None)
            ax.plot(time[1:], curve[:, synapse], ":", color="black", linewidth=1.2, zorder=3)
    ax.plot([], [], ":", color="black", label="theory")
    for synapse, (name, below) in enumerate((("$W_{12}$", -14), ("$W_{21}$", 2))):
        ax.annotate(name, (0, start[0, synapse]), (6, below), textcoords="offset points")
    ax.margins(y=0.08)
    ax.locator_params(axis="x", nbins=5)
    ax.set(xlabel=r"time ($\tau_{\mathrm{ref}}$)", ylabel="weight")
    ax.set_title(f"median and quartiles of {found.both.shape[0]} simulations")
    ax.legend()
    ax.spines[["top", "right"]].set_visible(False)


def _draw_plane(figure: Figure, ax: Axes, config: Pair, found: Course) -> None:
    grid = jnp.linspace(-LIMIT, LIMIT, GRID)
    alone, window, dt = network(config), sal.Exponential(1.0), 1 / config.steps
    plot.phase_plane(grid, grid, phase_plane(alone, grid, grid, window, dt=dt), ax)
    figure.colorbar(ax.collections[0], ax=ax, label=r"$|\langle\Delta W\rangle| / \eta$ per pair of spikes")
    ax.plot(grid, attractor(alone, grid, window, dt=dt, tolerance=1e-4), color=style.BLUE, linewidth=2.5)
    for colour, runs in ((BOTH, found.both), (ONE, found.one)):
        path = np.concatenate([[[config.w12, config.w21]], np.median(runs, axis=0)])
        ax.plot(path[:, 1], path[:, 0], color=colour, linewidth=2)
    ax.plot(config.w21, config.w12, "o", color="black", markersize=5)
    ax.set_title("theory: arrows, attractor (blue);\npaths of the weights")
