"""Figures of latent equilibrium, after Ellenberger et al. 2024: images (Fig. 8c) and learning curves."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from benchmarks import datasets, style
from benchmarks._fit import Fit
from benchmarks.datasets import DataSet
from benchmarks.experiments.gle.latent_equilibrium.model import Dense


def draw(config: Dense, fit: Fit, directory: Path) -> None:
    """Writes `curves` and `samples` (PNG, PDF) into a run's directory."""
    style.save(draw_curves(config, fit.history["validation_accuracy"]), directory / "curves")
    style.save(draw_samples(datasets.load(config.dataset)), directory / "samples")


def draw_curves(config: Dense, accuracy: np.ndarray) -> Figure:
    """Validation accuracy over the epochs, each seed thin, their mean thick."""
    figure = Figure(figsize=(style.COLUMN, 2.2), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    epochs = np.arange(1, len(accuracy) + 1)
    ax.plot(epochs, accuracy, color=style.GREEN, alpha=0.3, linewidth=0.8)
    ax.plot(epochs, accuracy.mean(axis=1), color=style.GREEN)
    ax.set(xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1))
    ax.set_title("backpropagation" if config.backpropagation else "latent equilibrium")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    return figure


def draw_samples(data: DataSet) -> Figure:
    """The first training image of each class."""
    figure = Figure(figsize=(style.PAGE, 1.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(data.classes))
    for label, ax in enumerate(axes):
        image = data.train.features[np.argmax(data.train.labels == label)]
        ax.imshow(image, cmap="Greys" if image.ndim == 2 else None)
        ax.set_title(data.classes[label], fontsize=7)
        ax.set_axis_off()
    return figure
