"""Figure of spiking sampling, after Gierlich et al., Fig. 3b, c."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.sal.distribution.model import Distribution, Found


def draw(config: Distribution, fit: Fit, directory: Path) -> None:
    """Writes `distribution` (PNG, PDF) into a run's directory, from the record of the run's first seed."""
    style.save(draw_found(config, fit.recorded()), directory / "distribution")


def draw_found(config: Distribution, found: Found) -> Figure:
    """Potential, spikes and state of every neuron; sampled probabilities beside those of the target."""
    figure = Figure(figsize=(style.PAGE, 3.0), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.4))
    time = np.arange(len(found.potential)) / config.steps
    for unit in range(config.units):
        base = config.units - 1 - unit
        left.fill_between(time, base, base + 0.8 * np.asarray(found.z[:, unit]), step="post", color="#b8e0d2")
        span = 4 * config.largest
        left.plot(time, base + 0.4 + 0.4 * found.potential[:, unit] / span, color=style.BLUE, linewidth=0.8)
        fired = np.flatnonzero(found.spikes[:, unit]) / config.steps
        left.plot(fired, np.full(len(fired), base + 0.85), "|", color="black", markersize=5)
    left.set_yticks(np.arange(config.units) + 0.4, [f"$z_{{{config.units - n}}}$" for n in range(config.units)])
    left.set(xlabel=r"time ($\tau_{\mathrm{ref}}$)", title="z = 1 (green), u (blue), spikes")
    states = np.arange(len(found.target))
    right.bar(states - 0.2, found.sampled, 0.4, color=style.BLUE, label="sampled")
    right.bar(states + 0.2, found.target, 0.4, color=style.ORANGE, label="target")
    names = [format(state, f"0{config.units}b") for state in states]
    if len(states) <= 32:
        right.set_xticks(states, names, rotation=90, fontfamily="monospace", fontsize="small")
    right.set(xlabel="state", ylabel="p(z)")
    right.legend()
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    return figure
