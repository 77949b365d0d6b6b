"""One look for all figures: the widths of print, colours that colour-blind people tell apart, PNG and PDF.

with style.paper():
    figure, axes = plt.subplots(figsize=(style.COLUMN, 2.2))
    ...
    style.save(figure, "results/learning")
"""

import base64
import html
import io
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

BLUE, ORANGE, GREEN, RED, SKY, PURPLE = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7"
COLOURS = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, "black")
"""Okabe and Ito's palette, in the order in which lines take them."""
COLUMN, PAGE = 3.5, 7.2
"""Widths in inches: one column, and both."""
DPI = 200

_SETTINGS: dict[Any, Any] = {
    "axes.labelsize": 8,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8,
    "figure.constrained_layout.use": True,
    "figure.dpi": DPI,
    "figure.figsize": (COLUMN, 0.7 * COLUMN),
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that a figure is the same on every machine
    "font.size": 8,
    "image.cmap": "viridis",
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
    "pdf.fonttype": 42,  # text stays text
    "savefig.bbox": "tight",  # a long title is not cut
    "savefig.dpi": DPI,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}


def paper() -> AbstractContextManager[None]:
    """The look, for all that is drawn inside of the context."""
    return matplotlib.rc_context(_SETTINGS)


def use() -> None:
    """The look, from now on: for notebooks and scripts that draw nothing else."""
    matplotlib.rcParams.update(_SETTINGS)


def save(figure: Figure, path: str | Path) -> None:
    """Writes `path`.png, for screens, and `path`.pdf, for print."""
    for kind in ("png", "pdf"):
        figure.savefig(f"{path}.{kind}", dpi=DPI, metadata={"CreationDate": None} if kind == "pdf" else None)


def embed(figure: Figure, description: str) -> str:
    """The figure as an element of a web page, with a `description` for those who do not see it."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=DPI)
    source = base64.b64encode(image.getvalue()).decode()
    width = round(96 * figure.get_figwidth())
    return f'<img src="data:image/png;base64,{source}" alt="{html.escape(description)}" width="{width}">'
