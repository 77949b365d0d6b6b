"""Figure of the Mackey-Glass experiment, after Ellenberger et al. 2024, Fig. 10: continuations and learning curve."""

from pathlib import Path

import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.datasets.mackey_glass import LYAPUNOV_TIME
from benchmarks.experiments.gle.mackey_glass.model import DT, Continuations, MackeyGlass, early_epoch, smape


def draw(config: MackeyGlass, fit: Fit, directory: Path) -> None:
    """Writes `continuation` (PNG, PDF) into a run's directory, of its first seed."""
    style.save(draw_continuations(config, fit.recorded(), fit.history["smape"]), directory / "continuation")


def draw_continuations(config: MackeyGlass, found: Continuations, curve: np.ndarray) -> Figure:
    """The sequence that is in the middle in the end, early and in the end; best and worst; sMAPE over epochs."""
    figure = Figure(figsize=(style.PAGE, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    *axes, below = figure.subplots(5, 1)
    # The best and the worst one too, so that nobody has to guess what was left out.
    order = np.argsort(smape(found.last, found.truth))
    best, median, worst = order[[0, len(order) // 2, -1]]
    early, last = early_epoch(config), config.epochs
    rows = (
        ("median", median, early, found.early),
        ("median", median, last, found.last),
        ("best", best, last, found.last),
        ("worst", worst, last, found.last),
    )
    for ax, (name, number, epoch, continued) in zip(axes, rows, strict=True):
        error = _draw_one(ax, continued[number], found.truth[number])
        ax.set_title(f"{name} of {len(order)} sequences, after epoch {epoch}: sMAPE {error:.1f} %")
    axes[0].legend(ncols=2, loc="lower right", borderaxespad=0)
    axes[-1].set_xlabel("Lyapunov times after the last true input")
    below.plot(np.arange(1, len(curve) + 1), curve, color=style.GREEN)
    for epoch in (early, last):
        below.axvline(epoch, color="0.7", linestyle="--", linewidth=0.8, zorder=0)
    below.axhline(14.25, color="0.4", linestyle=":", label="published, last epoch")
    below.set(xlabel="epoch (dashed: those above)", ylabel="sMAPE (%)", ylim=(0, None))
    below.legend()
    return figure


def _draw_one(ax: Axes, continued: Float[Array, " steps"], truth: Float[Array, " steps"]) -> float:
    """A continuation and the true series; returns its sMAPE."""
    time = np.arange(len(truth)) * DT / LYAPUNOV_TIME
    ax.plot(time, continued, color=style.GREEN, label="network")
    ax.plot(time, truth, "k--", linewidth=0.8, label="series")
    ax.set(ylim=(0, 1.5), xlim=(0, time[-1]), ylabel="x")
    return float(smape(continued, truth))
