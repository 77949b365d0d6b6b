"""Figure of completed traces."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks._fit import Fit
from benchmarks.experiments.gle.completion.model import Completion

SHOWN = 600
"""Steps."""


def draw(config: Completion, fit: Fit, directory: Path) -> None:
    """Writes `completion.png`, from the record of the run's first seed."""
    record = fit.recorded()
    figure = Figure(figsize=(7, 1.3 * config.free + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    time = np.arange(min(SHOWN, len(record.truth))) * config.dt
    for number, ax in enumerate(np.atleast_1d(figure.subplots(config.free, 1, sharex=True))):
        ax.plot(time, record.truth[: len(time), number], color="0.6", linewidth=3, label="truth")
        ax.plot(time, record.completed[: len(time), number], color="tab:blue", label="completed")
        ax.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_title("free traces in the test (synthetic signals)")
    figure.axes[0].legend(frameon=False, ncols=2, fontsize=8)
    figure.axes[-1].set_xlabel("time (ms)")
    figure.savefig(directory / "completion.png", dpi=130)
