"""The gradient check as the paper's Fig. 1 draws it: membrane potentials, and gradients that add up from the end."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.eventprop.gradient_check.model import Check, Contributions, GradientCheck, sample_times
from eventprop import plot

ADDING, WHOLE = style.BLUE, style.RED


def draw_check(config: GradientCheck, fit: Fit, directory: Path) -> None:
    """Writes `gradient_check` (PNG, PDF) into a run's directory, from the record of the run's first seed."""
    found, potentials, parts = fit.recorded()
    figure = _draw(found, sample_times(config), potentials, parts)
    style.save(figure, directory / "gradient_check")


def _draw(found: Check, times: np.ndarray, potentials: Any, parts: tuple[Contributions, Contributions]) -> Figure:
    index = np.asarray(found.inputs.index)
    present = np.isfinite(found.inputs.times)
    busiest = int(np.argmax(np.bincount(index[present])))
    of_input = Contributions(*(np.asarray(x)[present & (index == busiest)] for x in parts[0]))
    of_chain = Contributions(*(np.asarray(x)[np.isfinite(parts[1].times)] for x in parts[1]))

    figure = Figure(figsize=(style.PAGE, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2, sharex=True)
    for axes, title, v, spikes, at in zip(
        panels[0],
        (f"first neuron\n(triangles: spikes of input {busiest})", "second neuron\n(triangles: spikes of the first)"),
        potentials,
        found.solution.spikes,
        (of_input.times, of_chain.times),
        strict=True,
    ):
        plot.voltages(times, v, 1.0, spikes, axes)
        axes.plot(at, np.full(at.shape, min(0.0, float(np.min(v))) - 0.12), "^", color="black", markersize=4)
        axes.set(title=title, xlabel="", xlim=(0.0, times[-1]))
    names = (f"weight of input {busiest}", "weight between the neurons")
    for axes, name, part, weight in zip(panels[1], names, (of_input, of_chain), (busiest, -1), strict=True):
        _draw_sum(axes, name, part, float(found.exact[weight]), float(found.numerical[weight]))
    return figure


def _draw_sum(axes: Axes, name: str, part: Contributions, exact: float, numerical: float) -> None:
    """The sum of the contributions at and after each time: from the end of the trial back to its beginning."""
    right = axes.get_xlim()[1]
    behind = np.append(np.cumsum(part.gradient[::-1])[::-1], 0.0)
    axes.step(np.append(part.times, right), behind, where="pre", color=ADDING, label="exact, adding up from the end")
    axes.hlines(behind[0], 0.0, part.times[0], color=ADDING)
    axes.axhline(numerical, color=WHOLE, linestyle="--", label="central differences")
    deviation = abs(numerical - exact) / abs(exact)
    axes.set(
        title=f"gradient of the {name}\n(relative deviation {deviation:.0e})", xlabel="time (ms)", ylabel="dL/dw (ms)"
    )
    axes.legend(fontsize="small")
