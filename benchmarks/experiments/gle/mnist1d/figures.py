"""Figures of MNIST-1D, after Ellenberger et al. 2024: samples (Fig. 8a), the learning curves of all seeds beside the
published one (Fig. 8d), and the receptive fields that were learned (Fig. 7).
"""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

import gle
from benchmarks import datasets, style
from benchmarks._fit import Fit
from benchmarks.datasets import DataSet
from benchmarks.experiments.gle.fields import WIDTH, receptive_fields
from benchmarks.experiments.gle.mnist1d.model import DT, MNIST1D, STEPS, LagNet
from benchmarks.experiments.gle.streaming import Streaming

PUBLISHED = {1: 0.149, 5: 0.42, 10: 0.52, 20: 0.58, 30: 0.68, 40: 0.82, 50: 0.904, 75: 0.934, 150: 0.935}
"""Accuracy of the 42 040-parameter network after so many epochs, from the result files of the authors' code."""


LAGS = 8.0
"""Units of time that receptive fields are shown for."""


def draw(config: Streaming, fit: Fit, directory: Path) -> None:
    """Writes `curves`, `samples` and, of the run's first seed, `fields` (PNG, PDF) into a run's directory."""
    draw_curves(config, fit, directory)
    style.save(draw_samples(datasets.mnist1d.load(STEPS)), directory / "samples")
    network = jax.tree.map(lambda x: x[0] if eqx.is_array(x) else x, fit.network)
    style.save(draw_fields(network), directory / "fields")


def draw_curves(config: Streaming, fit: Fit, directory: Path) -> None:
    """Writes `curves` (PNG, PDF): validation accuracy over the epochs, each seed thin, their mean thick."""
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


def draw_samples(data: DataSet) -> Figure:
    """The first training sample of each class."""
    figure = Figure(figsize=(style.PAGE, 2.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(data.classes) // 2, sharex=True, sharey=True, squeeze=False)
    for label, ax in enumerate(axes.ravel()):
        sample = data.train.features[np.argmax(data.train.labels == label)]
        ax.plot(np.arange(len(sample)) * DT, sample, color=style.BLUE)
        ax.set_title(data.classes[label])
    axes[-1, 0].set(xlabel="time", ylabel="input")
    return figure


def draw_fields(network: gle.Network) -> Figure:
    """What neurons make of the past: a panel per hidden layer, a row per neuron, those with late peaks below.

    Each row over its value of the largest size, whose sign is therefore plus. Dots: tau_m - tau_r of the neuron itself.
    """
    fields = receptive_fields(network, LAGS + WIDTH, DT)[:-1]
    figure = Figure(figsize=(style.PAGE, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, -(-len(fields) // 2), squeeze=False, sharex=True)
    lags = [np.asarray(layer.tau_m - layer.tau_r) for layer in network.layers[:-1]]
    scale: dict[str, Any] = {"vmin": 0, "vmax": max(lag.max() for lag in lags), "cmap": "plasma"}
    for number, (ax, field, own) in enumerate(zip(axes.ravel(), fields, lags, strict=False), start=1):
        rows = np.asarray(field[0]).T
        late = np.arange(rows.shape[1]) * DT - WIDTH
        order = np.lexsort([np.abs(rows) @ late / np.abs(rows).sum(axis=1), np.abs(rows).argmax(axis=1)])
        largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1, keepdims=True), axis=1)
        extent = (late[0], late[-1], len(rows) - 0.5, -0.5)
        looks: dict[str, Any] = {"extent": extent, "cmap": "RdBu_r", "vmin": -1, "vmax": 1, "interpolation": "nearest"}
        image = ax.imshow((rows / largest)[order], aspect="auto", **looks)
        dots = ax.scatter(np.full(len(rows), -1.6), np.arange(len(rows)), c=own[order], s=3, linewidths=0, **scale)
        ax.set(title=f"hidden layer {number}", xlim=(-2, LAGS), yticks=[])
        ax.spines[["left", "bottom"]].set_visible(False)
    figure.colorbar(image, ax=axes[0], label="receptive field")
    figure.colorbar(dots, ax=axes[1], label=r"dots: own $\tau^m - \tau^r$")
    figure.supxlabel("how long ago the input was", fontsize=8)
    figure.supylabel("neurons, in the order of their peaks", fontsize=8)
    return figure
