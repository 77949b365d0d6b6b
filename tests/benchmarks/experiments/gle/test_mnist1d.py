import dataclasses

import jax
import numpy as np
import pytest

import gle
from benchmarks._fit import Fit
from benchmarks.datasets import DataSet, Split
from benchmarks.experiments.gle.mnist1d.figures import draw_curves, draw_fields, draw_samples
from benchmarks.experiments.gle.mnist1d.model import (
    DT,
    MNIST1D,
    Instantaneous,
    LagNet,
    MNIST1DPaper,
    MNIST1DTraining,
    WithoutDelays,
    build,
)
from benchmarks.experiments.gle.streaming import PLATEAU, judge
from benchmarks.training import train
from gle import RESULTS

SMALL = MNIST1D(hidden=(4, 4, 4), layers=1, epochs=3, batch_size=20, learning_rate=3e-3, averaging=0.5)


@pytest.fixture(scope="module")
def data():
    """Constant streams whose sign or size tells the class: something that a tiny network learns at once."""
    generator = np.random.default_rng(0)

    def split(samples):
        labels = generator.integers(0, 2, samples).astype(np.int32)
        return Split((2.0 * labels[:, None] - 1) + 0.1 * generator.normal(size=(samples, 60)), labels)

    return DataSet("signs", ("minus", "plus"), split(100), split(40), split(40))


@pytest.mark.parametrize(("hidden", "parameters"), [((17, 18, 18), 14_956), ((30, 30, 30), 42_040)])
def test_the_networks_have_the_published_number_of_weights(hidden, parameters):
    network = build(dataclasses.replace(MNIST1D(), hidden=hidden), jax.random.key(0))
    assert sum(x.size for layer in network.layers for x in jax.tree.leaves(layer.connection)) == parameters


@pytest.mark.parametrize("recipe", [MNIST1D, WithoutDelays, Instantaneous])
def test_a_tiny_network_learns_online(recipe, data):
    config = recipe(hidden=(4, 4, 4), layers=1, epochs=3, batch_size=20, learning_rate=3e-3, averaging=0.5)
    metrics, _, result = jax.jit(lambda key: train(MNIST1DTraining(config, data), key))(jax.random.key(0))
    assert metrics["test_accuracy"] == 1.0
    assert metrics["validation_loss"] < 0.5 * np.log(10)
    assert result == RESULTS.successful


def test_a_tiny_network_learns_by_the_paper_s_recipe(data):
    config = MNIST1DPaper(hidden=(4, 4, 4), layers=2, epochs=5, batch_size=20, learning_rate=3e-3)
    metrics, network, result = jax.jit(lambda key: train(MNIST1DTraining(config, data), key))(jax.random.key(0))
    assert metrics["test_accuracy"] == 1.0
    assert result == RESULTS.successful
    before = build(config, jax.random.key(0))
    bounds = [1 / np.sqrt(layer.connection.sources) for layer in before.layers]
    for layer, bound in zip(before.layers, bounds, strict=True):  # uniform in +-bound, biases too
        assert 0.5 * bound < np.abs(layer.connection.weight).max() <= bound
        assert 0 < np.abs(layer.connection.bias).max() <= bound
    assert jax.tree.structure(network) == jax.tree.structure(before)


def test_the_rate_is_halved_as_pytorch_does_it():
    """ReduceLROnPlateau(patience=2): once more than two epochs in a row were no better than 0.9999 of the best one."""
    losses = [2.0, 1.9, 1.95, 1.92, 1.8999, 1.5, 1.6, 1.4, 1.4, 1.4, 1.4, 1.4, 1.4, 1.4]
    scale, best, bad, expected = 1.0, np.inf, 0, []
    for loss in losses:
        best, bad = (loss, 0) if loss < best * (1 - 1e-4) else (best, bad + 1)
        if bad > 2:
            scale, bad = scale / 2, 0
        expected.append(scale)
    state, scales = PLATEAU.init(np.zeros(())), []
    for loss in losses:
        _, state = PLATEAU.update(np.zeros(()), state, value=loss)
        scales.append(float(state.scale))
    assert scales == expected
    assert expected[-1] == 1 / 8


