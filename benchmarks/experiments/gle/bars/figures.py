"""Figure of the bars, after Haider et al. 2021, Fig. 5."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks._fit import Fit
from benchmarks.experiments.gle.bars.model import Bars


def draw(config: Bars, fit: Fit, directory: Path) -> None:
    """Writes `bars.png`: accuracy in the end over the presentation time, and over epochs, of the first seed."""
    record = fit.recorded()
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    end, course = figure.subplots(1, 2)
    looks = (("prospective", record.prospective, "tab:blue"), ("lagging", record.lagging, "tab:red"))
    epochs = (np.arange(config.blocks) + 1) * (config.epochs // config.blocks)
    for name, accuracy, colour in looks:
        end.semilogx(config.presentations, 100 * accuracy[:, -1], "o-", color=colour, label=name)
        for row, strength in zip(accuracy, np.linspace(0.35, 1, len(accuracy)), strict=True):
            course.plot(epochs, 100 * row, color=colour, alpha=strength)
    end.axvline(1 / 0.19, color="0.6", linestyle=":")
    end.axhline(100 / 3, color="0.6", linewidth=0.8)
    end.set(
        title="accuracy after learning (dotted: membrane, line: chance)", xlabel="presentation time (ms)", ylabel="%"
    )
    course.set(title="while learning (darker: longer presentations)", xlabel="epoch", ylabel="%")
    end.legend(frameon=False)
    for ax in (end, course):
        ax.set_ylim(0, 103)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(directory / "bars.png", dpi=130)
