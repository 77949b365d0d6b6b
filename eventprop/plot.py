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


def _axes(ax: "Axes | None") -> "Axes":
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("eventprop.plot needs matplotlib: pip install 'credax[plot]'") from error
    return pyplot.subplots()[1]
