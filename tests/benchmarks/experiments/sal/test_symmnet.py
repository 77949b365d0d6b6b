import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.datasets import DataSet, Split
from benchmarks.experiments.sal.symmnet.model import TRANSPORTS, SymmNet, SymmNetTraining
from benchmarks.experiments.sal.symmnet.network import BatchNorm, ConvNet, Convolution, pool
from benchmarks.training import train
from sal.feedback import affine_layers


@pytest.fixture
def data(rng):
    """Images whose upper or lower half is bright, just large enough for two convolutions."""

    def split(samples):
        labels = rng.integers(0, 2, samples).astype(np.int32)
        images = rng.integers(0, 80, (samples, 16, 16))
        images[:, :8] += (120 * labels)[:, None, None]
        return Split(images.astype(np.uint8), labels)

    return DataSet("halves", ("lower", "upper"), split(40), split(10), split(10))


def quick(method):
    return SymmNet(method=method, epochs=4, batch_size=4, sal_updates=1, sal_duration=50.0, replicas=2)


@pytest.mark.parametrize(
    "method", [name if name == "sal" else pytest.param(name, marks=pytest.mark.slow) for name in TRANSPORTS]
)
def test_every_method_learns(method, data, key):
    training = SymmNetTraining(quick(method), data)
    before = eqx.filter_jit(training.init)(key).network
    metrics, network, _ = eqx.filter_jit(train)(training, key)
    assert metrics["test_accuracy"] == 1.0
    angles = [float(metrics[f"angle_{n}"]) for n in (1, 2, 3)]
    assert np.allclose(angles, 0, atol=1e-2) == (method in ("bp", "bp_fa"))
    changed = [
        not np.array_equal(new.backward, old.backward)
        for new, old in zip(affine_layers(network), affine_layers(before), strict=True)
    ]
    assert changed == [method == "bp"] * 2 + [method != "fa"] * 3


def test_the_convolution_is_that_of_equinox(key, rng, precision):
    layer = eqx.nn.Conv2d(3, 4, 5, key=key, dtype=precision)
    images = jnp.asarray(rng.normal(size=(3, 9, 8, 6)), precision)
    ours = eqx.filter_jit(Convolution(layer.weight, layer.bias[:, 0, 0]))(images)
    reference = jax.jit(lambda images: jax.vmap(layer, in_axes=-1, out_axes=-1)(images))(images)
    np.testing.assert_allclose(ours, reference, rtol=1e-4 if precision == np.float32 else 1e-11, atol=1e-5)


def test_batch_normalisation_leaves_zero_mean_and_unit_variance(rng, x64):
    norm, x = BatchNorm.init(), jnp.asarray(rng.normal(3, 2, (64, 3, 2, 50)))
    y = norm.measured(x)(x)
    np.testing.assert_allclose(jnp.mean(y, (1, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(jnp.var(y, (1, 2, 3)), 1, atol=1e-5)
    for _ in range(300):
        norm = norm.averaged(norm.measured(x))
    np.testing.assert_allclose(norm(x), y, atol=1e-9)


def test_the_network_is_that_of_table_3(key):
    def shapes(size):
        network = ConvNet(size, key)
        return [layer.weight for layer in affine_layers(network)], network(jnp.zeros((*size, 2)))

    weights, outputs = jax.eval_shape(lambda: shapes((1, 28, 28)))
    assert [weight.shape for weight in weights] == [
        (64, 1, 5, 5),
        (64, 64, 5, 5),
        (384, 1024),
        (192, 384),
        (10, 192),
    ]
    assert outputs.shape == (2, 10)
    assert jax.eval_shape(lambda: shapes((3, 32, 32)))[0][2].shape == (384, 1600)
    np.testing.assert_array_equal(pool(jnp.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0], [[5, 7], [13, 15]])


def test_the_method_has_to_be_known(data):
    with pytest.raises(ValueError, match=r"one of bp, bp_fa.*'backprop'"):
        SymmNetTraining(SymmNet(method="backprop"), data)
