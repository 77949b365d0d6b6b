"""Figures of the chain experiment, after Ellenberger et al. 2024, Figs. 5b, c, 14b and 15."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.gle.chain.model import STAGES, TEACHER, WINDOWS, Chain, History, Traces

COLOURS = (style.SKY, style.PURPLE, style.ORANGE)
LOOKS = {"gle": ("GLE", style.GREEN), "instantaneous": ("instantaneous errors", style.RED)} | {
    f"bptt_{window:g}": (f"BPTT, window {window:g}", colour) for window, colour in zip(WINDOWS, COLOURS, strict=True)
}


def draw(config: Chain, fit: Fit, directory: Path) -> None:
    """Writes `learning`, `traces` and `noise` (PNG, PDF) into a run's directory, from its first seed's record."""
    record = fit.recorded()
    style.save(draw_histories(record.histories, config), directory / "learning")
    style.save(draw_traces(record.traces, config), directory / "traces")
    style.save(draw_noise(record.histories["noisy"], record.traces["noisy"], config), directory / "noise")


def draw_histories(histories: dict[str, History], config: Chain) -> Figure:
    """Weights, time constants and loss over time, without noise; dotted lines are the teacher's."""
    figure = Figure(figsize=(style.PAGE, 2.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3)
    for name, (label, colour) in LOOKS.items():
        _parameters(axes[:2], histories[name], config, label, colour)
        axes[2].semilogy(_time(histories[name], config), histories[name].loss, color=colour, linewidth=1)
    _teacher(axes[:2])
    axes[2].set(title="loss", xlabel="time")
    figure.legend(loc="outside lower center", ncols=len(LOOKS))
    _despine(axes)
    return figure


def draw_traces(traces: dict[str, Traces], config: Chain) -> Figure:
    """Rates, and the errors by which they learn, of both neurons (the upper one above) at each of `STAGES`."""
    figure = Figure(figsize=(style.PAGE, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(4, len(STAGES), sharex=True, sharey="row")
    t = np.arange(traces["gle"].rates.shape[-2]) * config.dt
    for name, width, line in (("gle", 1.6, "-"), ("instantaneous", 1.0, "--")):
        (label, colour), found = LOOKS[name], traces[name]
        for stage in range(len(STAGES)):
            for row, values in enumerate((found.rates, found.rates, found.errors, found.errors)):
                neuron = 1 - row % 2
                shown = np.asarray(values[stage, :, neuron])
                named = label if stage == row == 0 else None
                axes[row, stage].plot(t, shown, line, color=colour, linewidth=width, label=named)
    for row, stage in np.ndindex(2, len(STAGES)):
        teacher = np.asarray(traces["gle"].taught[stage, :, 1 - row])
        axes[row, stage].plot(t, teacher, "k:", linewidth=1, label=None if stage or row else "teacher")
    for ax, title in zip(axes[0], STAGES, strict=True):
        ax.set_title(title)
    for row, name in enumerate(("output rate", "lower rate", "output error", "lower error")):
        axes[row, 0].set_ylabel(name)
        for ax in axes[row]:
            ax.axhline(0, color="0.8", linewidth=0.6, zorder=0)
    for ax in axes[-1]:
        ax.set_xlabel("time")
    figure.align_ylabels(axes[:, 0])
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def draw_noise(history: History, traces: Traces, config: Chain) -> Figure:
    """Weights and time constants learned with noisy rates, and the output in the end beside the teacher's."""
    figure = Figure(figsize=(style.PAGE, 2.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3)
    _parameters(axes[:2], history, config, f"GLE, noise of {config.noise:g}", style.GREEN)
    _teacher(axes[:2])
    t = np.arange(len(traces.rates)) * config.dt
    axes[2].plot(t, traces.rates[:, 1], color=style.RED, linewidth=0.5, label="student")
    axes[2].plot(t, traces.taught[:, 1], "k--", linewidth=1, label="teacher without noise")
    axes[2].set(title="output rate after learning", xlabel="time")
    axes[2].margins(y=0.2)
    axes[2].legend(loc="upper center", ncols=2)
    axes[0].legend(loc="lower right")
    _despine(axes)
    return figure


def _parameters(axes, history: History, config: Chain, label: str, colour: str) -> None:
    """First neuron solid, second dashed."""
    for ax, values in zip(axes, (history.weights, history.tau_m), strict=True):
        for number, line in enumerate(("-", "--")):
            named = label if number == 0 and ax is axes[0] else None
            ax.plot(_time(history, config), values[:, number], line, color=colour, linewidth=1.2, label=named)


def _teacher(axes) -> None:
    for ax, name, title in zip(axes, TEACHER, ("weights", "membrane time constants"), strict=True):
        for value in TEACHER[name]:
            ax.axhline(value, color="0.4", linestyle=":", zorder=0)
        ax.set(title=title, xlabel="time")


def _time(history: History, config: Chain) -> np.ndarray:
    return (np.arange(len(history.loss)) + 1) * config.duration / len(history.loss)


def _despine(axes) -> None:
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
