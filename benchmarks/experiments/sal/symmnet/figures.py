"""Figure of the deep networks with backward weights of their own (Gierlich et al., Fig. 7)."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from benchmarks import style
from benchmarks._fit import Fit

COLOURS = (style.BLUE, style.ORANGE, style.GREEN)
LAYERS = (1, 2, 3)


def figure_7(config: Any, fit: Fit, directory: Path) -> None:
    """Writes `curves.png`: accuracy, and angles between W and B, over the epochs; seeds thin, their mean thick."""
    figure = Figure(figsize=(style.PAGE, 2.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    curves(left, fit.history["validation_accuracy"], style.BLUE, config.method)
    left.yaxis.set_major_formatter(PercentFormatter(1.0))
    left.set(xlabel="epoch", ylabel="validation accuracy")
    _angles(right, fit)
    style.save(figure, directory / "curves")


def _angles(axes: Axes, fit: Fit) -> None:
    for layer, colour in zip(LAYERS, COLOURS, strict=True):
        curves(axes, fit.history[f"angle_{layer}"], colour, f"dense layer {layer}")
    axes.set(xlabel="epoch", ylabel="angle between W and B in degrees", ylim=(0, 100))
    axes.legend()


def curves(axes: Axes, values: np.ndarray, colour: Any, label: str, per_epoch: float = 1.0) -> None:
    """Values over the epochs (times `per_epoch`): each seed thin, their mean thick."""
    x = per_epoch * np.arange(1, len(values) + 1)
    axes.plot(x, values, color=colour, alpha=0.3, linewidth=0.8)
    axes.plot(x, values.mean(axis=1), color=colour, label=label)
    axes.spines[["top", "right"]].set_visible(False)
