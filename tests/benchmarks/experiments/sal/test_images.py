import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sal
from benchmarks.experiments.sal.images.figures import draw_images
from benchmarks.experiments.sal.images.model import (
    VISIBLE,
    Images,
    ImagesTraining,
    build,
    completed,
    conditional,
    model,
    patterns,
)

TINY = Images(hidden=2, epochs=1, cycles=2, chains=2, completion=20, steps=4)


def test_the_images():
    found = patterns()
    assert found.shape == (14, VISIBLE)
    rows = found.reshape(-1, 3, 3)
    same = np.all(rows == rows[:, :, :1], axis=(1, 2)) | np.all(rows == rows[:, :1], axis=(1, 2))
    assert np.all(same)


def test_the_model_is_what_the_network_samples(rng):
    parameters = {"weight": jnp.asarray(rng.normal(size=(2, 9))), "bias": jnp.asarray(rng.normal(size=11))}
    z = rng.random((5, 11)) < 0.5
    target = model(parameters)
    log_p = target.log_probabilities()[sal.state_index(jnp.asarray(z))]
    energies = jnp.stack([sal.energy(build(parameters), jnp.asarray(x)) for x in z])
    np.testing.assert_allclose(np.diff(log_p), -np.diff(energies), rtol=1e-4, atol=1e-4)


def test_completion_is_the_conditional_distribution(rng, key):
    parameters = {"weight": jnp.asarray(rng.normal(size=(2, 9))), "bias": jnp.zeros(11)}
    images, found = eqx.filter_jit(completed)(Images(hidden=2, completion=1000, steps=4), parameters, key)
    assert len(images) == 6
    expected = jax.vmap(lambda image: conditional(parameters, image))(images)
    np.testing.assert_array_equal(found[:, :6], images[:, :6])
    np.testing.assert_allclose(found, expected, atol=0.08)  # 1000 refractory periods: .02 per pixel


@pytest.mark.slow
def test_an_epoch_and_its_figure(key):
    training = ImagesTraining(TINY)
    state, metrics = eqx.filter_jit(training.epoch)(training.init(key), jnp.int32(0))
    assert set(metrics) == {"kl_plain", "kl_tempered", "mass_plain", "mass_tempered"}
    assert state.asleep["tempered"].step.shape == (2, 4) and state.asleep["plain"].step.shape == (2,)
    history = {name: np.full((2, 3), float(value)) for name, value in metrics.items()}
    assert len(draw_images(TINY, history, state.parameters["plain"]).axes) == 1 + 3 * 6


@pytest.mark.slow
def test_tempered_sleep_learns_the_images(key):
    config = Images(epochs=6, cycles=200)
    training = ImagesTraining(config)
    epoch = eqx.filter_jit(training.epoch)
    state = training.init(key)
    for number in range(config.epochs):
        state, metrics = epoch(state, jnp.int32(number))
    assert metrics["kl_tempered"] < 0.8 and metrics["mass_tempered"] > 0.7
