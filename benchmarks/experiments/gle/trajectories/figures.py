"""Figure of trajectories, after Ellenberger et al. 2024, Fig. 2."""

from pathlib import Path as File

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.gle.trajectories.model import TEACHER, Path, Trajectories, mean_cost

LOOKS = {"adjoint": ("adjoint method", style.RED), "gle": ("GLE", style.GREEN)}


def draw(config: Trajectories, fit: Fit, directory: File) -> None:
    """Writes `trajectories` (PNG, PDF) into a run's directory."""
    style.save(draw_trajectories(config, fit.recorded()), directory / "trajectories")


def draw_trajectories(config: Trajectories, paths: dict[str, Path]) -> Figure:
    """Paths over the landscape of costs above; cost over time, and paths in the plane of both weights, below."""
    figure = Figure(figsize=(style.PAGE, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, height_ratios=(1.5, 1))
    for column, (rule, (label, colour)) in enumerate(LOOKS.items()):
        ax = figure.add_subplot(grid[0, column], projection="3d")
        _draw_landscape(ax, paths["not"], paths[rule], colour)
        ax.set_title(f"{label}: learns {'after every period' if rule == 'adjoint' else 'at every step'}")
    costs = figure.add_subplot(grid[1, 0])
    _draw_costs(costs, config, paths)
    _draw_weights(figure.add_subplot(grid[1, 1]), config, paths)
    figure.legend(*costs.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _draw_landscape(ax: Axes3D, still: Path, path: Path, colour: str) -> None:
    """Cost over input and output rate; dashed: of a network that does not learn."""
    ax.plot(still.input, still.output, still.cost, "k--", linewidth=1)
    ax.plot(path.input, path.output, path.cost, color=colour)
    ax.set_xlabel("input", labelpad=-8)
    ax.set_ylabel("output rate", labelpad=-8)
    ax.set_zlabel("cost", labelpad=-8)
    ax.tick_params(pad=-3)
    ax.locator_params(nbins=3)
    ax.view_init(elev=22, azim=-60)


def _draw_costs(ax: Axes, config: Trajectories, paths: dict[str, Path]) -> None:
    """Of all three, over time."""
    time = np.arange(len(paths["not"].cost)) * config.dt
    ax.plot(time, paths["not"].cost, "k--", linewidth=1, label="without learning")
    for rule, (label, colour) in LOOKS.items():
        ax.plot(time, paths[rule].cost, color=colour, label=label)
    for period in range(1, config.periods):
        ax.axvline(period * config.period, color="0.85", linewidth=0.6, zorder=0)
    ax.set(title="grey lines: the adjoint method learns", xlabel="time", ylabel="cost")


def _draw_weights(ax: Axes, config: Trajectories, paths: dict[str, Path]) -> None:
    """Lines of equal mean cost, and the weights' paths between them."""
    x, y = np.meshgrid(np.linspace(0, 1, 81), np.linspace(0, 2, 81))
    ax.contourf(x, y, mean_cost(config, np.stack([x, y], axis=-1)), levels=12, cmap="Greys", alpha=0.6)
    for rule, (_, colour) in LOOKS.items():
        weights = np.asarray(paths[rule].weights)
        ax.plot(*weights.T, color=colour)
        ax.plot(*weights[:: round(config.period / config.dt)].T, ".", color=colour, markersize=5)
    ax.plot(*TEACHER, "*", color="black", markersize=8)
    ax.annotate("teacher", TEACHER, (8, -2), textcoords="offset points", fontsize=7)
    ax.set(
        title="mean cost (grey), a dot per period",
        xlabel="weight of the fast neuron",
        ylabel="weight of the slow neuron",
    )
