"""What a network learned of MNIST, in one picture: digits, what the readouts say to them, learning curve."""

from collections.abc import Sequence
from pathlib import Path

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.card import Published
from benchmarks.datasets import load
from benchmarks.datasets._types import Split
from benchmarks.experiments.eventprop.mnist.model import Mnist, MnistTraining, encode
from benchmarks.experiments.eventprop.yinyang.figures import draw_curve

SHOWN = (2, 4, 8)
"""Digits whose first image in the validation set is shown."""
LENGTH = 80.0
"""Of the potentials that are drawn, in ms."""


def draw_digits(config: Mnist, fit: Fit, directory: Path, *, published: Sequence[Published] = ()) -> None:
    """Writes `training` (PNG, PDF) into a run's directory. Potentials are those of the run's first seed."""
    network = jax.tree.map(lambda x: x[0] if eqx.is_array(x) else x, fit.network)
    validation = load("mnist").validation
    chosen = [int(np.argmax(validation.labels == digit)) for digit in SHOWN]
    split = Split(validation.features[chosen], validation.labels[chosen])
    spikes, times = encode(split, config.t_max), jnp.linspace(0.0, LENGTH, 400)
    training = eqx.tree_at(lambda t: (t.train_set, t.validation_set, t.test_set), MnistTraining(config), (None,) * 3)
    run = eqx.filter_jit(lambda trial: training.simulate(network, trial, saveat=diffrax.SaveAt(ts=times)))
    solution = jax.vmap(run)(spikes)

    figure = Figure(figsize=(style.PAGE, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2, width_ratios=(1.7, 1.0))  # pyright: ignore[reportGeneralTypeIssues]
    panels = left.subplots(2, len(SHOWN), height_ratios=(1.0, 1.3))
    for column, image, label in zip(panels.T[:, :1], split.features, split.labels, strict=True):
        column[0].imshow(image, cmap="gray_r")
        column[0].set(title=f"a {label}", xticks=[], yticks=[])
    for axes, v, label in zip(panels[1], solution.ys[1], split.labels, strict=True):
        _draw_potentials(axes, np.asarray(times), np.asarray(v), int(label))
    panels[1, 0].set_ylabel("potential of each readout")
    draw_curve(right.subplots(), fit.history, published)
    style.save(figure, directory / "training")


def _draw_potentials(axes: Axes, times: np.ndarray, v: np.ndarray, label: int) -> None:
    """The right readout in colour, with its maximum; the name of whichever has the largest one."""
    for number, potential in enumerate(v.T):
        right = number == label
        axes.plot(
            times, potential, color=style.RED if right else "0.6", linewidth=1.8 if right else 0.8, zorder=2 + right
        )
    winner = int(np.argmax(v.max(axis=0)))
    at = int(np.argmax(v[:, winner]))
    axes.plot(times[at], v[at, winner], "o", color="black", markersize=4, zorder=4)
    axes.annotate(str(winner), (times[at], v[at, winner]), xytext=(4, 4), textcoords="offset points")
    axes.set(xlabel="time (ms)", xlim=(0, times[-1]))
