import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.experiments.gle_alignment import Alignment, AlignmentTraining, cosines
from benchmarks.experiments.gle_alignment_figures import draw_angles
from benchmarks.experiments.gle_mnist1d import MNIST1D, build
from benchmarks.fit import fit
from tests.benchmarks.experiments.test_gle_mnist1d import data as data


def test_without_lags_all_gradients_are_exact(key, x64, rng):
    network = build(MNIST1D(hidden=(3, 3, 3), layers=2), key).without_lags()
    targets = jnp.asarray(rng.uniform(size=(30, 4, 10)))
    for found in cosines(network, jnp.asarray(rng.normal(size=(30, 4, 1))), targets).values():
        np.testing.assert_allclose(found, 1, atol=1e-12)


def test_the_figure_shows_every_layer(data):
    config = Alignment(hidden=(3, 3, 3), layers=2, epochs=2, batch_size=20)
    fitted = fit(AlignmentTraining(config, data), jax.random.split(jax.random.key(0), 2), progress=False)
    assert [len(ax.lines) for ax in draw_angles(config, fitted.history).axes] == [3, 3]
