"""Figure of the scaling experiment, after Ellenberger et al. 2024, Fig. 9a-c."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.gle.scaling.model import Scaling


def draw(config: Scaling, fit: Fit, directory: Path) -> None:
    """Writes `sizes` (PNG, PDF) into a run's directory."""
    style.save(draw_sizes(config, fit.history), directory / "sizes")


def draw_sizes(config: Scaling, history: dict[str, Float[np.ndarray, "epochs seeds"]]) -> Figure:
    """Validation accuracy: in the end for each size, and over the epochs by depth and by width."""
    figure = Figure(figsize=(style.PAGE, 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid, by_depth, by_width = figure.subplots(1, 3)
    mean = {name.removesuffix("_accuracy"): curve.mean(axis=1) for name, curve in history.items()}
    final = np.array([[mean[f"{width}x{depth}"][-1] for depth in config.depths] for width in config.widths])
    grid.imshow(final, vmin=0, vmax=1, cmap="viridis", origin="lower", aspect="auto")
    for (row, column), value in np.ndenumerate(final):
        grid.text(column, row, f"{100 * value:.1f}", ha="center", va="center", color="w" if value < 0.7 else "k")
    grid.set(xticks=range(len(config.depths)), xticklabels=config.depths, xlabel="hidden layers")
    grid.set(yticks=range(len(config.widths)), yticklabels=config.widths, ylabel="neurons per layer")
    grid.set_title(f"validation accuracy (%) after {config.epochs} epochs")
    widest = max(config.widths)
    middle = config.depths[len(config.depths) // 2]
    for depth in config.depths:
        _curve(by_depth, mean[f"{widest}x{depth}"], f"{depth} layers")
    for width in config.widths:
        _curve(by_width, mean[f"{width}x{middle}"], f"{width} neurons")
    by_depth.set_title(f"{widest} neurons per layer")
    by_width.set_title(f"{middle} hidden layers")
    for ax in (by_depth, by_width):
        ax.set(xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1))
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        ax.legend(loc="lower right")
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def _curve(ax, accuracy: Float[np.ndarray, " epochs"], label: str) -> None:
    ax.plot(np.arange(1, len(accuracy) + 1), accuracy, label=label)
