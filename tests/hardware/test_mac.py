import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hardware.mac import Conv, Linear, Mac, converting_relu


def reference(x, w, gain, sends=1):
    """Block by block, in integers."""
    total = np.zeros(w.shape[0])
    for start in range(0, len(x), 128):
        block = gain * sends * (w[:, start : start + 128].astype(int) @ x[start : start + 128].astype(int))
        total += np.clip(np.floor(block), -128, 127)
    return np.clip(total, -128, 127)


@pytest.mark.parametrize(
    ("x", "w", "rows", "sends", "wanted"),
    [
        (13, 17, 128, 1, 56),
        (13, -17, 128, 1, -57),
        (13, 17, 256, 1, 112),
        (13, -17, 256, 1, -114),
        (31, 63, 128, 1, 127),
        (31, -63, 128, 1, -128),
        (1, 1, 128, 1, 0),
        (1, -1, 128, 1, -1),
        (5, 9, 128, 2, 23),
    ],
)
def test_single_products(precision, x, w, rows, sends, wanted):
    mac = Mac(0.002, sends=sends)
    assert mac(jnp.full(rows, float(x)), jnp.full((1, rows), float(w)), None) == wanted


def test_two_blocks_of_a_matrix(precision):
    i, j = np.arange(256), np.arange(4)[:, None]
    x, w = (7 * i) % 32, (11 * i + 5 * j + i * j) % 127 - 63
    np.testing.assert_array_equal(w[:, :128] @ x[:128], [-5785, 7860, -1482, -7141])
    found = Mac(0.002)(jnp.asarray(x, float), jnp.asarray(w, float), None)
    np.testing.assert_array_equal(found, [-8, 20, -2, -35])


def test_a_layer_larger_than_the_chip(rng, key):
    mac = Mac.fabricate(key)
    layer = Linear(300, 1030, mac, key=key)
    layer = eqx.tree_at(lambda m: m.weight, layer, jnp.asarray(rng.integers(-63, 64, (1030, 300)), float))
    x = rng.integers(0, 32, 300)
    gain = np.asarray(mac.gain, float)[np.arange(1030) % 512]
    found, wanted = layer(jnp.asarray(x, float)), reference(x, np.asarray(layer.weight), gain)
    assert layer.runs == 9
    assert np.mean(found == wanted) > 0.999  # float32 products next to a whole number
    np.testing.assert_allclose(found, wanted, atol=1)


def test_noise_and_fixed_pattern_have_the_chips_size(key):
    mac = Mac.fabricate(key)
    x, w = jnp.full(128, 13.0), jnp.full((512, 128), 15.5)
    outputs = jax.vmap(lambda k: mac(x, w, k))(jax.random.split(key, 200))
    mean = np.mean(outputs, axis=0)
    assert abs(np.mean(mean) + 0.5 - 128 * 13 * 16 * 0.002) < 0.5
    assert abs(np.mean(np.std(outputs, axis=0)) - np.sqrt(2.0**2 + 1 / 12)) < 0.05
    assert abs(np.std(mean) / np.mean(mean + 0.5) - 3.2 / 51) < 0.006


def test_a_convolution_is_the_product_of_every_patch(rng, key):
    layer = Conv(2, 3, 5, 3, Mac(1 / 256), stride=2, padding=1, use_bias=True, key=key)
    x = rng.integers(0, 32, (3, 7, 8))
    bias = np.asarray([0.0, 4, -7, 30, 1])
    layer = eqx.tree_at(lambda m: m.bias, layer, jnp.asarray(bias))
    w = np.round(np.asarray(layer.weight)).reshape(5, -1)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    wanted = [[reference(patches[:, a, b].ravel(), w, 1 / 256) for b in range(4)] for a in range(4)]
    wanted = np.clip(np.moveaxis(np.asarray(wanted) + bias, -1, 0), -128, 127)
    np.testing.assert_array_equal(layer(jnp.asarray(x, float)), wanted)


def test_gradients_pass_straight_through(x64):
    x, w = jnp.asarray([3.2, 30.0, 7.0]), jnp.asarray([[60.3, 40.0, -20.0], [63.0, 63.0, 63.0]])
    mac = Mac(0.04)  # the second output saturates
    found = jax.jacobian(lambda x, w: mac(x, w, None), argnums=(0, 1))(x, w)
    np.testing.assert_allclose(found[0][0], 0.04 * jnp.round(w[0]))
    np.testing.assert_allclose(found[1][0, 0], 0.04 * jnp.round(x))
    assert mac(x, w, None)[1] == 100
    assert jnp.all(jax.jacobian(lambda x: Mac(0.4)(x, w, None))(x)[1] == 0)


def test_training_a_layer_leaves_the_chip_alone(key):
    """The multiplier by itself has derivatives in its gain, the products; a layer has none."""
    mac, x = Mac.fabricate(key), jnp.full(4, 20.0)
    layer = Linear(4, 3, mac, key=key)
    gradient = eqx.filter_grad(lambda layer: jnp.sum(layer(x, key=key)))(layer)
    assert jnp.any(gradient.weight != 0) and not np.any(gradient.mac.gain) and gradient.mac.noise == 0
    slope = jax.grad(lambda gain: jnp.sum(Mac(gain)(x, layer.weight, None)))(mac.gain)
    np.testing.assert_allclose(slope[:3], jnp.round(layer.weight) @ x, rtol=1e-5)


@pytest.mark.parametrize(("x", "w", "name"), [(31.6, 1.0, "input"), (-0.6, 1.0, "input"), (1.0, 63.6, "weight")])
def test_numbers_out_of_range_are_errors(x, w, name):
    with pytest.raises(RuntimeError, match=f"{name} of the MAC mode lies outside"):
        jax.block_until_ready(Mac()(jnp.asarray([x]), jnp.asarray([[w]]), None))


def test_outputs_become_inputs():
    np.testing.assert_array_equal(converting_relu(jnp.asarray([-5.0, 3, 4, 127])), [0, 0, 1, 31])


def test_settings_out_of_range():
    with pytest.raises(ValueError, match="one per column"):
        Mac(jnp.ones(3))
    with pytest.raises(ValueError, match="sends must be a whole number"):
        Mac(sends=0)
