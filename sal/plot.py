"""Plots of spikes and of two neurons (extra `plot`): all take matplotlib axes, or make them, and return them."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Array, Float

from sal.spikes import Raster
from sal.theory import SpikeTimingDifferences

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_Values = Array | np.ndarray


def raster(spikes: Raster, ax: "Axes | None" = None) -> "Axes":
    """One tick per spike: time to the right, neurons upwards. One replica."""
    if spikes.spikes.ndim != 2:
        raise ValueError(
            f"spikes must be those of one replica, [time, neurons], got {spikes.spikes.shape}; "
            "take Raster(spikes.spikes[:, replica], spikes.dt)"
        )
    steps, neurons = np.nonzero(np.asarray(spikes.spikes))
    ax = _axes(ax)
    ax.plot(steps * spikes.dt, neurons, linestyle="none", marker="|", color="black")
    ax.set(xlabel="time", ylabel="neuron")
    return ax


def differences(found: SpikeTimingDifferences, lags: int, ax: "Axes | None" = None, **line) -> "Axes":
    """The distribution of spike-timing differences up to `lags` steps on each side (STDD, Fig. 10b).

    To the right are pairs that end with neuron 2, which are causal for W_21. `line` goes to `Axes.plot`.
    """
    times, (before, after) = np.asarray(found.differences(lags)), np.asarray(found.probabilities(lags))
    ax = _axes(ax)
    ax.plot(np.concatenate([-times[::-1], times]), np.concatenate([before[::-1], after]), **line)
    ax.set(xlabel=r"$\Delta t = t_2 - t_1$", ylabel="probability", ylim=(0, None))
    return ax


def phase_plane(
    w12: Float[_Values, " rows"],
    w21: Float[_Values, " columns"],
    updates: Float[_Values, "rows columns 2"],
    ax: "Axes | None" = None,
) -> "Axes":
    """What `sal.phase_plane` returns: the size of the update of W_21 as colour, directions of both as arrows (Fig. 2e).

    W_21 to the right, W_12 upwards; an arrow at every other weight. The colours are `ax.collections[0]`.
    """
    ax, updates = _axes(ax), np.asarray(updates)
    ax.pcolormesh(w21, w12, np.abs(updates[..., 1]), cmap="Greens", shading="nearest")
    every = slice(None, None, 2)
    direction = np.sign(updates[every, every])
    ax.quiver(w21[every], w12[every], direction[..., 1], direction[..., 0], color="0.4", width=0.004)
    ax.set(xlabel="$W_{21}$", ylabel="$W_{12}$", aspect="equal")
    return ax


def _axes(ax: "Axes | None") -> "Axes":
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("sal.plot needs matplotlib: pip install 'credax[plot]'") from error
    return pyplot.subplots()[1]
