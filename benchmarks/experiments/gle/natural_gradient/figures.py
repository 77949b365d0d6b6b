"""Figure of natural and Euclidean gradients, after Kreutzer et al. 2022, Figs. 3 and 4."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.gle.natural_gradient.model import COPIES, RULES, NaturalGradient, State, attenuation, path

COLOURS = {"natural": style.BLUE, "euclidean": style.RED}
STYLES = {"soma": {"linestyle": "-"}, "dendrite": {"linestyle": "--", "linewidth": 2}}
"""Natural gradients have one curve for both places."""


def draw(config: NaturalGradient, fit: Fit, directory: Path) -> None:
    """Writes `natural_gradient` (PNG, PDF): paths of weights, cost and distance over time, and dendritic democracy."""
    history = {name: np.asarray(values).T for name, values in fit.history.items()}
    style.save(draw_gradients(config, history, fit.network), directory / "natural_gradient")


def draw_gradients(config: NaturalGradient, history: dict[str, np.ndarray], final: State) -> Figure:
    """`history` holds metrics [seeds, epochs], of which medians are drawn; `final` the weights, [seeds] each."""
    figure = Figure(figsize=(style.PAGE, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    (paths, costs), (democracy, distances) = figure.subplots(2, 2)
    _draw_paths(paths, config)
    _draw_democracy(democracy, config, final)
    for ax, kind in ((costs, "cost"), (distances, "distance")):
        for name, (rule, place) in COPIES.items():
            values = np.median(history[f"{kind}_{name}"], axis=0)
            time = config.seconds * np.arange(1, len(values) + 1)
            ax.plot(time, values, color=COLOURS[rule], **STYLES[place], label=f"{rule}, {place}")
        ax.set(xlabel="time (s)", yscale="log")
    costs.set_ylabel("cost (nats/s)")
    distances.set_ylabel("|w - w*|, relative")
    figure.legend(*costs.get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    return figure


def _draw_paths(ax: Axes, config: NaturalGradient) -> None:
    """Of the mean weights of both halves of the inputs, from 0.3 / n to the teacher's 0.15 / n, in expectation."""
    half = config.inputs // 2
    start, teacher = (jnp.full(config.inputs, x / config.inputs) for x in (0.3, 0.15))
    for rule, steps in (("natural", 5 / config.natural_rate), ("euclidean", 0.02 / config.euclidean_rate)):
        walk = jax.jit(lambda start, teacher, rule=rule, steps=steps: path(config, rule, start, teacher, round(steps)))
        found = config.inputs * np.asarray(walk(start, teacher))
        ax.plot(found[:, 0], found[:, half], color=COLOURS[rule])
    ax.plot(0.15, 0.15, "x", color="black")
    ax.set(xlabel=f"n w, {config.low:g} Hz inputs", ylabel=f"n w, {config.high:g} Hz inputs")


def _draw_democracy(ax: Axes, config: NaturalGradient, final: State) -> None:
    """What is left of the distance in the end, over the attenuation of synapses."""
    alpha, half = np.asarray(attenuation(config, "dendrite")), config.inputs // 2
    before = np.mean(np.asarray(final.start - final.teacher) ** 2, axis=0).reshape(2, half).mean(axis=0)
    for rule in RULES:
        w = alpha * np.asarray(final.weights[f"{rule}_dendrite"])[:, 0]
        after = np.mean((w - np.asarray(final.teacher)) ** 2, axis=0).reshape(2, half).mean(axis=0)
        ax.plot(alpha[:half], np.sqrt(after / before), ".", color=COLOURS[rule])
    ax.set(xlabel="attenuation of the synapse", ylabel="distance left", ylim=(0, 1.1))
    ax.invert_xaxis()
