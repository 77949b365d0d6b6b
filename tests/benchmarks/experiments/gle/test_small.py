import equinox as eqx

from benchmarks.experiments.gle.small.figures import draw_histories
from benchmarks.experiments.gle.small.model import Small, gle_small, learn, spectra
from tests.benchmarks.made_up import made_up


def test_both_rules_find_the_teacher(key):
    config = Small(duration=600.0)
    metrics, _, _, _ = eqx.filter_jit(gle_small)(config, key)
    assert metrics["weight_error"] < 0.02
    assert metrics["adjoint_weight_error"] < 0.1
    assert metrics["train_loss"] < 1e-6


def test_the_figure_shows_what_it_is_given(key, rng):
    config = Small(duration=6.0, spectrum_steps=500)
    _, history, _ = made_up(eqx.filter_eval_shape(learn, config, key, by_adjoints=True), rng)
    figure = draw_histories({"gle": history, "adjoint": history}, spectra(config, key), config)
    assert len(figure.axes) == 4
