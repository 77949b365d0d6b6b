"""Figures of the deep networks with backward weights of their own (Gierlich et al., Figs. 7, 8)."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from benchmarks._fit import Fit

COLOURS = ("tab:blue", "tab:orange", "tab:green")
LAYERS = (1, 2, 3)


def figure_7(config: Any, fit: Fit, directory: Path) -> None:
    """Writes `curves.png`: accuracy, and angles between W and B, over the epochs; seeds thin, their mean thick."""
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _curves(left, fit.history["validation_accuracy"], "tab:blue", config.method)
    left.yaxis.set_major_formatter(PercentFormatter(1.0))
    left.set(xlabel="epoch", ylabel="validation accuracy")
    _angles(right, fit)
    figure.savefig(directory / "curves.png", dpi=130)


def figure_8(config: Any, fit: Fit, directory: Path) -> None:
    """Writes `angles.png`: angles between constant W and learning B over the time of the spiking network, per rate."""
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(config.sal_rates)))
    seconds = config.duration * config.replicas / 1000
    for layer, axes in zip(LAYERS, figure.subplots(1, 3, sharex=True, sharey=True), strict=True):
        for rate, colour in zip(config.sal_rates, colours, strict=True):
            _curves(axes, fit.history[f"angle_{layer}_{rate:g}"], colour, f"$\\eta$ = {rate:g}", seconds)
        axes.set(xlabel="network time of all replicas in s", title=f"dense layer {layer}", ylim=(0, 100))
        axes.label_outer()
    figure.axes[0].set(ylabel="angle between W and B in degrees")
    figure.axes[0].legend(frameon=False)
    figure.savefig(directory / "angles.png", dpi=130)


def _angles(axes: Axes, fit: Fit) -> None:
    for layer, colour in zip(LAYERS, COLOURS, strict=True):
        _curves(axes, fit.history[f"angle_{layer}"], colour, f"dense layer {layer}")
    axes.set(xlabel="epoch", ylabel="angle between W and B in degrees", ylim=(0, 100))
    axes.legend(frameon=False)


def _curves(axes: Axes, values: np.ndarray, colour: Any, label: str, per_epoch: float = 1.0) -> None:
    x = per_epoch * np.arange(1, len(values) + 1)
    axes.plot(x, values, color=colour, alpha=0.3, linewidth=0.8)
    axes.plot(x, values.mean(axis=1), color=colour, label=label)
    axes.spines[["top", "right"]].set_visible(False)
