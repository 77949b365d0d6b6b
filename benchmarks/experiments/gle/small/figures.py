"""Figures of the small network, after Ellenberger et al. 2024, Fig. 6b-f."""

from functools import partial
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Array
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.gle.small.model import BOTTOM, FREQUENCIES, LATE, Course, History, Record, Small, Spectra

LOOKS = {"gle": ("GLE", style.SKY), "adjoint": ("adjoint method", style.BLUE)}
STAGES = ("before learning", "late in learning")
NEURONS = ("instantaneous", "retrospective")
SHOWN, MEAN = 30.0, 3.0
"""Units of time that are shown of rates and errors, and of the running mean."""
FAINTEST = 1e-3
"""Phases are shown where the output error has more than this part of its largest amplitude."""


def draw(config: Small, fit: Fit, directory: Path) -> None:
    """Writes `learning` and `errors` (PNG, PDF) into a run's directory, from the record of the run's first seed."""
    record = fit.recorded()
    style.save(draw_histories(record.histories, config), directory / "learning")
    style.save(draw_errors(record, config), directory / "errors")


def draw_histories(histories: dict[str, History], config: Small) -> Figure:
    """Weights and loss over time; when errors are looked at (`draw_errors`)."""
    figure = Figure(figsize=(style.PAGE, 2.4), layout="constrained")
    FigureCanvasAgg(figure)
    weights, loss = figure.subplots(1, 2)
    for rule, history in histories.items():
        name, colour = LOOKS[rule]
        time = (np.arange(len(history.loss)) + 1) * config.window
        for neuron, line in enumerate(("--", "-")):
            weights.plot(time, history.weights[:, neuron], line, color=colour, label=f"{name}, {NEURONS[neuron]}")
        loss.semilogy(time, history.loss, color=colour, label=name)
    for value in BOTTOM:
        weights.axhline(value, color="0.4", linestyle=":", zorder=0)
    for ax in (weights, loss):
        for time in (0, LATE * config.duration):
            ax.axvline(time, color="0.7", linestyle="--", linewidth=0.8, zorder=0)
        ax.set_xlabel("time")
    weights.set_title("bottom weights (dotted: teacher's)")
    loss.set_title("loss")
    weights.legend()
    return figure


def draw_errors(record: Record, config: Small) -> Figure:
    """Rates, bottom errors and adjoints over time, with their phases and amplitudes, at both `STAGES`."""
    figure = Figure(figsize=(style.PAGE, 7.0), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(5, 4)
    for stage, title in enumerate(STAGES):
        course, spectra = jax.tree.map(partial(_at, stage), (record.courses, record.spectra))
        time = [figure.add_subplot(grid[row, 2 * stage : 2 * stage + 2]) for row in range(3)]
        _draw_course(time, course, config)
        time[0].set_title(title)
        for neuron, name in enumerate(NEURONS):
            phase, amplitude = (figure.add_subplot(grid[row, 2 * stage + neuron]) for row in (3, 4))
            _draw_spectrum(phase, amplitude, spectra, neuron)
            phase.set_title(f"{name} neuron")
            if stage == neuron == 0:
                phase.set_ylabel(r"phase to output error ($\pi$)")
                amplitude.set_ylabel("amplitude")
        if stage == 0:
            for ax, name in zip(time, ("rate", "error, instant.", "error, retrosp."), strict=True):
                ax.set_ylabel(name)
            time[0].legend(ncols=3, loc="upper center")
            time[1].legend(ncols=3, loc="upper center")
    return figure


def _at(stage: int, values: Array) -> np.ndarray:
    return np.asarray(values[stage])


def _draw_course(axes: list[Axes], course: Course, config: Small) -> None:
    """Rates in the first, errors of the bottom neurons in the others of three axes."""
    steps, width = round(SHOWN / config.dt), round(MEAN / config.dt)
    time = np.arange(steps) * config.dt
    axes[0].plot(time, course.input[:steps], color="0.7", linewidth=0.8, label="input")
    axes[0].plot(time, course.output[:steps], color=style.RED, label="output")
    axes[0].plot(time, course.target[:steps], "k--", linewidth=0.8, label="target")
    for neuron, ax in enumerate(axes[1:]):
        error = course.error[:, neuron]
        mean = np.convolve(error, np.ones(width) / width, "same")
        ax.plot(time, error[:steps], color=LOOKS["gle"][1], label="GLE")
        ax.plot(time, mean[:steps], color=style.ORANGE, label=f"mean over {MEAN:g}")
        ax.plot(time, course.adjoint[:steps, neuron], color=LOOKS["adjoint"][1], label="adjoint")
    axes[2].set_xlabel("time")
    for ax in axes:
        ax.axhline(0, color="0.8", linewidth=0.6, zorder=0)
        ax.margins(y=0.25)


def _draw_spectrum(phase: Axes, amplitude: Axes, spectra: Spectra, neuron: int) -> None:
    """Phases to the output error where there is some, and amplitudes; vertical lines: frequencies of the input."""
    shown = (spectra.omega > 0.1) & (spectra.omega < 4)
    omega, top = spectra.omega[shown], spectra.top[shown]
    strong = np.abs(top) > FAINTEST * np.abs(top).max()
    for (_, colour), values in zip(LOOKS.values(), (spectra.error, spectra.adjoint), strict=True):
        response = values[shown, neuron]
        phase.plot(omega[strong], np.angle(response / top)[strong] / np.pi, ".", color=colour)
        amplitude.semilogy(omega, np.abs(response), color=colour)
    phase.set_ylim(-1, 1)
    amplitude.set_xlabel("angular frequency")
    for ax in (phase, amplitude):
        for value in FREQUENCIES:
            ax.axvline(value, color="0.8", linewidth=0.6, zorder=0)
