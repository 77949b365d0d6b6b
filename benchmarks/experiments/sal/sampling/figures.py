"""Figures of the sampling networks: asymmetry and D_KL, over time and over what is varied (Figs. 4, 5, 14)."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit

LOOKS = {
    "none": (style.ORANGE, "wake-sleep alone"),
    "sal": (style.GREEN, "with SAL"),
    "kp": (style.RED, "Kolen-Pollack"),
}
QUANTITIES = {"asymmetry": r"asymmetry $\mathrm{Var}(W_{ij} - W_{ji})$", "kl": r"$D_\mathrm{KL}(p\,||\,p^*)$"}
REFERENCE = (style.BLUE, "without this noise")


def draw(config: Any, fit: Fit, directory: Path) -> None:
    """Writes `noise.png`, or `decay.png` if weight decays were compared."""
    if hasattr(config, "decays"):
        style.save(draw_decays(config, fit.metrics), directory / "decay")
    else:
        shown = 0.8 if 0.8 in config.levels else config.levels[len(config.levels) // 2]
        style.save(draw_noise(config, fit.history, shown), directory / "noise")


def draw_noise(config: Any, history: dict[str, np.ndarray], shown: float) -> Figure:
    """Figs. 4, 5: the course at one noise level and the end at all of them; medians and quartiles over seeds."""
    figure = Figure(figsize=(style.PAGE, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2)
    for row, (quantity, label) in enumerate(QUANTITIES.items()):
        course, end = panels[row]
        reference = history[f"{quantity}_none_0"]
        cycles = config.report_every * np.arange(1, len(reference) + 1)
        _band(course, cycles, reference.T, *REFERENCE)
        final = np.quantile(reference[-1], [0.25, 0.5, 0.75])
        end.axhspan(final[0], final[2], color=REFERENCE[0], alpha=0.15, linewidth=0)
        end.axhline(final[1], color=REFERENCE[0])
        for number, (rule, look) in enumerate(LOOKS.items()):
            _band(course, cycles, history[f"{quantity}_{rule}_{shown:g}"].T, *look)
            values = np.array([history[f"{quantity}_{rule}_{level:g}"][-1] for level in config.levels])
            # Beside each other, so that the bars do not hide each other.
            offset = (number - 1) * 0.02 * max(config.levels)
            _bars(end, np.array(config.levels) + offset, values, look[0])
        course.set(ylabel=label, title=f"noise {shown:g}" if row == 0 else None, yscale="log")
        end.set(title=f"after {config.cycles} cycles" if row == 0 else None, yscale="log")
    panels[1][0].set_xlabel("wake-sleep cycle")
    panels[1][1].set_xlabel("noise")
    panels[1][0].legend(fontsize="small")
    return figure


def draw_decays(config: Any, metrics: dict[str, np.ndarray]) -> Figure:
    """Fig. 14: the end over the weight decay of Kolen-Pollack in both scenarios, beside SAL."""
    figure = Figure(figsize=(style.PAGE, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2, sharex=True)
    for column, (kind, levels) in enumerate((("synaptic", config.levels), ("plasticity", config.plasticity_levels))):
        for row, (quantity, label) in enumerate(QUANTITIES.items()):
            ax = panels[row][column]
            for level, colour in zip(levels, (style.BLUE, style.ORANGE, style.PURPLE), strict=False):
                values = np.array([metrics[f"{quantity}_kp_{kind}_{level:g}_{decay:g}"] for decay in config.decays])
                _bars(ax, np.array(config.decays), values, colour, label=f"Kolen-Pollack, noise {level:g}", line="-")
                aligned = np.median(metrics[f"{quantity}_sal_{kind}_{level:g}"])
                ax.axhline(aligned, color=colour, linestyle="--", label=f"SAL, noise {level:g}")
            ax.set(xscale="log", yscale="log", ylabel=label if column == 0 else None)
        panels[0][column].set_title(f"{kind} noise, after {config.cycles} cycles")
        panels[1][column].set_xlabel(r"weight decay $\lambda$")
    for ax in panels[0]:
        ax.legend(fontsize="small")
    return figure


def _band(ax: Axes, x: np.ndarray, runs: np.ndarray, colour: str, label: str) -> None:
    low, middle, high = np.quantile(runs, [0.25, 0.5, 0.75], axis=0)
    ax.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    ax.plot(x, middle, color=colour, label=label)


def _bars(ax: Axes, x: np.ndarray, runs: np.ndarray, colour: str, label: str | None = None, line: str = "") -> None:
    low, middle, high = np.quantile(runs, [0.25, 0.5, 0.75], axis=1)
    ax.errorbar(
        x, middle, [middle - low, high - middle], color=colour, label=label, marker="o", linestyle=line, capsize=3
    )
