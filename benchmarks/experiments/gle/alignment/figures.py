"""Figure of the alignment experiment."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.gle.alignment.model import RULES, Alignment

TITLES = {"gle": "GLE", "instantaneous": "instantaneous errors"}


def draw(config: Alignment, fit: Fit, directory: Path) -> None:
    """Writes `alignment` (PNG, PDF) into a run's directory."""
    style.save(draw_angles(config, fit.history), directory / "alignment")


def draw_angles(config: Alignment, history: dict[str, Float[np.ndarray, "epochs seeds"]]) -> Figure:
    """Angles to the exact gradient, sizes of errors, layer by layer, and the energy: means over seeds."""
    figure = Figure(figsize=(style.PAGE, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    (angles, others) = figure.subplots(2, 2)
    for ax, name in zip(angles, RULES, strict=True):
        cosines = {n: np.clip(history[f"{name}_cosine_{n}"], -1, 1) for n in range(1, config.layers + 2)}
        _draw_layers(ax, {n: np.degrees(np.arccos(cosine)) for n, cosine in cosines.items()})
        ax.set(title=TITLES[name], ylim=(0, None))
    angles[1].sharey(angles[0])
    angles[0].set_ylabel("angle to the exact gradient (degrees)")
    angles[1].legend(loc="upper right", ncols=2)
    _draw_layers(others[0], {n: history[f"error_{n}"] for n in range(1, config.layers + 2)})
    others[0].set(ylabel="error $e$, root mean square", yscale="log")
    others[1].plot(np.arange(1, len(history["energy"]) + 1), history["energy"].mean(axis=1), color=style.BLUE)
    others[1].set(ylabel="energy $E$ per sample", ylim=(0, None))
    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
    for ax in others:
        ax.set_xlabel("epoch")
    return figure


def _draw_layers(ax: Axes, values: dict[int, Float[np.ndarray, "epochs seeds"]]) -> None:
    for layer, curves in values.items():
        colour = colormaps["viridis"](0.9 * (layer - 1) / max(1, len(values) - 1))
        ax.plot(np.arange(1, len(curves) + 1), curves.mean(axis=1), color=colour, label=f"layer {layer}")
