"""Figure of alignment under Dale's law (Gierlich et al., Fig. 9b, c)."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.sal.dale.model import STARTS, Dale, Found, circuits, effective, weight_grid
from sal import plot


def draw(config: Dale, fit: Fit, directory: Path) -> None:
    """Writes `dale` (PNG, PDF) into a run's directory, from the record of the run's first seed."""
    style.save(draw_found(config, fit.recorded()), directory / "dale")


def draw_found(config: Dale, found: Found) -> Figure:
    """Rates; the phase plane in effective weights; where both circuits rest."""
    figure = Figure(figsize=(style.PAGE, 3.0), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    grid, homogeneous = weight_grid(config), circuits(config, jax.random.key(0))[0]
    acting = np.asarray(effective(homogeneous, jnp.stack([grid, grid], axis=-1)))[:, 1]
    left.plot(acting, found.rates[0], "o", color=style.BLUE, label="both pathways")
    left.plot(acting, found.rates[1], color=style.ORANGE, label="one weight $W^{eff}$")
    left.set(xlabel="$W^{eff}_{21}$", ylabel="activity of neuron 2")
    left.legend()
    _draw_plane(middle, config, found, acting)
    for circuit, (colour, name) in enumerate(((style.BLUE, "homogeneous"), (style.ORANGE, "heterogeneous"))):
        right.plot(
            found.effective[circuit, 1], found.effective[circuit, 0], "o-", color=colour, markersize=3, label=name
        )
    right.axline((0, 0), slope=1, color="0.6", linewidth=0.8, linestyle="--", zorder=0)
    right.set(xlabel="$W^{eff}_{21}$", ylabel="$W^{eff}_{12}$ at rest", aspect="equal")
    right.legend(fontsize="small")
    return figure


def _draw_plane(ax: Axes, config: Dale, found: Found, acting: np.ndarray) -> None:
    plot.phase_plane(acting, acting, found.plane[0], ax)
    ax.plot(acting, found.effective[0, 0], color=style.BLUE, linewidth=2.5)
    shift = acting[0]
    for start, path, colour in zip(STARTS, found.courses, (style.RED, "0.25"), strict=True):
        whole = np.concatenate([[start], path]) + shift
        ax.plot(whole[:, 1], whole[:, 0], color=colour, linewidth=2)
    ax.axhline(0, color="white", linewidth=0.6)
    ax.axvline(0, color="white", linewidth=0.6)
    ax.set(xlabel="$W^{eff}_{21}$", ylabel="$W^{eff}_{12}$", title="SAL on $W^{EE}$")
