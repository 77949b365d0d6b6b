"""Figures of two weights that align, and of what they align by, after Gierlich et al., Fig. 2b-e."""

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import sal
from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.sal.pair.model import Course, Pair, differences, network
from sal import plot
from sal.two_weights import attractor, phase_plane

BOTH, ONE = style.RED, "0.25"
CAUSAL, ANTICAUSAL = "#7b3294", style.BLUE
GRID = 17
LIMIT = 2.0


def draw(config: Pair, fit: Fit, directory: Path) -> None:
    """Writes `pair` and `principles` (PNG, PDF) into a run's directory, the former from its first seed's record."""
    style.save(draw_courses(config, *fit.recorded()), directory / "pair")
    style.save(draw_principles(config), directory / "principles")


SHOWN = 12
"""Refractory periods of spikes that are shown."""
PAIRS = (((0.5, 2.0), "excitatory, $W_{21} > W_{12}$"), ((-0.5, -2.0), "inhibitory, $W_{21} < W_{12}$"))
"""(W_12, W_21) whose spike-timing differences are shown."""


def draw_principles(config: Pair) -> Figure:
    """Spikes and their differences as W_21 sees them; by theory, how these are distributed; the window of SAL."""
    figure = Figure(figsize=(style.PAGE, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplot_mosaic([["spikes", "spikes", "spikes"], ["0", "1", "window"]], height_ratios=(1, 1.8))
    _draw_spikes(axes["spikes"], config)
    for name, (weights, title) in enumerate(PAIRS):
        ax, lags = axes[str(name)], 3 * config.steps
        for pair, line in (
            (weights, {"color": "black"}),
            ((weights[0], weights[0]), {"color": "0.6", "linestyle": ":"}),
        ):
            found = differences(config, pair)
            label = "unequal" if pair == weights else "both $W_{12}$"
            plot.differences(found, lags, ax, label=label, **line)
        ax.axvspan(0, 3, color=CAUSAL, alpha=0.15, linewidth=0)
        ax.axvspan(-3, 0, color=ANTICAUSAL, alpha=0.15, linewidth=0)
        ax.set(title=title, xlabel=r"$t_2 - t_1$ ($\tau_{\mathrm{ref}}$)", xlim=(-3, 3))
    axes["0"].legend(fontsize="small", frameon=False, loc="upper right", handlelength=1.2)
    time, window = np.linspace(0, 3, 100), sal.Exponential(1.0)
    axes["window"].plot(time, -np.asarray(window(jnp.asarray(time))), color=CAUSAL, label="causal")
    axes["window"].plot(-time, np.asarray(window(jnp.asarray(time))), color=ANTICAUSAL, label="anti-causal")
    axes["window"].axhline(0, color="0.7", linewidth=0.8, zorder=0)
    axes["window"].set(title=r"$\Delta W_{21} / \eta$ per pair", xlabel=r"$t_2 - t_1$ ($\tau_{\mathrm{ref}}$)")
    axes["window"].legend(fontsize="small", frameon=False, loc="upper right", handlelength=1.2)
    return figure


def _draw_spikes(ax: Axes, config: Pair) -> None:
    """Nearest pairs, coloured by who was first."""
    weights, dt = PAIRS[0][0], 1 / config.steps
    pair = sal.two_neurons(weights, (config.b1, config.b2), sal.Rectangular(1.0), 1.0)
    spikes = np.asarray(sal.simulate(pair, SHOWN, dt=dt, key=jax.random.key(1)).spikes.spikes)
    events = sorted((step + 0.5 * neuron, neuron) for step, neuron in zip(*np.nonzero(spikes), strict=True))
    for (first, before), (second, after) in itertools.pairwise(events):
        if before != after:
            ends = np.array([first, second]) * dt
            ax.plot(ends, [1 - before, 1 - after], color=ANTICAUSAL if before else CAUSAL, linewidth=1)
    for neuron in range(2):
        times = np.array([time for time, who in events if who == neuron]) * dt
        ax.plot(times, np.full(len(times), 1 - neuron), "|", color="black", markersize=12)
    ax.set_yticks([1, 0], ["neuron 1", "neuron 2"])
    ax.set(
        xlabel=r"time ($\tau_{\mathrm{ref}}$)", ylim=(-0.5, 1.5), title="pairs that are causal for $W_{21}$ in purple"
    )


def draw_courses(config: Pair, found: Course, theory: Course) -> Figure:
    """Weights over time on the left, in the plane of both weights on the right."""
    figure = Figure(figsize=(style.PAGE, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    _draw_time(left, config, found, theory)
    _draw_plane(figure, right, config, found)
    return figure


def _draw_time(ax: Axes, config: Pair, found: Course, theory: Course) -> None:
    records = found.both.shape[-2]
    time = np.arange(records + 1) * config.duration / records
    start = np.array([[config.w12, config.w21]])
    curves = ((BOTH, found.both, theory.both, "both learn"), (ONE, found.one, theory.one, r"only $W_{21}$ learns"))
    for colour, runs, curve, label in curves:
        for synapse in range(2):
            quartiles = np.percentile(runs[..., synapse], (25, 50, 75), axis=0)
            low, middle, high = (np.concatenate([start[0, synapse : synapse + 1], q]) for q in quartiles)
            ax.fill_between(time, low, high, color=colour, alpha=0.2, linewidth=0)
            ax.plot(time, middle, color=colour, label=label if synapse else None)
            ax.plot(time[1:], curve[:, synapse], ":", color="black", linewidth=1.2, zorder=3)
    ax.plot([], [], ":", color="black", label="theory")
    for synapse, (name, below) in enumerate((("$W_{12}$", -14), ("$W_{21}$", 2))):
        ax.annotate(name, (0, start[0, synapse]), (6, below), textcoords="offset points")
    ax.margins(y=0.08)
    ax.locator_params(axis="x", nbins=5)
    ax.set(xlabel=r"time ($\tau_{\mathrm{ref}}$)", ylabel="weight")
    ax.set_title(f"median and quartiles of {found.both.shape[0]} simulations")
    ax.legend()
    ax.spines[["top", "right"]].set_visible(False)


def _draw_plane(figure: Figure, ax: Axes, config: Pair, found: Course) -> None:
    grid = jnp.linspace(-LIMIT, LIMIT, GRID)
    alone, window, dt = network(config), sal.Exponential(1.0), 1 / config.steps
    plot.phase_plane(grid, grid, phase_plane(alone, grid, grid, window, dt=dt), ax)
    figure.colorbar(ax.collections[0], ax=ax, label=r"$|\langle\Delta W\rangle| / \eta$ per pair of spikes")
    ax.plot(grid, attractor(alone, grid, window, dt=dt, tolerance=1e-4), color=style.BLUE, linewidth=2.5)
    for colour, runs in ((BOTH, found.both), (ONE, found.one)):
        path = np.concatenate([[[config.w12, config.w21]], np.median(runs, axis=0)])
        ax.plot(path[:, 1], path[:, 0], color=colour, linewidth=2)
    ax.plot(config.w21, config.w12, "o", color="black", markersize=5)
    ax.set_title("theory: arrows, attractor (blue);\npaths of the weights")
