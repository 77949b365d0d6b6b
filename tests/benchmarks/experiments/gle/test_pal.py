import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gle
from benchmarks.datasets import DataSet, Split
from benchmarks.errors import InvalidInput
from benchmarks.experiments.gle import five_ways
from benchmarks.experiments.gle.pal import circuits, teacher
from benchmarks.experiments.gle.pal.model import ClassificationTraining, YinYang
from benchmarks.training import scan_state

CONFIG = circuits.Rates(batch_size=200, pal_steps=50.0)


def start(method, rng):
    """3-4-2."""
    up = [jnp.asarray(rng.normal(size=shape)) for shape in ((4, 3), (2, 4))]
    return circuits.begin(circuits.circuit(method, up, [jnp.asarray(rng.normal(size=(2, 4)))]), method, CONFIG)


def shown(learner, rule, key, batches):
    """The learner after random inputs, with a target."""

    def batch(learner, key):
        inputs = jax.random.uniform(key, (CONFIG.batch_size, 3))
        return circuits.teach(learner, rule, CONFIG, inputs, jnp.full((CONFIG.batch_size, 2), 0.3), key)

    return scan_state(batch, learner, jax.random.split(key, batches))[0]


@pytest.mark.slow
def test_w_takes_one_step_per_batch(key, rng, x64):
    """By the mean gradient of the presentation: that of single steps of the same circuit with W held still."""
    config = dataclasses.replace(CONFIG, to_inter_rate=0.0, from_inter_rate=0.0)
    learner, inputs = start("kp", rng), jnp.asarray(rng.random((CONFIG.batch_size, 3)))
    targets = jnp.full((CONFIG.batch_size, 2), 0.3)
    after, result = circuits.teach(learner, circuits.rules("kp", config), config, inputs, targets, key)
    assert result == gle.RESULTS.successful
    stepper = gle.Exploring(circuits.NOISE, circuits.NOISE_TIME, key)
    still = gle.settle(gle.start(learner.network, stepper=stepper, batch=(200,)), inputs, targets, stepper=stepper)
    stream, target = (jnp.broadcast_to(x, (10, *x.shape)) for x in (inputs, targets))
    gradients = lambda network, signals: network.plasticity(signals)  # noqa: E731
    _, found, _ = gle.online(still, stream, target, dt=circuits.DT, stepper=stepper, observe=gradients)
    for number, rate in enumerate((config.lower_rate, config.upper_rate)):
        before, mean = learner.network.up[number].weight, jnp.mean(found.up[number].weight, axis=0)
        decay = config.kp_decay * before if number else 0.0
        np.testing.assert_allclose(after.network.up[number].weight, before - rate * (mean + decay), rtol=1e-5)
    change = after.network.up[1].weight - learner.network.up[1].weight
    w, b = learner.network.up[1].weight, learner.network.feedback[0].connection.weight
    moved = after.network.feedback[0].connection.weight - b
    np.testing.assert_allclose(moved - change, config.upper_rate * config.kp_decay * (w - b), rtol=1e-4)


def test_b_turns_towards_w_by_noise(key, rng):
    """As in training, W held still and the rate large."""
    config = dataclasses.replace(CONFIG, lower_rate=0.0, upper_rate=0.0)
    learner, rule = start("pal", rng), circuits.rules("pal", config)
    after = eqx.filter_jit(lambda learner, key: shown(learner, rule, key, 40))(learner, key)
    np.testing.assert_array_equal(after.network.up[1].weight, learner.network.up[1].weight)
    assert circuits.angle(after.network) < 30 < circuits.angle(learner.network)


def test_b_turns_towards_w_by_spikes(key, rng):
    learner = start("sal", rng)
    after = circuits.dream(learner, dataclasses.replace(CONFIG, sal_rate=5.0), key).network
    assert circuits.angle(after) < 0.7 * circuits.angle(learner.network)
    np.testing.assert_array_equal(after.from_inter[0].weight, -after.feedback[0].connection.weight.T)


@pytest.mark.slow
def test_the_teacher_is_found_but_by_fixed_feedback(key):
    """The first epochs: backpropagation and Kolen-Pollack come closer than phaseless alignment, that than none."""
    config = teacher.Teacher(epochs=2, batches=50, sal_duration=20.0)
    metrics, networks, result = eqx.filter_jit(teacher.teacher_student)(config, key)
    assert result == gle.RESULTS.successful
    assert metrics["error_bp"] < metrics["error_pal"] < metrics["error_fa"]
    assert metrics["error_kp"] < metrics["error_pal"]
    assert metrics["back_bp"] == metrics["upper_bp"] > 1.5
    assert metrics["back_fa"] < 0 < metrics["back_pal"]
    assert set(networks) == set(five_ways.METHODS)


def test_bytes_become_fractions_and_samples_are_counted(rng):
    def split(size):
        return Split(rng.integers(0, 256, (size, 2, 2)).astype(np.uint8), rng.integers(0, 3, size).astype(np.int32))

    data = DataSet("noise", ("a", "b", "c"), split(20), split(5), split(5))
    training = ClassificationTraining(YinYang(samples=10, batch_size=5), data)
    assert training.steps_per_epoch == 2
    np.testing.assert_allclose(training.train_set[0], data.train.features[:10].reshape(10, 4) / 255, rtol=1e-6)
    with pytest.raises(InvalidInput, match="samples must be at most 20, the training set, but is 21"):
        ClassificationTraining(YinYang(samples=21), data)
