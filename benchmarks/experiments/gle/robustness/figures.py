"""Figure of the robustness experiment, after Ellenberger et al. 2024, Fig. 9d, e."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.gle.robustness.model import Robustness, members

TITLES = ("noise in time constants", "noise in rates")


def draw(config: Robustness, fit: Fit, directory: Path) -> None:
    """Writes `noise` (PNG, PDF) into a run's directory."""
    style.save(draw_noise(config, fit.history), directory / "noise")


def draw_noise(config: Robustness, history: dict[str, Float[np.ndarray, "epochs seeds"]]) -> Figure:
    """Validation accuracy over the epochs for each level of noise: mean, and standard deviation over the seeds."""
    figure = Figure(figsize=(style.PAGE, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, sharey=True)
    for kind, (ax, title) in enumerate(zip(axes, TITLES, strict=True)):
        shown = {name: levels[kind] for name, levels in members(config).items() if levels[1 - kind] == 0}
        shown = {name: level for name, level in shown.items() if level or name == "without_noise"}
        for number, (name, level) in enumerate(shown.items()):
            accuracy = history[f"{name}_accuracy"]
            epochs = np.arange(1, len(accuracy) + 1)
            mean, std = accuracy.mean(axis=1), accuracy.std(axis=1, ddof=min(1, accuracy.shape[1] - 1))
            colour = colormaps["viridis"](0.9 * number / max(1, len(shown) - 1))
            ax.plot(epochs, mean, color=colour, label=f"{level:g}")
            ax.fill_between(epochs, mean - std, mean + std, color=colour, alpha=0.15, linewidth=0)
        ax.set(title=title, xlabel="epoch", ylim=(0, 1))
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        ax.legend(title="standard deviation", loc="upper left", ncols=3)
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("validation accuracy")
    return figure
