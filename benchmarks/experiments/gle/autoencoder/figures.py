"""Figure of the latent spaces, after Max et al. 2024, Fig. 5."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.gle.autoencoder.model import CLASSES, Autoencoder
from benchmarks.experiments.gle.five_ways import METHODS

SHOWN = 2000
"""Digits of the test set."""


def draw(config: Autoencoder, fit: Fit, directory: Path) -> None:
    """Writes `latent` (PNG, PDF): potentials of the latent neurons of the first seed, coloured by digit."""
    del config
    found = fit.recorded()
    figure = Figure(figsize=(style.PAGE, 1.9), layout="constrained")
    FigureCanvasAgg(figure)
    labels = np.asarray(found["labels"])[:SHOWN]
    axes = figure.subplots(1, len(METHODS))
    for ax, method in zip(axes, METHODS, strict=True):
        codes = np.asarray(found[method])[:SHOWN]
        shown = ax.scatter(*codes.T, c=labels, cmap="tab10", vmin=-0.5, vmax=CLASSES - 0.5, s=2, linewidths=0)
        accuracy = np.mean(fit.metrics[f"test_accuracy_{method}"])
        ax.set(title=f"{method.upper()}, {100 * accuracy:.0f} %", xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes, ticks=range(CLASSES), label="digit")
    style.save(figure, directory / "latent")
