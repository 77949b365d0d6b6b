"""Figures of circuits with five kinds of feedback weights, after Max et al. 2024, Fig. 4."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.gle.five_ways import METHODS
from benchmarks.experiments.gle.pal.model import YinYang
from benchmarks.experiments.gle.pal.teacher import TEACHER, Teacher


def draw_classification(config: YinYang, fit: Fit, directory: Path) -> None:
    """Writes `pal` (PNG, PDF): validation error, and the angle between W and B, over epochs."""
    del config
    figure = Figure(figsize=(style.PAGE, 2.8), layout="constrained")
    FigureCanvasAgg(figure)
    errors, angles = figure.subplots(1, 2)
    for method, colour in zip(METHODS, style.COLOURS, strict=False):
        curve(errors, 100 - 100 * fit.history[f"validation_accuracy_{method}"], colour, method.upper())
        curve(angles, fit.history[f"angle_{method}"], colour, method.upper())
    errors.set(xlabel="epoch", ylabel="validation error (%)")
    angles.set(xlabel="epoch", ylabel="angle between W and B (degrees)", ylim=(-3, 100))
    figure.legend(*angles.get_legend_handles_labels(), loc="outside right center", frameon=False)
    style.save(figure, directory / "pal")


def draw_teacher(config: Teacher, fit: Fit, directory: Path) -> None:
    """Writes `teacher` (PNG, PDF): the weights of every method over epochs, all seeds."""
    del config
    figure = Figure(figsize=(style.PAGE, 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    names = {"lower": "$W$ of the hidden cell", "upper": "$W$ of the output cell", "back": "$B$"}
    for ax, (part, title) in zip(figure.subplots(1, 3), names.items(), strict=True):
        for method, colour in zip(METHODS, style.COLOURS, strict=False):
            values = fit.history[f"{part}_{method}"]
            lines = ax.plot(np.arange(1, len(values) + 1), values, color=colour, alpha=0.5, linewidth=0.8)
            lines[0].set_label(method.upper())
        if part != "back":
            ax.axhline(TEACHER, color="0.4", linestyle=":", linewidth=1)
        ax.set(xlabel="epoch", title=title, ylim=(-4, 5))
    figure.legend(*ax.get_legend_handles_labels(), loc="outside right center", frameon=False)
    style.save(figure, directory / "teacher")


def curve(ax: Axes, values: np.ndarray, colour: str, label: str) -> None:
    """The median over seeds [epochs, seeds], and their range."""
    epochs = np.arange(1, len(values) + 1)
    ax.fill_between(epochs, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.15, linewidth=0)
    ax.plot(epochs, np.median(values, axis=1), color=colour, label=label)
