"""Parts of the search that a CPU does not run, or that only a batch shows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eventprop.loops import anywhere, elementwise
from eventprop.solvers import search


def test_free_states_side_by_side_are_those_one_after_the_other(x64, rng):
    propagators = tuple(jnp.asarray(x) for x in rng.uniform(0, 1, (3, 17, 1)))
    charges, v, i = (jnp.asarray(rng.normal(size=shape)) for shape in ((17, 5), (5,), (5,)))
    expected = search._one_after_the_other(propagators, charges, v, i)
    for states in zip(*map(jax.tree.leaves, (search._side_by_side(propagators, charges, v, i), expected)), strict=True):
        np.testing.assert_allclose(*states, rtol=1e-13)


@pytest.mark.parametrize("axes", [(), (0,), (1,), (0, 1)])
def test_anywhere_is_shared_by_a_batch_of_any_depth(axes):
    condition = jnp.zeros((2, 3, 4), bool).at[1, 2, 3].set(True)

    def one(condition):
        return anywhere(condition) | jnp.zeros_like(condition)

    for axis in axes:
        one = jax.vmap(one, in_axes=axis, out_axes=axis)
    assert np.all(one(condition))
    assert not np.any(one(jnp.zeros_like(condition)))


def test_a_loop_with_a_shared_condition_keeps_no_copies():
    """Under vmap its condition stays a scalar, so JAX inserts no selection between old and new state."""

    def loop(x):
        return jax.lax.while_loop(lambda x: anywhere(x < 1), lambda x: jnp.where(x < 1, x + 1, x), x)

    batch = jnp.array([-2.0, 0.5, 3.0])
    np.testing.assert_array_equal(jax.vmap(loop)(batch), [1.0, 1.5, 3.0])
    condition = jax.make_jaxpr(jax.vmap(loop))(batch).eqns[0].params["cond_jaxpr"]
    assert condition.out_avals[0].shape == ()


def test_elementwise_sees_one_vector_and_returns_what_it_would_row_by_row(rng):
    shapes = []

    def affine(line, x):
        shapes.append(x.shape)
        return line["slope"] * x + line["offset"]

    slope, offset, x = (jnp.asarray(rng.normal(size=shape)) for shape in ((2,), (2, 3), (5, 2, 3)))
    inner = jax.vmap(elementwise(affine), in_axes=({"slope": 0, "offset": 0}, 0))
    result = jax.vmap(inner, in_axes=(None, 0))({"slope": slope, "offset": offset}, x)
    np.testing.assert_array_equal(result, slope[None, :, None] * x + offset[None])
    assert shapes[-1] == (5 * 2 * 3,)


def test_elementwise_keeps_a_scalar_that_no_batch_has(rng):
    x = jnp.asarray(rng.normal(size=(4, 3)))
    scale = elementwise(lambda factor, x: factor * x if factor.ndim == 0 else jnp.full_like(x, jnp.nan))
    np.testing.assert_array_equal(jax.vmap(scale, in_axes=(None, 0))(jnp.asarray(2.0), x), 2 * x)
