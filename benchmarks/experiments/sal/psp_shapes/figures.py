"""Figures of PSP shapes and of stability, after Gierlich et al., Figs. 10 and 11."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.sal.psp_shapes.model import (
    Shapes,
    bias_grid,
    deviations,
    kernels,
    stdd,
    weight_grid,
)
from sal import plot
from sal.two_weights import relative_deviation

BIASES = (((0.0, 0.0), style.BLUE), ((-1.0, 1.0), style.ORANGE), ((1.0, 1.0), style.GREEN))
"""Biases (b_1, b_2) whose time differences are shown."""


def draw(config: Shapes, fit: Fit, directory: Path) -> None:
    """Writes `shapes.png` and `deviations.png` into a run's directory."""
    style.save(draw_shapes(config, fit.recorded()), directory / "shapes")
    style.save(draw_deviations(config), directory / "deviations")


def draw_shapes(config: Shapes, found: dict[str, Float[Array, "biases biases weights"]]) -> Figure:
    """A column per PSP: its shape, time differences at W = 1, the attractors `found`, deviation from the diagonal."""
    figure = Figure(figsize=(style.PAGE, 9.2), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(4, 3)
    biases, w21 = np.asarray(bias_grid(config)), np.asarray(weight_grid(config))
    titles = ("rectangular", rf"$\alpha$, $\tau_{{syn}} = {config.short:.2g}\,\tau_{{ref}}$")
    titles += (rf"$\alpha$, $\tau_{{syn}} = {config.long:.2g}\,\tau_{{ref}}$",)
    for column, ((name, psp), title) in enumerate(zip(kernels(config).items(), titles, strict=True)):
        shape, differences, plane, heat = rows[:, column]
        time = jnp.linspace(0, 4, 401)
        shape.plot(time, psp(time), color="black")
        shape.set(title=title, xlabel=r"$t$ ($\tau_{ref}$)", ylim=(0, 1.4))
        for pair, colour in BIASES:
            _draw_stdd(differences, config, psp, pair, colour)
        differences.set(xlabel=r"$\Delta t = t_2 - t_1$ ($\tau_{ref}$)", ylabel=None)
        rest = np.asarray(found[name])
        _draw_attractors(plane, config, w21, rest)
        distance = jax.vmap(jax.vmap(lambda g: relative_deviation(jnp.asarray(w21), g)[1]))(jnp.asarray(rest))
        heat.pcolormesh(biases, biases, distance, vmin=0, vmax=0.5, cmap="viridis", shading="nearest")
        heat.set(xlabel="$b_2$", aspect="equal", title=f"largest: {np.max(distance):.2g}")
    for ax, label in zip(rows[:, 0], ("PSP", "STDD, per pair", "$W_{12}$ at rest", "$b_1$"), strict=True):
        ax.set_ylabel(label)
    rows[1, 0].legend(loc="lower center")
    figure.colorbar(rows[3, 0].collections[0], ax=rows[3].tolist(), label="deviation $D$ from the diagonal")
    return figure


def _draw_stdd(ax, config: Shapes, psp, pair: tuple[float, float], colour: str) -> None:
    lags, found = 2 * config.steps, stdd(config, psp, 1.0, pair)
    plot.differences(found, lags, ax, color=colour, label=rf"$b = ({pair[0]:g}, {pair[1]:g})$")
    mirrored = dataclasses.replace(found, later=found.later[::-1])
    label = "mirrored" if pair == BIASES[-1][0] else None
    plot.differences(mirrored, lags, ax, color=colour, linestyle=":", linewidth=1, label=label)


def _draw_attractors(ax, config: Shapes, w21: np.ndarray, rest: np.ndarray) -> None:
    """For the lowest, the middle and the highest bias each; coloured by b_2 - b_1."""
    picked = (0, config.biases // 2, config.biases - 1)
    difference = bias_grid(config)
    for first in picked:
        for second in picked:
            shade = (difference[second] - difference[first]) / (4 * config.largest_bias) + 0.5
            finite = np.where(np.isfinite(rest[first, second]), rest[first, second], np.nan)
            ax.plot(w21, finite, color=_shade(float(shade)), linewidth=1.3)
    limit = config.largest_weight
    ax.axline((0, 0), slope=1, color="0.6", linewidth=0.8, linestyle="--", zorder=0)
    ax.set(xlabel="$W_{21}$", xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    ax.set_title(r"blue: $b_1 > b_2$, red: $b_1 < b_2$")


def _shade(position: float) -> tuple[float, float, float]:
    return (position, 0.15, 1 - position)


def draw_deviations(config: Shapes) -> Figure:
    """delta and its integral Delta, for positive weights on the left and negative ones on the right (Fig. 11)."""
    figure = Figure(figsize=(style.PAGE, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2, sharex=True, sharey="row")
    lags, epsilon = 4 * config.steps, 0.005
    times = (np.arange(lags) + 0.5) / config.steps
    for column, sign in enumerate((1, -1)):
        for size, colour in ((0.5, style.BLUE), (1.0, style.ORANGE), (2.0, style.RED)):
            density, integral = deviations(config, sign * size, lags)
            panels[0, column].plot(times, epsilon * density, color=colour, label=f"$W = {sign * size:g}$")
            panels[1, column].plot(times, epsilon * integral, color=colour)
        panels[0, column].legend()
        panels[1, column].set_xlabel(r"$t$ ($\tau_{ref}$)")
    panels[0, 0].set_ylabel(r"$\delta(t)$, $\epsilon = 0.005$")
    panels[1, 0].set_ylabel(r"$\Delta(t)$")
    for ax in panels.ravel():
        ax.axhline(0, color="0.7", linewidth=0.8, zorder=0)
        ax.spines[["top", "right"]].set_visible(False)
    return figure
