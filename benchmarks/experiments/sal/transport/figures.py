"""Figure of all transports on one axis."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.sal.transport.model import METHODS, Transport


def draw(config: Transport, fit: Fit, directory: Path) -> None:
    """Writes `transport` (PNG, PDF): angles between W and B, and losses, over epochs."""
    del config
    history = {name: np.asarray(values).T for name, values in fit.history.items()}
    style.save(draw_transports(history), directory / "transport")


def draw_transports(history: dict[str, np.ndarray]) -> Figure:
    """`history` holds metrics [seeds, epochs]; medians, and quartiles of the angles."""
    figure = Figure(figsize=(style.PAGE, 2.8), layout="constrained")
    FigureCanvasAgg(figure)
    angles, losses = figure.subplots(1, 2)
    for method, colour in zip(METHODS, style.COLOURS, strict=True):
        low, middle, high = np.percentile(history[f"angle_{method}"], (25, 50, 75), axis=0)
        epochs = np.arange(1, len(middle) + 1)
        angles.fill_between(epochs, low, high, color=colour, alpha=0.2, linewidth=0)
        angles.plot(epochs, middle, color=colour, label=method.upper())
        losses.plot(epochs, np.median(history[f"loss_{method}"], axis=0), color=colour)
    angles.set(xlabel="epoch", ylabel="angle between W and B (degrees)", ylim=(-3, 100))
    losses.set(xlabel="epoch", ylabel="loss", yscale="log")
    angles.legend(ncols=2, fontsize="small")
    return figure
