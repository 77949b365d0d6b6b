"""Figure of the chain experiment, after Ellenberger et al. 2024, Fig. 5c."""

from pathlib import Path

import equinox as eqx
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.experiments.gle_chain import PARTS, RULES, TEACHER, Chain, History, learn
from benchmarks.fit import seed_keys
from benchmarks.run import Run


def draw_learning(config: Chain, directory: Path) -> None:
    """Writes `learning.png` into a run's directory, for the run's first seed."""
    (key,) = seed_keys(Run.open(directory).record["seeds"][0], 1)
    histories = {name: eqx.filter_jit(learn)(config, key, stepper)[1] for name, stepper in RULES.items()}
    draw_histories(histories, config).savefig(directory / "learning.png", dpi=130)


def draw_histories(histories: dict[str, History], config: Chain) -> Figure:
    """Weights, time constants and loss over time; dotted lines are the teacher's."""
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3)
    time = (np.arange(PARTS) + 1) * config.duration / PARTS
    for colour, (name, history) in zip(("tab:green", "tab:purple"), histories.items(), strict=True):
        for style, neuron in zip(("-", "--"), range(2), strict=True):
            label = f"{name}, neuron {neuron + 1}"
            axes[0].plot(time, history.weights[:, neuron], style, color=colour, label=label)
            axes[1].plot(time, history.tau_m[:, neuron], style, color=colour)
        axes[2].semilogy(time, history.loss, color=colour, label=name)
    for ax, name in zip(axes, ("weights", "tau_m"), strict=False):
        for value in TEACHER[name]:
            ax.axhline(value, color="0.4", linestyle=":", zorder=0)
    for ax, title in zip(axes, ("weights", "membrane time constants", "loss"), strict=True):
        ax.set(title=title, xlabel="time")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 0.12))
    return figure
