"""Figure of phaseless alignment, after Max et al. 2024, Fig. 3."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks._fit import Fit
from benchmarks.experiments.gle.phaseless.model import Phaseless


def draw(config: Phaseless, fit: Fit, directory: Path) -> None:
    """Writes `angles.png` from the record of the run's first seed."""
    found = fit.recorded()
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    for number in range(found.shape[1]):
        ax.plot(found[:, number], label=f"B from layer {number + 2} to {number + 1}")
    ax.axhline(20, color="0.6", linestyle=":")
    ax.set(title=f"angle between B and W, {'-'.join(map(str, config.sizes))}", xlabel="presentations", ylabel="degrees")
    ax.set_ylim(0, 95)
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(directory / "angles.png", dpi=130)
