"""Figure of the alignment experiment."""

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.experiments.gle_alignment import RULES, Alignment

TITLES = {"gle": "GLE", "instantaneous": "instantaneous errors"}


def draw_angles(config: Alignment, history: dict[str, Float[np.ndarray, "epochs seeds"]]) -> Figure:
    """Angle to the exact gradient over the epochs, for each layer: mean over the seeds."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(RULES), sharey=True)
    layers = config.layers + 1
    for ax, name in zip(axes, RULES, strict=True):
        for layer in range(1, layers + 1):
            cosine = np.clip(history[f"{name}_cosine_{layer}"], -1, 1)
            angle = np.degrees(np.arccos(cosine)).mean(axis=1)
            colour = colormaps["viridis"](0.9 * (layer - 1) / max(1, layers - 1))
            ax.plot(np.arange(1, len(angle) + 1), angle, color=colour, label=f"layer {layer}")
        ax.set(title=TITLES[name], xlabel="epoch", ylim=(0, None))
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("angle to the exact gradient (degrees)")
    axes[-1].legend(frameon=False, fontsize=8, loc="upper right", ncols=2)
    return figure
