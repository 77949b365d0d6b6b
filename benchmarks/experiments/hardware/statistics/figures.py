"""Figure of what single circuits and the multiplier of a chip do."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.hardware.statistics.model import Found, StatisticsOfAChip

OURS, PUBLISHED = "tab:red", "0.45"
INHIBITED = [14, 40, 65, 82, 98, 108, 118, 123, 129]
"""Published heights at weights of 32 to 288, LSB of the MADC."""


def draw(config: StatisticsOfAChip, fit: Fit, directory: Path) -> None:
    """Writes `statistics.png` into a run's directory, from the record of the run's first seed."""
    style.save(draw_statistics(fit.recorded()), directory / "statistics")


def draw_statistics(found: Found) -> Figure:
    """One panel for each of: excitation, inhibition, intervals, noise of the MADC, multiplier, its columns."""
    figure = Figure(figsize=(style.PAGE, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    (excitation, inhibition, intervals), (madc, multiplier, columns) = figure.subplots(2, 3)
    weights, data = np.asarray(found.weights), [np.asarray(x) for x in found]
    _draw_heights(excitation, weights, data[1])
    excitation.plot(weights, 0.784 * weights, color=PUBLISHED, label="published")
    excitation.set(xlabel="weight, excitatory", ylabel="height (MADC LSB)")
    _draw_heights(inhibition, weights, data[2])
    inhibition.plot(weights, INHIBITED, "s", color=PUBLISHED, markersize=3, label="published")
    inhibition.set(xlabel="weight, inhibitory", ylabel="height (MADC LSB)")
    gaps = data[3][np.isfinite(data[3])]
    intervals.hist(gaps, 40, color=OURS, alpha=0.75)
    intervals.set(xlabel="interval before calibration (µs)", ylabel="circuits")
    intervals.set_title(f"CV {100 * gaps.std() / gaps.mean():.1f} % (published 13 %)", fontsize=8)
    edges = np.arange(np.floor(data[4].min()), np.ceil(data[4].max()) + 1).tolist()
    madc.hist(data[4].ravel(), edges, color=OURS, alpha=0.75)
    madc.set(xlabel="MADC at rest, minus mean (LSB)", ylabel="samples")
    madc.set_title(f"{data[4].std():.2f} LSB (published 1.65 to 3)", fontsize=8)
    mean = data[6].mean(axis=0)
    multiplier.errorbar(data[5], mean.mean(axis=1), mean.std(axis=1), fmt="o", color=OURS, markersize=3)
    multiplier.plot(data[5], np.clip(data[5], -128, 127), color=PUBLISHED, label="clip(0.002 x W)")
    multiplier.set(xlabel="0.002 x W", ylabel="output ± columns (LSB)")
    at = int(np.argmin(np.abs(data[5] - 51)))
    columns.hist(mean[at], 30, color=OURS, alpha=0.75)
    columns.set(xlabel=f"a column's mean at {data[5][at]:.0f} (LSB)", ylabel="columns")
    noise = data[6].std(axis=0)[at].mean()
    columns.set_title(f"columns ± {mean[at].std():.1f}, noise {noise:.1f} LSB", fontsize=8)
    for ax in (excitation, inhibition, multiplier):
        ax.legend(frameon=False, fontsize=7)
    return figure


def _draw_heights(ax: Axes, weights: np.ndarray, heights: np.ndarray) -> None:
    ax.errorbar(weights, heights.mean(axis=1), heights.std(axis=1), fmt="o", color=OURS, markersize=3, label="circuits")
