"""Figures of the chain experiment, after Ellenberger et al. 2024, Figs. 5c and 15."""

from pathlib import Path

import numpy as np
from jaxtyping import Array
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.gle.chain.model import SHOWN, TEACHER, WINDOWS, Chain, History

COLOURS = (style.SKY, style.PURPLE, style.ORANGE)
LOOKS = {"gle": ("GLE", style.GREEN), "instantaneous": ("instantaneous errors", style.RED)} | {
    f"bptt_{window:g}": (f"BPTT, window {window:g}", colour) for window, colour in zip(WINDOWS, COLOURS, strict=True)
}


def draw(config: Chain, fit: Fit, directory: Path) -> None:
    """Writes `learning.png` and `noise.png` into a run's directory, from the record of the run's first seed."""
    record = fit.recorded()
    style.save(draw_histories(record.histories, config), directory / "learning")
    style.save(draw_noise(record.histories["noisy"], record.rates, config), directory / "noise")


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


def draw_noise(history: History, rates: tuple[Array, Array], config: Chain) -> Figure:
    """Weights and time constants learned with noisy rates, and the output in the end beside the teacher's."""
    figure = Figure(figsize=(style.PAGE, 2.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3)
    _parameters(axes[:2], history, config, f"GLE, noise of {config.noise:g}", style.GREEN)
    _teacher(axes[:2])
    shown = slice(-round(SHOWN / config.dt), None)
    t = (np.arange(len(rates[0])) * config.dt)[shown]
    axes[2].plot(t, rates[0][shown], color=style.RED, linewidth=0.5, label="student")
    axes[2].plot(t, rates[1][shown], "k--", linewidth=1, label="teacher without noise")
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
