import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.experiments.gle.alignment.figures import draw_angles
from benchmarks.experiments.gle.alignment.model import Alignment, AlignmentTraining, compare
from benchmarks.experiments.gle.mnist1d.model import MNIST1D, build
from tests.benchmarks.experiments.gle.test_mnist1d import data as data


def test_without_lags_all_gradients_are_exact(key, x64, rng):
    network = build(MNIST1D(hidden=(3, 3, 3), layers=2), key).without_lags()
    inputs, target = jnp.asarray(rng.normal(size=(30, 4, 1))), jnp.asarray(rng.dirichlet(np.ones(10), 4))
    for found in eqx.filter_jit(compare)(network, inputs, jnp.broadcast_to(target, (30, 4, 10))).values():
        np.testing.assert_allclose(found.cosines, 1, atol=1e-12)
    # Without lags every moment is an equilibrium, in which the energy is the cost.
    logits = eqx.filter_jit(jax.vmap(lambda x: network.frozen().equilibrium(x).u[-1]))(inputs)
    np.testing.assert_allclose(found.energy, jnp.mean(-target[None] * jax.nn.log_softmax(logits)) * 10, rtol=1e-10)
    np.testing.assert_allclose(
        found.errors[-1], jnp.sqrt(jnp.mean((target[None] - jax.nn.softmax(logits)) ** 2)), rtol=1e-10
    )


def test_the_figure_shows_every_layer(data, key, rng):
    config = Alignment(hidden=(3, 3, 3), layers=1, epochs=2, batch_size=20)
    training = AlignmentTraining(config, data)
    _, metrics = eqx.filter_eval_shape(lambda: training.epoch(training.init(key), jnp.zeros((), jnp.int32)))
    history = {name: rng.uniform(size=(2, 2)) for name in metrics}  # epochs, seeds
    assert [len(ax.lines) for ax in draw_angles(config, history).axes] == [2, 2, 2, 1]
