import dataclasses

import equinox as eqx
import jax
import numpy as np
import pytest

from benchmarks.datasets import DataSet, Split
from benchmarks.experiments.gle.latent_equilibrium.figures import draw_curves, draw_samples
from benchmarks.experiments.gle.latent_equilibrium.model import Dense, LatentEquilibriumTraining, LeNet5, Subset
from benchmarks.training import train


@pytest.fixture
def shape(request):
    """Of an image, as data sets have it."""
    return getattr(request, "param", (28, 28))


@pytest.fixture
def data(rng, shape):
    """Images whose upper half is bright or dark."""

    def split(samples):
        labels = rng.integers(0, 2, samples).astype(np.int32)
        images = rng.integers(0, 80, (samples, *shape))
        images[labels == 1, :14] += 120
        return Split(images.astype(np.uint8), labels)

    return DataSet("halves", ("dark", "bright"), split(60), split(20), split(20))


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (Dense(hidden=(20, 10)), (28, 28)),
        pytest.param(LeNet5(hidden=(20, 10)), (28, 28), marks=pytest.mark.slow),
        pytest.param(Subset(hidden=(20, 10)), (32, 32, 3), marks=pytest.mark.slow),  # LeNet-5 too
    ],
    indirect=["shape"],
)
def test_networks_learn(config, data, key):
    training = LatentEquilibriumTraining(dataclasses.replace(config, epochs=5, batch_size=10), data)
    metrics, _, _ = eqx.filter_jit(train)(training, key)
    assert metrics["test_accuracy"] == 1.0


@pytest.mark.parametrize(
    ("config", "shape"),
    [(LeNet5(hidden=(20, 10)), (28, 28)), (Subset(hidden=(20, 10)), (32, 32, 3))],
    indirect=["shape"],
)
def test_lenet_has_a_program(config, data, key):
    """Traced, not compiled: a first look at what the slow tests run."""
    training = LatentEquilibriumTraining(dataclasses.replace(config, epochs=5, batch_size=10), data)
    metrics, _, _ = eqx.filter_eval_shape(train, training, key)
    assert metrics["test_accuracy"].shape == ()


def test_latent_equilibrium_is_backpropagation(data, key):
    """tau_m = tau_r and gamma = 0: rates and errors follow at once, so what is learned differs by rounding alone."""
    networks = []
    for backpropagation in (False, True):
        config = Dense(hidden=(20, 10), epochs=1, batch_size=10, learning_rate=1e-2, backpropagation=backpropagation)
        _, network, _ = eqx.filter_jit(train)(LatentEquilibriumTraining(config, data), key)
        networks.append(jax.tree.leaves([layer.connection for layer in network.layers]))
    for latent, back in zip(*networks, strict=True):
        np.testing.assert_allclose(latent, back, atol=1e-4)


def test_the_figures_show_what_they_are_given(data, rng):
    curves = draw_curves(Dense(), rng.uniform(size=(5, 2)))
    assert len(curves.axes[0].lines) == 3
    (dark, bright) = draw_samples(data).axes
    assert np.max(dark.images[0].get_array()[:14]) < 80 <= np.max(bright.images[0].get_array()[:14])


def test_presentation_has_to_last(data):
    with pytest.raises(ValueError, match="presentation must be at least 1"):
        LatentEquilibriumTraining(Dense(presentation=0), data)
