"""Plots of spikes and membrane potentials (extra `plot`): all take matplotlib axes, or make them, and return them."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Array, Float

from eventprop.parameters import check_type
from eventprop.spikes import Spikes, SpikeTrains

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_Values = Array | np.ndarray


def raster(spikes: Spikes | SpikeTrains, ax: "Axes | None" = None) -> "Axes":
    """One tick per spike: time to the right, sources upwards. One trial."""
    if not isinstance(spikes, Spikes | SpikeTrains):
        raise ValueError(f"spikes must be Spikes or SpikeTrains, but are {spikes!r}.")
    if isinstance(spikes, SpikeTrains):
        spikes, _ = spikes.merge()
    times, index = spikes.to_events()
    ax = _axes(ax)
    ax.plot(times, index, linestyle="none", marker="|", color="black")
    ax.set(xlabel="time", ylabel="neuron")
    return ax


def voltages(
    times: Float[_Values, "time"],
    values: Float[_Values, "time neurons"],
    threshold: float | None = None,
    spikes: SpikeTrains | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Membrane potentials [time, neurons] of one trial, one line each.

    `threshold` adds a dashed line. `spikes` adds a tick per spike in the colour of its neuron, at the threshold if
    given, else at the top.
    """
    values = np.asarray(values)
    if spikes is not None:
        check_type("spikes", spikes, SpikeTrains)
        if spikes.times.shape[:-1] != values.shape[1:]:
            raise ValueError(
                f"spikes must be the trains of the {values.shape[1:]} neurons of values, but are {spikes.times.shape}, "
                "[neurons, slots]."
            )
    ax = _axes(ax)
    lines = ax.plot(times, values)
    height = float(np.max(values)) if threshold is None else threshold
    if threshold is not None:
        ax.axhline(threshold, linestyle="--", color="gray", linewidth=1)
    if spikes is not None:
        for line, train in zip(lines, np.asarray(spikes.times), strict=True):
            fired = train[np.isfinite(train)]
            ax.plot(fired, np.full(fired.shape, height), linestyle="none", marker="|", color=line.get_color())
    ax.set(xlabel="time", ylabel="membrane potential")
    return ax


def implicit_curve(
    parameters: Float[_Values, " parameters"],
    times: Float[_Values, " time"],
    values: Float[_Values, "time parameters"],
    threshold: float,
    spikes: Float[_Values, " parameters"] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Where a potential V(t, p) that depends on a parameter reaches its threshold (Wunderlich & Pehle 2021, Fig. 2).

    V(t, p) - threshold = 0 defines spike times t(p) as an implicit function, with dt/dp = -(dV/dp) / V'. It diverges
    where the curve turns back: at such critical points, marked in red, V only touches the threshold, and the spike
    appears or vanishes.

    `values` are potentials without resets, such as those of `LI` neurons, each with its own value of the parameter;
    `parameters` and `times` increase. `spikes`, times of the first spikes (`SpikeTrains.first`), are drawn as dots.
    """
    ax, values = _axes(ax), np.asarray(values)
    if values.shape != (len(times), len(parameters)):
        raise ValueError(f"values must be [time, parameters], {(len(times), len(parameters))}, but are {values.shape}.")
    height = float(np.max(np.abs(values - threshold)))
    ax.pcolormesh(
        parameters, times, values - threshold, cmap="RdBu_r", vmin=-height, vmax=height, alpha=0.5, rasterized=True
    )
    curves = ax.contour(parameters, times, values, levels=[threshold], colors="black").allsegs[0]
    if spikes is not None:
        ax.plot(parameters, spikes, linestyle="none", marker=".", color="#0072b2", label="spikes")
    turns = np.concatenate([np.zeros((0, 2)), *(curve[_turns(curve[:, 0])] for curve in curves)])
    ax.plot(*turns.T, linestyle="none", marker="o", color="red", label="critical point")
    ax.set(xlabel="parameter", ylabel="time")
    return ax


def _turns(x: Float[np.ndarray, " points"]) -> np.ndarray:
    """Where a sequence turns from rising to falling, or the other way."""
    moves = np.diff(x)
    at = np.flatnonzero(moves)
    return at[1:][moves[at[1:]] * moves[at[:-1]] < 0]


def _axes(ax: "Axes | None") -> "Axes":
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("eventprop.plot needs matplotlib: pip install 'credax[plot]'") from error
    return pyplot.subplots()[1]
