import dataclasses

import jax
import numpy as np
import pytest

from benchmarks._fit import fit
from benchmarks.experiments.gle.mnist1d.model import DT, MNIST1D, MNIST1DTraining, build
from benchmarks.experiments.gle.robustness.figures import draw_noise
from benchmarks.experiments.gle.robustness.model import Robustness, RobustnessTraining, members, mismatched
from gle import RESULTS
from tests.benchmarks.experiments.gle.test_mnist1d import data as data

SMALL = Robustness(
    hidden=(4, 4, 4),
    layers=1,
    epochs=2,
    batch_size=20,
    learning_rate=3e-3,
    averaging=0.5,
    time_constants=(0.1,),
    rates=(3.0,),
)


def test_time_constants_are_drawn_around_those_of_the_population(key):
    """3000 neurons: a standard deviation is known to 1.3 %, a mean to 0.002."""
    network = build(MNIST1D(hidden=(1000, 1000, 1000), layers=2), key)
    layer = mismatched(network, 0.1, key).layers[1]
    slow = np.asarray(layer.tau_m[:2000])
    np.testing.assert_allclose([slow.mean(), slow.std()], [1.2, 0.1], atol=0.007)
    assert layer.tau_r.min() == np.float32(DT)


def test_the_noise_of_a_member_is_its_own(data):
    """The member without noise is MNIST-1D's network, and noise three times as large as the input is fatal."""
    fitted = fit(RobustnessTraining(SMALL, data), jax.random.split(jax.random.key(0), 2), progress=False)
    assert set(fitted.history) == {f"{name}_accuracy" for name in members(SMALL)}
    assert np.all(fitted.result == RESULTS.successful)
    plain = MNIST1D(**{field.name: getattr(SMALL, field.name) for field in dataclasses.fields(MNIST1D)})
    alone = fit(MNIST1DTraining(plain, data), jax.random.split(jax.random.key(0), 2), progress=False)
    np.testing.assert_allclose(
        fitted.history["without_noise_accuracy"], alone.history["validation_accuracy"], atol=1e-6
    )
    final = {name: values.mean() for name, values in fitted.metrics.items()}
    assert final["rates_3_accuracy"] < 0.8 < 0.95 <= final["time_constants_0.1_accuracy"]
    assert len(draw_noise(SMALL, fitted.history).axes) == 2


def test_negative_noise_is_refused(data):
    with pytest.raises(ValueError, match=r"noise must not be negative, but rates is \(-0\.1,\)"):
        RobustnessTraining(dataclasses.replace(SMALL, rates=(-0.1,)), data)
