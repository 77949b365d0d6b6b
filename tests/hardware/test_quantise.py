import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hardware.quantise import floor_to, round_to, saturated

ROW = [0.49, 0.51, -0.51, 62.4, 62.6, 63.7, 1000, -1000, -0.2]


def test_it_rounds_then_saturates(precision):
    found = np.asarray(round_to(jnp.asarray(ROW, precision), -63, 63))
    np.testing.assert_array_equal(found, [0, 1, -1, 62, 63, 63, 63, -63, 0])
    assert not np.signbit(found[-1])
    assert found.dtype == precision
    assert saturated(jnp.asarray(ROW), -63, 63) == 3


def test_gradients_pass_inside_and_stop_beyond():
    x = jnp.asarray(ROW)
    inside = [1, 1, 1, 1, 1, 0, 0, 0, 1]
    np.testing.assert_array_equal(jax.grad(lambda x: jnp.sum(round_to(x, -63, 63)))(x), inside)
    np.testing.assert_array_equal(jax.jvp(lambda x: round_to(x, -63, 63), (x,), (jnp.ones_like(x),))[1], inside)


def test_a_converter_takes_the_floor():
    x = jnp.asarray([-3.0, -0.01, 0.99, 254.9, 255.9, 256.0])
    np.testing.assert_array_equal(floor_to(x, 0, 255), [0, 0, 0, 254, 255, 255])
    np.testing.assert_array_equal(jax.grad(lambda x: jnp.sum(floor_to(x, 0, 255)))(x), [0, 0, 1, 1, 1, 0])


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, jax.vmap])
def test_nan_is_an_error(wrap):
    with pytest.raises(RuntimeError, match="NaN cannot be quantised"):
        jax.block_until_ready(wrap(lambda x: round_to(x, -63, 63))(jnp.asarray([1.0, jnp.nan])))
