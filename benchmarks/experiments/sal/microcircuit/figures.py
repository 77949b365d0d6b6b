"""Figures of the microcircuit (Gierlich et al., Fig. 6b, c)."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.sal.microcircuit.model import METHODS, TEACHER, MicrocircuitTask

COLOURS = {"sal": style.GREEN, "bp": style.BLUE, "fa": style.ORANGE}
NAMES = {"sal": "SAL", "bp": "BP", "fa": "FA"}


def figure_6(config: MicrocircuitTask, fit: Fit, directory: Path) -> None:
    """Writes `microcircuit` (PNG, PDF): losses, one course of the weights under SAL, and where all weights end."""
    del config
    history = {name: np.asarray(values).T for name, values in fit.history.items()}
    style.save(draw_learning(history), directory / "microcircuit")


def draw_learning(history: dict[str, np.ndarray]) -> Figure:
    """`history` holds metrics [seeds, epochs]."""
    figure = Figure(figsize=(style.PAGE, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    (losses, course), (final, ends) = figure.subplots(2, 2)
    for method in METHODS:
        low, middle, high = np.percentile(history[f"validation_loss_{method}"], (25, 50, 75), axis=0)
        epochs = np.arange(1, len(middle) + 1)
        losses.fill_between(epochs, low, high, color=COLOURS[method], alpha=0.2, linewidth=0)
        losses.plot(epochs, middle, color=COLOURS[method], label=NAMES[method])
    losses.set(yscale="log", xlabel="epoch", ylabel="validation loss", title="median and quartiles of the seeds")
    losses.legend()
    _draw_course(course, history)
    for place, method in enumerate(METHODS):
        loss = history[f"validation_loss_{method}"][:, -1]
        shift = np.linspace(-0.2, 0.2, len(loss))
        final.plot(place + shift, loss, "o", color=COLOURS[method], markersize=4)
        for column, weight in enumerate(("w10", "w21")):
            value = history[f"{weight}_{method}"][:, -1]
            ends.plot(4 * column + place + shift, value, "o", color=COLOURS[method], markersize=4)
    final.set(yscale="log", ylabel="final validation loss")
    final.set_xticks(range(3), [NAMES[m] for m in METHODS])
    ends.axhline(TEACHER[0], color="0.6", linestyle="--", linewidth=0.8, zorder=0)
    ends.set(ylabel="final weight (teacher: 2)")
    ends.set_xticks([1, 5], ["$W_{1,0}$", "$W_{2,1}$"])
    return figure


def _draw_course(ax: Axes, history: dict[str, np.ndarray]) -> None:
    """Weights of the seed whose backward weight begins with the wrong sign and is the farthest off, if there is one."""
    wrong = history["b_sal"][:, 0] * np.sign(TEACHER[1])
    seed = int(np.argmin(wrong))
    epochs = np.arange(1, history["b_sal"].shape[1] + 1)
    for weight, colour, name in (
        ("w10", "black", "$W_{1,0}$"),
        ("w21", style.RED, "$W_{2,1}$"),
        ("b", style.GREEN, "B"),
    ):
        ax.plot(epochs, history[f"{weight}_sal"][seed], color=colour, label=name)
    ax.plot(epochs, history["w10_fa"][seed], ":", color="black", label="$W_{1,0}$, FA")
    ax.axhline(TEACHER[0], color="0.6", linestyle="--", linewidth=0.8, zorder=0)
    ax.set(xlabel="epoch", ylabel="weight", title=f"SAL, seed {seed}", ylim=(-6, 6))
    ax.legend(fontsize="small")
