"""Figure of the operators, after Ellenberger et al. 2024: Fig. 3b-e, Fig. 11 and Fig. 12."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import gle
from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.gle.operators.model import FREQUENCIES, Operators, adjoint_transfer, error_neuron
from gle.plot import response

FORWARD, BACKWARD = style.ORANGE, style.PURPLE
Transfers = Mapping[str, tuple[Callable[[Array], Array], str, str]]
"""Label: transfer function of omega, colour, line style."""


def draw(config: Operators, fit: Fit, directory: Path) -> None:
    """Writes `operators` (PNG, PDF) into a run's directory."""
    style.save(draw_operators(config), directory / "operators")


def draw_operators(config: Operators) -> Figure:
    """Phase shifts above, gains below: single operators, error neurons, ratio of time constants, adaptation."""
    figure = Figure(figsize=(style.PAGE, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    columns = figure.subplots(2, 4).T
    tau = config.tau_m
    single: Transfers = {
        r"$D^+$": (gle.Prospective(tau).transfer, FORWARD, "-"),
        r"$I^+$": (gle.DiscountedFuture(tau).transfer, FORWARD, "--"),
        r"$I^-$": (gle.Retrospective(tau).transfer, BACKWARD, "-"),
        r"$D^-$": (gle.Lookback(tau).transfer, BACKWARD, "--"),
    }
    both: Transfers = {
        r"$D^+ I^-$, GLE": (error_neuron(config).transfer, style.BLUE, "-"),
        r"$I^+ D^-$, adjoint": (lambda omega: adjoint_transfer(tau, config.tau_r, omega), style.RED, "--"),
    }
    _draw(columns[0], FREQUENCIES, single, tau)
    _draw(columns[1], FREQUENCIES, both, tau)
    columns[1][0].get_legend().remove()  # it has no room there
    columns[1][1].legend(loc="lower left", fontsize=6, handlelength=1)
    _draw_ratios(columns[2])
    _draw_adaptation(columns[3], config)
    titles = (
        "single operators",
        rf"$\tau^r = {config.tau_r / tau:g}\,\tau^m$",
        r"over $\tau^r/\tau^m$, at $\omega\tau^m = 1$",
        "adaptation\n(dashed: low frequencies)",
    )
    for column, title in zip(columns, titles, strict=True):
        column[0].set_title(title)
        column[0].axhline(0, color="0.7", linewidth=0.8, zorder=0)
        for ax in column:
            ax.spines[["top", "right"]].set_visible(False)
    for column in (columns[0], columns[1], columns[3]):
        column[1].set(xlabel=r"$\omega\tau^m$")
    columns[0][0].set_ylabel(r"phase shift ($\pi$)")
    columns[0][1].set_ylabel("gain")
    return figure


def _draw(axes: np.ndarray, x: Sequence[float] | Array, transfers: Transfers, unit: float = 1.0) -> None:
    """Phases into the first, gains into the second of `axes`, over x = omega times `unit`."""
    for label, (transfer, colour, line) in transfers.items():
        response(
            lambda x, f=transfer: f(x / unit), np.asarray(x), tuple(axes), linestyle=line, color=colour, label=label
        )
    for ax in axes:
        ax.set(xlabel=None, ylabel=None)
    axes[0].legend()


def _draw_ratios(axes: np.ndarray) -> None:
    """Fig. 11: negative, effectively retrospective and effectively prospective ratios."""
    ratios, omega = jnp.linspace(-2, 4, 241), jnp.ones(())
    # Not error_neuron: a negative tau_r has a transfer function, but no integral over the past.
    both: Transfers = {
        "GLE error": (
            lambda ratio: gle.Prospective(1.0).transfer(omega) / gle.Prospective(ratio).transfer(omega),
            style.BLUE,
            "-",
        ),
        "adjoint": (lambda ratio: adjoint_transfer(1.0, ratio, omega), style.RED, "--"),
    }
    _draw(axes, ratios, both)
    for ax in axes:
        _shade(ax)
        ax.set(xscale="linear", yscale="linear")
    axes[1].set(xlabel=r"$\tau^r/\tau^m$", ylim=(0, 4))


def _shade(ax: Axes) -> None:
    for left, right, colour in ((-2, 0, FORWARD), (0, 1, style.BLUE), (1, 4, style.RED)):
        ax.axvspan(left, right, color=colour, alpha=0.08, linewidth=0)


def _draw_adaptation(axes: np.ndarray, config: Operators) -> None:
    """Fig. 12, with its time constants and couplings."""
    tau_m, tau_w = config.tau_m, 0.9 * config.tau_m
    voltage = gle.VoltageAdaptation(tau_m, tau_w, 10 * tau_m / tau_w)
    current = gle.InputAdaptation(tau_m, tau_w, (tau_m + 0.9 * tau_w) / (tau_m + tau_w))
    slow = [frequency for frequency in FREQUENCIES if frequency < 0.3]
    neurons = (("voltage", voltage, style.GREEN), ("input", current, style.SKY))
    _draw(axes, FREQUENCIES, {name: (neuron.transfer, colour, "-") for name, neuron, colour in neurons}, tau_m)
    # A label that begins with an underscore is not in the legend.
    _draw(axes, slow, {f"_{name}": (neuron.slow_transfer, colour, "--") for name, neuron, colour in neurons}, tau_m)
