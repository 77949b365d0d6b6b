"""The picture of a sweep: a line over one numeric axis, heat maps over two."""

import itertools
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks._sweep.axes import Value
from benchmarks._sweep.grid import Grid

_CURVES = 6  # more lines than these are not told apart
_PANELS = 12  # more panels than these are not looked at
_LABELLED = 150  # and more cells than these have no room for numbers


def draw(grid: Grid, mean: np.ndarray, std: np.ndarray, metric: str) -> Figure | None:
    """Draws mean (and, for lines, standard deviation) of a metric, [settings] each.

    One numeric axis: lines with error bars, one per combination of the other axes. Two or more: a heat map over the
    last two that are numeric, a panel per combination of the others. None without a numeric axis, or with too many
    panels. Settings without a value are left out of lines and crossed out in maps.
    """
    shape = [len(values) for values in grid.axes.values()]
    numeric = [name for name, values in grid.axes.items() if _is_numeric(values) and len(values) > 1]
    shown = numeric[-2:]
    others = [name for name in grid.axes if name not in shown]
    panels = int(np.prod([len(grid.axes[name]) for name in others]))
    if not shown or panels > _PANELS:
        return None
    order = [list(grid.axes).index(name) for name in others + shown]
    sizes = [len(grid.axes[name]) for name in shown]
    means, stds = (values.reshape(shape).transpose(order).reshape([panels, *sizes]) for values in (mean, std))
    titles = [
        ", ".join(
            f"{name} = {_show(value)}" for name, value in zip(others, values, strict=True) if len(grid.axes[name]) > 1
        )
        for values in itertools.product(*(grid.axes[name] for name in others))
    ]
    if len(shown) == 1:
        return _lines(shown[0], grid.axes[shown[0]], means, stds, titles, metric)
    return _maps(shown, [grid.axes[name] for name in shown], means, titles, metric)


def draw_curves(
    grid: Grid, curves: dict[str, np.ndarray], successful: np.ndarray, ranking: np.ndarray, metric: str
) -> Figure | None:
    """Draws a metric over the epochs: mean and standard deviation over seeds of the best settings.

    `curves` as from `SweepResult.curves`; whether members were `successful`, [members]; settings, the best first. None
    where the metric is not known after every epoch.
    """
    settings, seeds, best = grid.settings, len(grid.seeds), ranking[:_CURVES]
    if metric not in curves or not len(best) or max(curves["epoch"]) < 2:
        return None
    figure = Figure(figsize=(5.0, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    names = [name for name, values in grid.axes.items() if len(values) > 1]
    for number in best:
        mine = (curves["member"] // seeds == number) & successful[curves["member"]]
        epochs = np.unique(curves["epoch"][mine])
        columns = [curves[metric][mine & (curves["epoch"] == epoch)] for epoch in epochs]
        mean = np.array([np.mean(column) for column in columns])
        std = np.array([np.std(column, ddof=min(1, len(column) - 1)) for column in columns])
        label = ", ".join(f"{name} = {_show(settings[number][name])}" for name in names)
        (line,) = axes.plot(epochs, mean, label=label or None)
        axes.fill_between(epochs, mean - std, mean + std, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set(xlabel="epoch", ylabel=metric)
    axes.grid(alpha=0.3)
    if names:
        axes.legend(fontsize="small")
    return figure


def _lines(name: str, values: Any, means: np.ndarray, stds: np.ndarray, labels: list[str], metric: str) -> Figure:
    figure = Figure(figsize=(5.0, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for mean, std, label in zip(means, stds, labels, strict=True):
        good = np.isfinite(mean)
        # A single seed has no spread to show.
        bars = np.nan_to_num(std[good]) if np.isfinite(std[good]).any() else None
        axes.errorbar(
            np.array(values)[good], mean[good], bars, marker="o", markersize=4, capsize=3, label=label or None
        )
    if _is_logarithmic(values):
        axes.set_xscale("log")
    axes.set(xlabel=name, ylabel=metric)
    axes.grid(alpha=0.3)
    if any(labels):
        axes.legend(fontsize="small")
    return figure


def _maps(names: list[str], values: Any, means: np.ndarray, titles: list[str], metric: str) -> Figure:
    columns = min(len(means), 4)
    rows = -(-len(means) // columns)
    cells = [len(axis) for axis in values]
    panel = np.clip(0.62 * cells[1] + 1.6, 3.0, 9.0), np.clip(0.42 * cells[0] + 1.3, 3.2, 7.0)
    figure = Figure(figsize=(columns * panel[0], rows * panel[1]), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(means) :]:
        axes.set_axis_off()
    good = means[np.isfinite(means)]
    low, high = (good.min(), good.max()) if good.size else (0.0, 1.0)
    image = None
    for axes, mean, title in zip(panels, means, titles, strict=False):
        axes.set_facecolor("0.85")
        image = axes.imshow(
            np.ma.masked_invalid(mean), origin="lower", aspect="auto", vmin=low, vmax=high, cmap="viridis"
        )
        axes.set_xticks(range(cells[1]), [_show(value) for value in values[1]], rotation=45, ha="right")
        axes.set_yticks(range(cells[0]), [_show(value) for value in values[0]])
        axes.set(xlabel=names[1], ylabel=names[0], title=title)
        _annotate(axes, mean, (low + high) / 2)
    figure.colorbar(image, ax=panels.tolist(), label=f"mean {metric}")  # pyright: ignore[reportArgumentType]
    return figure


def _annotate(axes: Axes, mean: np.ndarray, middle: float) -> None:
    for (row, column), value in np.ndenumerate(mean):
        if not np.isfinite(value):
            axes.text(column, row, "×", ha="center", va="center", color="0.3")
        elif mean.size <= _LABELLED:
            colour = "black" if value > middle else "white"
            axes.text(column, row, f"{value:.3g}", ha="center", va="center", color=colour, fontsize="x-small")


def _is_numeric(values: tuple[Value, ...]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _is_logarithmic(values: Any) -> bool:
    """Whether the values are spread more evenly in their logarithm: all positive and over more than a decade."""
    return min(values) > 0 and max(values) >= 10 * min(values)


def _show(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
