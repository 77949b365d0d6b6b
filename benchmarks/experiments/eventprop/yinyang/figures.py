"""What a Yin-Yang network learned, in one picture: spike times before and after, decision map, learning curve."""

from collections.abc import Sequence
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

import eventprop as ep
from benchmarks import style
from benchmarks._fit import Fit, seed_keys
from benchmarks.card import Published
from benchmarks.datasets import yinyang
from benchmarks.datasets._types import Split
from benchmarks.experiments.eventprop.yinyang.model import YinYang, YinYangTraining
from benchmarks.run import Run
from eventprop import plot

COLOURS = (style.BLUE, style.ORANGE, style.GREEN)  # yin, yang, dot: distinct for the colour-blind, too
SILENT = "0.6"
GRID = 121
BATCH = 256

Response = tuple[Float[np.ndarray, "samples hidden slots"], Float[np.ndarray, "samples 3"]]


def draw_training(config: YinYang, fit: Fit, directory: Path, *, published: Sequence[Published]) -> None:
    """Writes `training` (PNG, PDF) into a run's directory. Spikes and decisions are those of the run's first seed."""
    training, run = YinYangTraining(config), Run.open(directory)
    before = training.init(seed_keys(run.record["seeds"][0], 1)[0]).network
    after = jax.tree.map(lambda x: x[0] if eqx.is_array(x) else x, fit.network)
    test = yinyang.load().test
    chosen = np.array([np.argmax(test.labels == label) for label in range(3)])

    figure = Figure(figsize=(style.PAGE, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2, width_ratios=(1.6, 1.0))  # pyright: ignore[reportGeneralTypeIssues]
    _draw_spikes(left, [respond(training, network, test.features[chosen]) for network in (before, after)])
    upper, lower = right.subplots(2, 1, height_ratios=(1.4, 1.0))
    _draw_decisions(upper, training, after, test)
    draw_curve(lower, fit.history, published)
    style.save(figure, directory / "training")


def respond(
    training: YinYangTraining, network: ep.AbstractNetwork, features: Float[np.ndarray, "samples 4"]
) -> Response:
    """All hidden spikes and the first output spikes for each sample (ms; inf: none)."""
    config, parts = training.config, []
    # Apart from the simulation: the encoder calls back to check its input, and programs that do are compiled anew in
    # every process.
    encode = jax.vmap(ep.Latency(config.t_min, config.t_max, config.t_bias))
    for start in range(0, len(features), BATCH):
        batch = features[start : start + BATCH]
        # All batches are of one size, so that one program does for samples and maps.
        padded = np.pad(batch, ((0, BATCH - len(batch)), (0, 0)))
        response = _respond(training, network, encode(jnp.asarray(padded, dtype=float)))
        parts.append([np.asarray(times)[: len(batch)] for times in response])
    hidden, output = zip(*parts, strict=True)
    return np.concatenate(hidden), np.concatenate(output)


@eqx.filter_jit
def _respond(training: YinYangTraining, network: ep.AbstractNetwork, spikes: ep.Spikes) -> tuple[Array, Array]:
    def trial(spikes):
        solution = training.simulate(network, spikes)
        hidden, output = (layer for layer in solution.spikes if layer is not None)
        return hidden.times, output.first()

    return jax.vmap(trial)(spikes)


def _decide(first: Float[np.ndarray, "samples 3"]) -> Int[np.ndarray, " samples"]:
    return np.asarray(jax.vmap(ep.first_spike_prediction)(jnp.asarray(first)))


def _draw_spikes(figure: SubFigure, responses: Sequence[Response]) -> None:
    """A row per sample, which shows the class of the same number; a column before and a column after training."""
    panels = figure.subplots(3, 2, sharex=True, sharey=True)
    for column, title, (hidden, output) in zip(panels.T, ("before training", "after training"), responses, strict=True):
        column[0].set_title(title)
        for label, (axes, decision) in enumerate(zip(column, _decide(output), strict=True)):
            plot.raster(ep.SpikeTrains(jnp.asarray(hidden[label])), axes)
            axes.lines[0].set(marker=".", markersize=2.5, color="0.35")
            for time, colour in zip(output[label], COLOURS, strict=True):
                if np.isfinite(time):
                    axes.axvline(time, color=colour, linewidth=2.5)
            colour, verdict = (COLOURS[decision], yinyang.CLASSES[decision]) if decision >= 0 else (SILENT, "none")
            text = f"{verdict} {'✓' if decision == label else '✗'}"
            axes.text(0.985, 0.95, text, transform=axes.transAxes, ha="right", va="top", color=colour, weight="bold")
            axes.set(xlabel="time (ms)", ylabel=f"sample of class {yinyang.CLASSES[label]}\nhidden neuron")
            axes.label_outer()
    handles = [Line2D([], [], color=colour, linewidth=2.5) for colour in COLOURS]
    handles.append(Line2D([], [], color="0.35", marker=".", linestyle="none"))
    labels = [*(f"first spike of output {name}" for name in yinyang.CLASSES), "hidden spike"]
    figure.legend(handles, labels, loc="outside upper center", ncols=2, fontsize="small")


def _draw_decisions(axes: Axes, training: YinYangTraining, network: ep.AbstractNetwork, test: Split) -> None:
    """The class of every point of the disc in colour, the true borders as lines, misjudged test samples as crosses."""
    side = np.linspace(0.0, 2 * yinyang.R_BIG, GRID)
    x, y = np.meshgrid(side, side)
    truth = np.asarray(yinyang.classify(x, y))
    points = np.stack([x, y, 1 - x, 1 - y], axis=-1)[truth >= 0]
    _, output = respond(training, network, np.concatenate([points, test.features]))
    decisions = _decide(output)
    decisions, judged = decisions[: len(points)], decisions[len(points) :]

    image = np.full(truth.shape, np.nan)
    image[truth >= 0] = decisions
    colours = ListedColormap([SILENT, *COLOURS])
    axes.pcolormesh(x, y, image, cmap=colours, vmin=-1.5, vmax=2.5, alpha=0.55, rasterized=True, linewidth=0)
    fine = np.linspace(0.0, 2 * yinyang.R_BIG, 801)
    borders = yinyang.classify(*np.meshgrid(fine, fine))
    for label in range(3):
        axes.contour(fine, fine, borders == label, levels=[0.5], colors="black", linewidths=0.8)
    wrong = judged != test.labels
    for label, colour in enumerate(COLOURS):
        mine = test.features[wrong & (test.labels == label)]
        axes.plot(mine[:, 0], mine[:, 1], "X", color=colour, markersize=6, markeredgecolor="black", markeredgewidth=0.7)
    axes.set_title(f"decisions after training\ncrosses: misjudged, {wrong.sum()} of {len(wrong)}")
    axes.set_aspect("equal")
    axes.set_axis_off()


def draw_curve(axes: Axes, history: dict[str, np.ndarray], published: Sequence[Published]) -> None:
    """Errors over epochs: every seed thin, their mean bold, the published figures dashed with their spread."""
    # Seeds that failed are NaN.
    errors, training = (1 - np.ma.masked_invalid(history[f"{part}_accuracy"]) for part in ("validation", "train"))
    epochs = np.arange(1, len(errors) + 1)
    seeds = errors.shape[1]
    axes.plot(epochs, training.mean(axis=1), color=style.SKY, linewidth=1.2, label="training")
    if seeds > 1:
        axes.plot(epochs, errors, color="black", linewidth=0.5, alpha=0.4)
    marker = "." if len(errors) < 10 else None
    label = f"validation, mean of {seeds} seeds" if seeds > 1 else "validation"
    axes.plot(epochs, errors.mean(axis=1), color="black", linewidth=1.8, marker=marker, label=label)
    for figure in published:
        error, std = 1 - figure.mean, figure.std or 0.0
        axes.axhspan(error - std, error + std, color=style.RED, alpha=0.15, linewidth=0)
        label = f"published {figure.metric.removesuffix('_accuracy')} error"
        axes.axhline(error, color=style.RED, linestyle="--", label=label)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda error, _: f"{100 * error:g} %"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_minor_formatter("")
    axes.set(xlabel="epoch", ylabel="error", xlim=(0, len(errors) + 0.5))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
