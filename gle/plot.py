"""Plots of operators and of networks (extra `plot`): all take matplotlib axes, or make them, and return them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from gle.operators import gain, phase_shift

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_Values = Array | np.ndarray


def response(
    transfer: Callable[[Array], Complex[Array, " frequencies"]],
    omega: Float[_Values, " frequencies"],
    axes: "Sequence[Axes] | None" = None,
    **line: Any,
) -> "Sequence[Axes]":
    """Phase shift in units of pi, and gain, of a transfer function such as `Prospective(tau).transfer` (Fig. 3d, e).

    Phases go into the first of two `axes`, gains into the second; `line` goes to `Axes.plot`.
    """
    axes = _axes(2) if axes is None else axes
    found = transfer(jnp.asarray(omega))
    axes[0].plot(omega, np.asarray(phase_shift(found)) / np.pi, **line)
    axes[1].plot(omega, np.asarray(gain(found)), **line)
    axes[0].set(xscale="log", ylabel=r"phase shift ($\pi$)")
    axes[1].set(xscale="log", yscale="log", xlabel=r"$\omega$", ylabel="gain")
    return axes


def rates(
    times: Float[_Values, " time"],
    values: Float[_Values, "time neurons"],
    target: Float[_Values, "time neurons"] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Rates, or potentials, of one stream, one line per neuron; the `target` of each dashed in its colour."""
    ax = _axes(1)[0] if ax is None else ax
    lines = ax.plot(times, values)
    for number, line in enumerate(lines if target is not None else []):
        ax.plot(times, np.asarray(target)[:, number], linestyle="--", color=line.get_color(), linewidth=1)
    ax.set(xlabel="time", ylabel="rate")
    return ax


def _axes(count: int) -> "list[Axes]":
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("gle.plot needs matplotlib: pip install 'credax[plot]'") from error
    return list(pyplot.subplots(count, squeeze=False)[1][:, 0])
