"""Figures of networks that learn images."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.sal.images.model import METHODS, SIDE, Images, Parameters, completed

COLOURS = {"plain": style.ORANGE, "tempered": style.BLUE}


def draw(config: Images, fit: Fit, directory: Path) -> None:
    """Writes `images` (PNG, PDF): D_KL, and what the first seed's network has learned and completes."""
    history = {name: np.asarray(values).T for name, values in fit.history.items()}
    parameters = jax.tree.map(lambda x: x[0], fit.network)
    style.save(draw_images(config, history, parameters), directory / "images")


def draw_images(config: Images, history: dict[str, np.ndarray], parameters: Parameters) -> Figure:
    """`history` holds metrics [seeds, epochs]; the weights of every hidden unit, and completed images."""
    figure = Figure(figsize=(style.PAGE, 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    halves: Any = figure.subfigures(1, 2, width_ratios=(1, 1.6))
    left, right = halves
    ax = left.subplots()
    for name in METHODS:
        low, middle, high = np.percentile(history[f"kl_{name}"], (25, 50, 75), axis=0)
        cycles = config.cycles * np.arange(1, len(middle) + 1)
        ax.fill_between(cycles, low, high, color=COLOURS[name], alpha=0.2, linewidth=0)
        ax.plot(cycles, middle, color=COLOURS[name], label=name)
    ax.set(xlabel="cycles of wake and sleep", ylabel="$D_{KL}$(images || network)", yscale="log")
    ax.legend(title="sleep phase")
    known, found = completed(config, parameters, jax.random.key(0))
    columns = max(len(known), config.hidden)
    panels = right.subplots(3, columns, squeeze=False)
    weight, given = np.asarray(parameters["weight"]), np.array(known, float)
    given[:, -SIDE:] = 0.5
    largest = np.max(np.abs(weight))
    rows = ((weight, (-largest, largest), "RdBu_r"), (given, (0, 1), "gray"), (np.asarray(found), (0, 1), "gray"))
    for axes, (pixels, limits, colours) in zip(panels, rows, strict=True):
        for ax in axes:
            ax.set_axis_off()
        for ax, image in zip(axes, pixels, strict=False):
            ax.imshow(image.reshape(SIDE, SIDE), vmin=limits[0], vmax=limits[1], cmap=colours)
    for axes, title in zip(panels, ("weights of the hidden units", "clamped", "completed"), strict=True):
        label = axes[0].text(0, 1.15, title, transform=axes[0].transAxes)
        label.set_in_layout(False)  # else the first column is as wide as this
    return figure
