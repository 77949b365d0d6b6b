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

NAMES = ("best", "median", "worst")


def draw(config: MackeyGlass, fit: Fit, directory: Path) -> None:
    """Writes `continuation` (PNG, PDF) into a run's directory, of its first seed."""
    style.save(draw_continuations(config, fit.recorded(), fit.history["smape"]), directory / "continuation")


def draw_continuations(config: MackeyGlass, found: Continuations, curve: np.ndarray) -> Figure:
    """The sequences that are best, in the middle and worst in the end, early and in the end; sMAPE over the epochs."""
    figure = Figure(figsize=(style.PAGE, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(NAMES) + 1, 2, height_ratios=(*[1] * len(NAMES), 1.4))
    # So that nobody has to guess what was left out.
    order = np.argsort(smape(found.last, found.truth))
    ranks = order[[0, len(order) // 2, -1]]
    early, last = early_epoch(config), config.epochs
    for column, (epoch, continued) in enumerate(((early, found.early), (last, found.last))):
        for row, number in enumerate(ranks):
            ax = figure.add_subplot(grid[row, column])
            _draw_one(ax, continued[number], found.truth[number])
            ax.set_title(f"{NAMES[row]} of {len(order)}, epoch {epoch}: {ax.get_title()}")
            if row == 0 == column:
                ax.legend(ncols=2, loc="lower right")
        ax.set_xlabel("Lyapunov times after the last true input")
    below = figure.add_subplot(grid[-1, :])
    below.plot(np.arange(1, len(curve) + 1), curve, color=style.GREEN)
    for epoch in (early, last):
        below.axvline(epoch, color="0.7", linestyle="--", linewidth=0.8, zorder=0)
    below.axhline(14.25, color="0.4", linestyle=":", label="published, last epoch")
    below.set(xlabel="epoch (dashed: those above)", ylabel="sMAPE (%)", ylim=(0, None))
    below.legend()
    return figure


def _draw_one(ax: Axes, continued: Float[Array, " steps"], truth: Float[Array, " steps"]) -> None:
    """A continuation and the true series; its sMAPE as the title."""
    time = np.arange(len(truth)) * DT / LYAPUNOV_TIME
    ax.plot(time, continued, color=style.GREEN, linewidth=1, label="network")
    ax.plot(time, truth, "k--", linewidth=0.8, label="series")
    ax.set(ylim=(0, 1.6), ylabel="x", title=f"sMAPE {smape(continued, truth):.1f} %")
