"""Parts of the search that a CPU does not run, or that only a batch shows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eventprop.loops import BLOCK, Lookup, _sum_before, anywhere, where_needed
from eventprop.solvers import free


def test_free_states_side_by_side_are_those_one_after_the_other(x64, rng):
    propagators = tuple(jnp.asarray(x) for x in rng.uniform(0, 1, (3, 17, 1)))
    charges, v, i = (jnp.asarray(rng.normal(size=shape)) for shape in ((17, 5), (5,), (5,)))
    expected = free.one_after_the_other(propagators, charges, v, i)
    for states in zip(*map(jax.tree.leaves, (free.side_by_side(propagators, charges, v, i), expected)), strict=True):
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


def _affine(sizes):
    """A function for `where_needed` that notes how many elements it sees."""

    def affine(needed, line, scale, x, looked_up):
        sizes.append(x.size)
        assert scale.ndim == 0  # no batch has it
        return line["slope"] * scale * x + looked_up, x + line["offset"]

    return affine


@pytest.mark.parametrize(
    ("backend", "neurons", "size"), [("cpu", 7, BLOCK), ("cpu", 300, BLOCK), ("gpu", 300, 5 * 2 * 300)]
)
def test_where_needed_returns_what_it_would_row_by_row(backend, neurons, size, rng, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    shape, sizes = (5, 2, neurons), []
    needed = rng.random(shape) < 0.4
    x, otherwise, slope = rng.normal(size=shape), rng.normal(size=shape), rng.normal(size=(2, neurons))
    offset, table, place = rng.normal(size=(5, 2)), rng.normal(size=(5, 9)), rng.integers(9, size=(5, 2, neurons))

    def one(needed, otherwise, slope, offset, x, table, place):
        line = {"slope": slope, "offset": offset}
        return where_needed(_affine(sizes))(needed, (otherwise, x), line, jnp.float32(2), x, Lookup(table, place))

    inner = jax.vmap(one, in_axes=(0, 0, 0, 0, 0, None, 0))
    outer = jax.jit(jax.vmap(inner, in_axes=(0, 0, None, 0, 0, 0, 0)))
    arguments = (jnp.asarray(a, float) for a in (otherwise, slope, offset, x, table))
    values = outer(needed, *arguments, jnp.asarray(place, jnp.int32))
    looked_up = np.take_along_axis(table[:, None], place, axis=2)
    for value, expected, old in zip(
        values, (2 * slope * x + looked_up, x + offset[..., None]), (otherwise, x), strict=True
    ):
        np.testing.assert_allclose(value, np.where(needed, expected, old), rtol=1e-6, atol=1e-6)
    assert sizes[-1] == size


@pytest.mark.parametrize("number", [0, 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_where_needed_takes_as_many_blocks_as_the_elements_need(number, rng):
    blocks, elements = [], 4 * BLOCK
    needed = jnp.zeros(elements, bool).at[rng.permutation(elements)[:number]].set(True)

    def double(counts, x):
        jax.debug.callback(lambda counts: blocks.append(int(counts.sum())), counts)
        return (2 * x,)

    x = jnp.arange(elements, dtype=float)
    (values,) = jax.jit(where_needed(double))(needed, (x,), x)
    jax.effects_barrier()
    np.testing.assert_array_equal(values, jnp.where(needed, 2 * x, x))
    assert sum(blocks) == number and len(blocks) == -(-number // BLOCK)


def test_more_than_int32_can_index_is_refused():
    """Nothing is computed: the shapes alone tell."""
    trials, neurons = 2**15, 2**10
    shape = jax.ShapeDtypeStruct((trials, neurons), jnp.float32)
    place, table = jax.ShapeDtypeStruct(shape.shape, jnp.int32), jax.ShapeDtypeStruct((trials, 2**16), jnp.float32)

    def one(x, table, place):
        return where_needed(lambda needed, y: (y,))(x > 0, (x,), Lookup(table, place))

    with pytest.raises(ValueError, match=r"below 2\^31 .* but is 2147483648; lower `chunk`"):
        jax.eval_shape(jax.vmap(one), shape, table, place)


@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 4096, 4097, 300_000])
def test_sum_before_counts_exactly(size, rng):
    x = rng.integers(0, 2, size).astype(np.float32)
    np.testing.assert_array_equal(jax.jit(_sum_before)(x), np.cumsum(x) - x)
