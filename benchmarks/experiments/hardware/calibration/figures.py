"""Figure of a chip before and after its calibration."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.hardware.calibration.model import CalibrationOfAChip, Found, expected_rate

BEFORE, AFTER = "0.6", style.RED
PANELS = {
    "leak": "rest (LSB)",
    "reset": "reset, held (LSB)",
    "threshold": "threshold (LSB)",
    "rate": "leak over threshold (kHz)",
    "tau_mem": r"$\tau_{\mathrm{mem}}$ (µs)",
    "tau_syn_exc": r"$\tau_{\mathrm{syn}}$, excitatory (µs)",
    "tau_syn_inh": r"$\tau_{\mathrm{syn}}$, inhibitory (µs)",
    "strength_exc": "excitatory strength (LSB/µs)",
}


def draw(config: CalibrationOfAChip, fit: Fit, directory: Path) -> None:
    """Writes `calibration.png` into a run's directory, from the record of the run's first seed."""
    style.save(draw_chip(config, fit.recorded()), directory / "calibration")


def draw_chip(config: CalibrationOfAChip, found: Found) -> Figure:
    """Histograms of all circuits, with the target as a line; above them means and spreads, before and after."""
    figure = Figure(figsize=(style.PAGE, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    targets = {name: getattr(config, name) for name in ("leak", "reset", "threshold", "tau_mem")}
    targets |= {f"tau_syn_{end}": config.tau_syn for end in ("exc", "inh")} | {"rate": float(expected_rate(config))}
    axes = figure.subplots(2, 4).ravel()
    for ax, (name, label) in zip(axes, PANELS.items(), strict=True):
        before, after = (np.asarray(getattr(each, name)) for each in found)
        _draw_histograms(ax, before, after, targets.get(name))
        ax.set_xlabel(label)
    for ax in axes[::4]:
        ax.set_ylabel("circuits")
    axes[0].legend(loc="upper left", fontsize=6, handlelength=1)
    return figure


def _draw_histograms(ax: Axes, before: np.ndarray, after: np.ndarray, target: float | None) -> None:
    both = np.concatenate([before, after])
    low, high = np.percentile(both, (0.2, 99.8))
    bins = np.linspace(low, max(high, low + 1e-6), 61).tolist()
    for values, colour, label in ((before, BEFORE, "before"), (after, AFTER, "after")):
        ax.hist(np.clip(values, low, high), bins, color=colour, alpha=0.75, label=label)
    ax.set_title("\n".join(f"{np.mean(values):.3g} ± {np.std(values):.3g}" for values in (before, after)), fontsize=7)
    if target is not None:
        ax.axvline(target, color="black", linewidth=0.8, linestyle=":")
    ax.set_yscale("log")
    ax.spines[["top", "right"]].set_visible(False)
