"""Figure of the small network, after Ellenberger et al. 2024, Fig. 6c-f."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.gle.small.model import BOTTOM, FREQUENCIES, History, Small, Spectra

LOOKS = {"gle": ("GLE", style.BLUE), "adjoint": ("adjoint method", style.RED)}


def draw(config: Small, fit: Fit, directory: Path) -> None:
    """Writes `learning` (PNG, PDF) into a run's directory, from the record of the run's first seed."""
    record = fit.recorded()
    style.save(draw_histories(record.histories, record.spectra, config), directory / "learning")


def draw_histories(histories: dict[str, History], found: Spectra, config: Small) -> Figure:
    """Weights and loss over time; phases and amplitudes of errors and adjoints, relative to the output error."""
    figure = Figure(figsize=(style.PAGE, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    (weights, loss), (phase, amplitude) = figure.subplots(2, 2)
    for rule, history in histories.items():
        name, colour = LOOKS[rule]
        time = (np.arange(len(history.loss)) + 1) * config.window
        for neuron, line in enumerate(("--", "-")):
            kind = ("instantaneous", "retrospective")[neuron]
            weights.plot(time, history.weights[:, neuron], line, color=colour, label=f"{name}, {kind}")
        loss.semilogy(time, history.loss, color=colour, label=name)
    for value in BOTTOM:
        weights.axhline(value, color="0.4", linestyle=":", zorder=0)
    shown = (found.omega > 0.1) & (found.omega < 4)
    for (_, colour), response in zip(LOOKS.values(), (found.error, found.adjoint), strict=True):
        for neuron, line in enumerate(("--", "-")):
            phase.plot(found.omega[shown], np.angle(response[shown, neuron]) / np.pi, line, color=colour)
            amplitude.semilogy(found.omega[shown], np.abs(response[shown, neuron]), line, color=colour)
    for ax in (phase, amplitude):
        for omega in FREQUENCIES:
            ax.axvline(omega, color="0.7", linewidth=0.8, zorder=0)
        ax.set_xlabel("angular frequency (vertical lines: of the input)")
    weights.set(title="bottom weights (dotted: teacher's)", xlabel="time")
    loss.set(title="loss", xlabel="time")
    phase.set_title(r"bottom errors before learning: phase to the output error ($\pi$)")
    amplitude.set_title("amplitude over that of the output error")
    weights.legend()
    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure
