"""What a network learned on its chip: a learning curve, and how it spreads over chips."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.card import Published
from benchmarks.experiments.eventprop.yinyang.figures import draw_curve
from benchmarks.experiments.hardware.training import OnChip


def draw_training(config: OnChip, fit: Fit, directory: Path, *, published: Sequence[Published]) -> None:
    """Writes `training.png` into a run's directory: errors over epochs, and every chip's final one."""
    figure = Figure(figsize=(style.PAGE, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(2.0, 1.0), sharey=True)
    draw_curve(left, fit.history, published)
    who = {"chip": "in the loop", "ideal": "without a chip, transferred", "model": "straight through the chip's model"}
    left.set_title(f"trained {who[config.answers]}")
    final = 1 - np.asarray(fit.metrics["test_accuracy"])
    right.plot(np.arange(1, final.size + 1), np.sort(final), "o", color=style.BLUE)
    right.axhline(final.mean(), color="black", linewidth=1)
    right.set(
        xlabel="chips, sorted",
        title=f"test error {100 * final.mean():.1f} ± {100 * final.std(ddof=1):.1f} %"
        if final.size > 1
        else f"test error {100 * final.mean():.1f} %",
    )
    right.grid(alpha=0.3)
    style.save(figure, directory / "training")
