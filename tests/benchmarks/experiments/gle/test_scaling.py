import jax
import numpy as np
import pytest

from benchmarks._fit import fit
from benchmarks.experiments.gle.mnist1d.model import build
from benchmarks.experiments.gle.scaling.figures import draw_sizes
from benchmarks.experiments.gle.scaling.model import Scaling, ScalingTraining, members
from tests.benchmarks.experiments.gle.test_mnist1d import data as data

SMALL = Scaling(widths=(8, 13), depths=(1, 2), epochs=20, batch_size=20, learning_rate=3e-3)


def test_networks_have_the_sizes_of_their_names(key):
    for name, config in members(SMALL).items():
        sizes = [layer.connection.neurons for layer in build(config, key).layers]
        width, depth = map(int, name.split("x"))
        assert sizes == [width] * depth + [10]


@pytest.mark.slow
def test_all_sizes_learn(data):
    fitted = fit(ScalingTraining(SMALL, data), jax.random.split(jax.random.key(0), 2), progress=False)
    assert set(fitted.history) == {"8x1_accuracy", "8x2_accuracy", "13x1_accuracy", "13x2_accuracy"}
    assert min(np.mean(values) for values in fitted.metrics.values()) > 0.9


def test_the_figure_shows_all_sizes(rng):
    history = {f"{name}_accuracy": rng.uniform(size=(3, 2)) for name in members(Scaling())}
    figure = draw_sizes(Scaling(), history)
    widest, deepest = max(Scaling().widths), max(Scaling().depths)
    last = history[f"{widest}x{deepest}_accuracy"][-1].mean()
    assert figure.axes[0].texts[-1].get_text() == f"{100 * last:.1f}"
