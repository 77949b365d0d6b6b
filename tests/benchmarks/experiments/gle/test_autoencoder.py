import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gle
from benchmarks.datasets import DataSet, Split
from benchmarks.errors import InvalidInput
from benchmarks.experiments.gle.autoencoder import model
from benchmarks.training import scan_state

SIZES = (16, 6, 2, 6, 16)
CONFIG = model.Autoencoder(samples=100, batch_size=50, hidden=6, pal_steps=200.0)


@pytest.fixture
def data(rng):
    def split(size):
        images = rng.integers(0, 256, (size, 4, 4)).astype(np.uint8)
        return Split(images, rng.integers(0, 10, size).astype(np.int32))

    return DataSet("noise", tuple("0123456789"), split(120), split(20), split(20))


@pytest.mark.slow
def test_b_aligns_while_w_learns(data, key):
    """All B at once; with constant W within a batch the noise is all that moves the rates."""
    training = model.AutoencoderTraining(CONFIG, data)
    rule, stepper = model.rules("pal", CONFIG), gle.Exploring(model.NOISE, model.NOISE_TIME, key)
    learner = gle.start(model.build("pal", SIZES, key), rule, stepper=stepper, batch=(CONFIG.batch_size,))
    images = training.train_set[0]

    def batch(learner, key):
        samples = jax.random.randint(key, (CONFIG.batch_size,), 0, len(images))
        learner, result = training._show(learner, rule, images[samples], key)
        return learner, result == gle.RESULTS.successful

    run = eqx.filter_jit(lambda learner, keys: scan_state(batch, learner, keys))
    after, successful = run(learner, jax.random.split(key, 300))
    assert successful.all()
    assert model.angle(after.network) < 30 < model.angle(learner.network)
    losses = [model.judge(x.network, images)[1] for x in (learner, after)]
    assert losses[1] < 0.8 * losses[0]


def test_a_classifier_reads_clusters(rng):
    labels = np.arange(200) % 10
    corners = 5 * np.stack([np.cos(0.2 * np.pi * np.arange(10)), np.sin(0.2 * np.pi * np.arange(10))], axis=1) + 3
    codes = jnp.asarray(corners[labels] + 0.1 * rng.normal(size=(200, 2)))
    read = model.classifier(codes, jnp.asarray(labels))
    assert jnp.mean(jnp.argmax(read(codes), axis=-1) == labels) == 1


def test_samples_are_counted(data):
    with pytest.raises(InvalidInput, match="samples must be at most 120, the training set, but is 121"):
        model.AutoencoderTraining(model.Autoencoder(samples=121), data)