@pytest.mark.parametrize("ongoing", [True, False])
def test_a_network_that_goes_on_is_judged_after_another_sample(ongoing, rng):
    network, stepper = build(SMALL, jax.random.key(0)), gle.Algorithm1(fresh_errors=True)
    inputs, labels = rng.normal(size=(3, 20)).astype(np.float32), np.array([0, 3, 9])
    loss, _ = judge(
        network, jax.numpy.asarray(inputs.T[..., None]), jax.numpy.asarray(labels), stepper, DT, ongoing=ongoing
    )
    losses = []
    for number, label in enumerate(labels):
        stream = np.concatenate([inputs[number - 1], inputs[number]] if ongoing else [inputs[number]])
        learner = gle.start(network, stepper=stepper, batch=(1,))
        _, logits, _ = gle.online(learner, jax.numpy.asarray(stream)[:, None, None], dt=DT, stepper=stepper)
        losses.append(-np.mean(jax.nn.log_softmax(logits[-20:, 0])[:, label]))
    np.testing.assert_allclose(loss, np.mean(losses), rtol=1e-5)


def test_lag_lines_do_not_learn_and_spread_the_past_out(data):
    config = LagNet(hidden=(8,), epochs=1, batch_size=20)
    before = build(config, jax.random.key(0))
    assert [layer.plastic for layer in before.layers] == [False] * 4 + [True] * 2
    _, after, _ = jax.jit(lambda key: train(MNIST1DTraining(config, data), key))(jax.random.key(0))
    np.testing.assert_array_equal(after.layers[0].connection.weight, np.ones((10, 1)))
    # A ramp leaves chain i delayed by 4 (tau_m - tau_r), whatever its slope.
    ramp = 0.2 * np.arange(400.0)[:, None]
    lines = gle.Network(before.layers[:4], gle.MeanSquaredError())
    delayed = gle.infer(lines, jax.numpy.asarray(ramp), dt=0.2)[0]
    np.testing.assert_allclose(ramp[-1] - delayed[-1], 4 * (np.linspace(0.2, 1.8, 10) - 0.2), atol=1e-3)


def test_batches_that_do_not_fit_are_refused(data):
    with pytest.raises(ValueError, match=r"batch_size must be 1\.\.100, the training set, but is 101"):
        MNIST1DTraining(dataclasses.replace(SMALL, batch_size=101), data)


def test_contradicting_rules_are_refused(data):
    with pytest.raises(ValueError, match="algorithm1 = True has prospective errors"):
        MNIST1DTraining(MNIST1DPaper(prospective_errors=False), data)


def test_the_figures_show_what_they_are_given(rng, tmp_path, data, key):
    history = {"validation_accuracy": rng.uniform(size=(5, 2))}
    draw_curves(MNIST1D(), Fit({}, None, RESULTS.successful, history, 0.0, None), tmp_path)
    assert (tmp_path / "curves.png").stat().st_size > 5000
    for ax, sample in zip(draw_samples(data).axes, (-1, 1), strict=True):
        np.testing.assert_allclose(ax.lines[0].get_ydata(), sample, atol=0.5)
    figure = draw_fields(build(dataclasses.replace(SMALL, layers=2), key))
    image = np.asarray(figure.axes[0].images[0].get_array())
    assert image.shape == (12, 45)
    # In the first, linear layer there are three fields, of peaks 1: those of the fast population end first.
    np.testing.assert_allclose(image[:4, 10], 0, atol=1e-5)
    np.testing.assert_allclose(image.max(axis=1), 1, rtol=1e-5)
    assert np.all(image[4:, 10] > 0.01)
