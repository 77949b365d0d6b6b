"""Figure of the alignment experiment (Gierlich et al., Fig. 8)."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.sal.alignment.model import Alignment
from benchmarks.experiments.sal.symmnet.figures import LAYERS, curves


def figure_8(config: Alignment, fit: Fit, directory: Path) -> None:
    """Writes `angles.png`: angles between constant W and learning B over the time of the spiking network, per rate."""
    figure = Figure(figsize=(style.PAGE, 2.8), layout="constrained")
    FigureCanvasAgg(figure)
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(config.sal_rates)))
    seconds = config.duration * config.replicas / 1000
    for layer, axes in zip(LAYERS, figure.subplots(1, 3, sharex=True, sharey=True), strict=True):
        for rate, colour in zip(config.sal_rates, colours, strict=True):
            curves(axes, fit.history[f"angle_{layer}_{rate:g}"], colour, f"$\\eta$ = {rate:g}", seconds)
        axes.set(xlabel="network time of all replicas in s", title=f"dense layer {layer}", ylim=(0, 100))
        axes.label_outer()
    figure.axes[0].set(ylabel="angle between W and B in degrees")
    figure.axes[0].legend()
    style.save(figure, directory / "angles")
