"""Figure of simulated and theoretical spike-timing differences, after Gierlich et al., Fig. 13."""

from pathlib import Path

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.sal.stdd.model import LAGS, STDD, Comparison


def draw(config: STDD, fit: Fit, directory: Path) -> None:
    """Writes `stdd` (PNG, PDF) into a run's directory, from the record of the run's first seed."""
    del config
    style.save(draw_comparisons(fit.recorded()), directory / "stdd")


def draw_comparisons(found: dict[str, Comparison]) -> Figure:
    """One panel per PSP and update order, each with its first random pair of neurons."""
    figure = Figure(figsize=(style.PAGE, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2, sharex=True).ravel()
    for ax, (name, comparison) in zip(panels, found.items(), strict=True):
        _draw(ax, jax.tree.map(lambda x: x[0], comparison))
        ax.set_title(f"{name}: p = {comparison.p_value[0]:.2f}")
    for ax in panels[::2]:
        ax.set_ylabel(r"pairs per $\tau_{\mathrm{ref}}$ and step")
    for ax in panels[2:]:
        ax.set_xlabel(r"$\Delta t = t_2 - t_1$ ($\tau_{\mathrm{ref}}$)")
    panels[0].legend(loc="upper left")
    return figure


def _draw(ax: Axes, comparison: Comparison) -> None:
    times = np.asarray(comparison.expected.differences(LAGS))
    theory = np.asarray(comparison.expected.probabilities(LAGS) * comparison.expected.rate)
    for side, sign in ((0, -1), (1, 1)):
        order = np.argsort(sign * times)
        ax.plot(sign * times[order], theory[side][order], color="black", zorder=3, label="theory" if side else None)
        ax.errorbar(
            sign * times,
            comparison.counted[side],
            2 * np.asarray(comparison.error[side]),
            fmt="o",
            color=style.ORANGE,
            markersize=3.5,
            label="simulation, two standard errors" if side else None,
        )
    ax.axvline(0, color="0.8", linewidth=0.8, zorder=0)
    ax.set_ylim(bottom=0)
    ax.spines[["top", "right"]].set_visible(False)
