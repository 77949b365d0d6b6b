import numpy as np
import pytest

from benchmarks._sweep.figures import draw
from benchmarks._sweep.grid import Grid

AXES = {"solver": ("exact", "grid"), "width": (50, 100, 200), "rate": (1e-4, 1e-3, 1e-2, 1e-1), "name": ("only",)}


def make(*names, hole=None):
    grid = Grid({name: AXES[name] for name in names}, (0, 1))
    mean = np.arange(len(grid.settings), dtype=float)
    if hole is not None:
        mean[hole] = np.nan
    return draw(grid, mean, np.full_like(mean, 0.5), "validation_accuracy")


def test_one_numeric_axis_gives_a_line():
    (axes,) = make("rate", hole=2).axes
    (bars,) = axes.containers
    np.testing.assert_array_equal(bars[0].get_xydata(), [[1e-4, 0], [1e-3, 1], [1e-1, 3]])
    np.testing.assert_array_equal(np.array(bars[2][0].get_segments())[:, :, 1], [[-0.5, 0.5], [0.5, 1.5], [2.5, 3.5]])
    assert (axes.get_xscale(), axes.get_xlabel(), axes.get_ylabel()) == ("log", "rate", "validation_accuracy")


def test_other_axes_are_lines_of_their_own():
    (axes,) = make("solver", "width", "name").axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["solver = exact", "solver = grid"]
    assert axes.get_xscale() == "linear"


def test_two_numeric_axes_give_a_map():
    axes, _ = make("width", "rate", hole=5).axes
    (image,) = axes.images
    expected = np.arange(12.0).reshape(3, 4)
    expected[1, 1] = np.nan
    np.testing.assert_array_equal(image.get_array().filled(np.nan), expected)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.0001", "0.001", "0.01", "0.1"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["50", "100", "200"]
    assert [text.get_text() for text in axes.texts] == [*map(str, range(5)), "×", *map(str, range(6, 12))]


def test_other_axes_are_panels():
    figure = make("solver", "width", "rate")
    assert [axes.get_title() for axes in figure.axes[:2]] == ["solver = exact", "solver = grid"]
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), np.arange(12.0, 24.0).reshape(3, 4))


@pytest.mark.parametrize("axes", [{"solver": ("a", "b")}, {"flag": (True, False)}, {"rate": (1.0,)}])
def test_without_a_numeric_axis_there_is_nothing_to_draw(axes):
    grid = Grid(axes, (0,))
    assert draw(grid, np.zeros(grid.members), np.zeros(grid.members), "score") is None


def test_maps_without_any_value_are_drawn():
    grid = Grid({name: AXES[name] for name in ("width", "rate")}, (0,))
    assert draw(grid, np.full(12, np.nan), np.full(12, np.nan), "score") is not None
