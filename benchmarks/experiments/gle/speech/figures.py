"""Figures of the reduced Speech Commands, after Ellenberger et al. 2024: clips as they are heard and as they are seen
(Fig. 8b), learning curves (Fig. 8e), and the receptive fields that were learned (Fig. 7).
"""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import gle
from benchmarks import datasets, style
from benchmarks._fit import Fit
from benchmarks.datasets.speech_commands import HOP, RATE, Clips, log_mels, normalised
from benchmarks.experiments.gle.fields import WIDTH, receptive_fields
from benchmarks.experiments.gle.mnist1d.figures import draw_curves
from benchmarks.experiments.gle.speech.model import DT, POPULATIONS, Speech

WORDS = ("yes", "no", "stop", "go")
LAGS = 12.0
"""Frames that receptive fields are shown for."""


def draw(config: Speech, fit: Fit, directory: Path) -> None:
    """Writes `curves`, `samples` and, of the run's first seed, `fields` (PNG, PDF) into a run's directory."""
    draw_curves(config, fit, directory)
    style.save(draw_samples(datasets.speech_commands.clips()), directory / "samples")
    network = jax.tree.map(lambda x: x[0] if eqx.is_array(x) else x, fit.network)
    style.save(draw_fields(config, network), directory / "fields")


def draw_samples(clips: Clips) -> Figure:
    """The first clip of some words above, and its features below."""
    chosen = [int(np.argmax(clips.labels == clips.classes.index(word))) for word in WORDS]
    sound = clips.sound[chosen] / 2.0**15
    features = normalised(log_mels(sound))
    scale: dict[str, Any] = {"vmin": features.min(), "vmax": features.max()}
    figure = Figure(figsize=(style.PAGE, 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(WORDS), sharex=True, sharey="row", height_ratios=(1, 1.6))
    for (above, below), word, clip, seen in zip(axes.T, WORDS, sound, features, strict=True):
        above.plot(np.arange(len(clip)) / RATE, clip / np.abs(clip).max(), color=style.BLUE, linewidth=0.3)
        above.set(title=word, yticks=[])
        seconds = len(seen) * HOP / RATE
        image = below.imshow(seen.T, origin="lower", aspect="auto", extent=(0, seconds, 0, seen.shape[1]), **scale)
        below.set_xlabel("time (s)")
    axes[0, 0].set_ylabel("sound")
    axes[1, 0].set_ylabel("mel band")
    figure.colorbar(image, ax=axes[1], label="input", aspect=12)
    return figure


def draw_fields(config: Speech, network: gle.Network) -> Figure:
    """Of each population and hidden layer the neuron whose field is largest: mel bands over the time before."""
    fields = receptive_fields(network, LAGS + WIDTH, DT)[:-1]
    figure = Figure(figsize=(style.PAGE, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(fields), len(POPULATIONS), sharex=True, sharey=True)
    for (row, column), ax in np.ndenumerate(axes):
        own = np.asarray(fields[row][:, :, column * config.neurons : (column + 1) * config.neurons])
        field = own[:, :, np.argmax(np.abs(own).max(axis=(0, 1)))]
        looks: dict[str, Any] = {"extent": (-WIDTH, LAGS, 0, len(field)), "cmap": "RdBu_r", "vmin": -1, "vmax": 1}
        image = ax.imshow(field / np.abs(field).max(), origin="lower", aspect="auto", interpolation="nearest", **looks)
    for ax, (tau_m, tau_r) in zip(axes[0], POPULATIONS, strict=True):
        ax.set_title(rf"$\tau^m$ = {tau_m:g}, $\tau^r$ = {tau_r if config.slow else tau_m:g}")
    for number, ax in enumerate(axes[:, 0], start=1):
        ax.set_ylabel(f"layer {number}: mel band")
    figure.supxlabel("how long ago the input was (frames)", fontsize=8)
    figure.colorbar(image, ax=axes, label="receptive field, of its largest value", shrink=0.6)
    return figure
