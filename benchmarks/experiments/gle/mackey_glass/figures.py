"""Figure of the Mackey-Glass experiment, after Ellenberger et al. 2024, Fig. 10: continuations and learning curve."""

from pathlib import Path

import equinox as eqx
import jax
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.datasets.mackey_glass import LYAPUNOV_TIME
from benchmarks.experiments.gle.mackey_glass.model import DT, MackeyGlass, MackeyGlassTraining, smape

EXAMPLES = 3


def draw_continuation(config: MackeyGlass, fit: Fit, directory: Path) -> None:
    """Writes `continuation.png`: the first sequences of the run's first seed, and sMAPE over the epochs."""
    training = MackeyGlassTraining(config)
    networks = jax.tree.map(lambda x: x[0] if eqx.is_array(x) else x, fit.network)
    predictions = eqx.filter_jit(eqx.filter_vmap(training.predict))(networks, training.learned)
    errors = np.asarray(smape(predictions, training.continued))
    figure = Figure(figsize=(style.PAGE, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(EXAMPLES + 1, 1)
    time = np.arange(predictions.shape[1]) * DT / LYAPUNOV_TIME
    # The best, the median and the worst sequence, so that nobody has to guess what was left out.
    ranks = np.argsort(errors)[[0, len(errors) // 2, -1]]
    for ax, number, name in zip(axes, ranks, ("best", "median", "worst"), strict=False):
        ax.plot(time, training.continued[number], color="0.6", label="series")
        ax.plot(time, predictions[number], color=style.GREEN, linewidth=1, label="network")
        ax.set_title(f"{name} of {len(errors)} sequences: sMAPE {errors[number]:.1f} %")
        ax.set(ylim=(0, 1.6), ylabel="x")
    axes[0].legend(ncols=2, loc="lower right")
    axes[EXAMPLES - 1].set_xlabel("Lyapunov times after the last true input")
    curve = fit.history["smape"]
    axes[-1].plot(np.arange(1, len(curve) + 1), curve, color=style.GREEN)
    axes[-1].set(xlabel="epoch", ylabel="sMAPE (%)", ylim=(0, None))
    axes[-1].axhline(14.25, color="0.4", linestyle=":", label="published, last epoch")
    axes[-1].legend()
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    style.save(figure, directory / "continuation")
