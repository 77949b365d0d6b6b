"""Figure of MNIST-1D: the learning curves of all seeds beside the published one (Ellenberger et al. 2024, Fig. 8d)."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.gle.mnist1d.model import MNIST1D, LagNet
from benchmarks.experiments.gle.streaming import Streaming

PUBLISHED = {1: 0.149, 5: 0.42, 10: 0.52, 20: 0.58, 30: 0.68, 40: 0.82, 50: 0.904, 75: 0.934, 150: 0.935}
"""Accuracy of the 42 040-parameter network after so many epochs, from the result files of the authors' code."""


def draw_curves(config: Streaming, fit: Fit, directory: Path) -> None:
    """Writes `curves.png`: validation accuracy over the epochs, each seed thin, their mean thick."""
    figure = Figure(figsize=(style.PAGE * 0.75, 3.3), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    accuracy = fit.history["validation_accuracy"]
    epochs = np.arange(1, len(accuracy) + 1)
    seeds = accuracy.shape[1]
    label = f"Credax, mean of {seeds} seeds" if seeds > 1 else "Credax, one seed"
    ax.plot(epochs, accuracy, color=style.GREEN, alpha=0.3, linewidth=0.8)
    ax.plot(epochs, accuracy.mean(axis=1), color=style.GREEN, label=label)
    if isinstance(config, MNIST1D) and not isinstance(config, LagNet):
        ax.plot(list(PUBLISHED), list(PUBLISHED.values()), "o:", color="0.4", ms=4, label="published, 42k parameters")
    ax.set(xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.grid(alpha=0.3)
    ax.legend(loc="lower right")
    ax.spines[["top", "right"]].set_visible(False)
    style.save(figure, directory / "curves")
