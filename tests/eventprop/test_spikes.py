"""Spike lists: what comes in goes out, nothing is lost unnoticed, and merging is NumPy's lexsort."""

import equinox as eqx
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from eventprop.spikes import Spikes, SpikeTrains, bucket


def random_trains(rng, neurons, slots, coincident=False):
    """Times [neurons, slots] with random numbers of spikes; coincident ones come from a coarse grid with zero in it."""
    times = np.full((neurons, slots), np.inf)
    for row in times:
        count = rng.integers(0, slots + 1)
        drawn = rng.integers(0, 4, count) * 0.5 if coincident else rng.uniform(0, 60, count)
        row[:count] = np.sort(drawn)
    return times


def lexsorted(times):
    """Reference: all finite times of [neurons, slots], sorted by (time, neuron, slot), and their neurons."""
    neuron, slot = np.nonzero(times != np.inf)
    flat = times[neuron, slot]
    order = np.lexsort((slot, neuron, flat))
    return flat[order], neuron[order]


# Construction and checks


@pytest.mark.parametrize(
    "events, capacity", [(0, 8), (1, 8), (8, 8), (9, 12), (13, 16), (17, 24), (25, 32), (1000, 1024)]
)
def test_bucket(events, capacity):
    assert bucket(events) == capacity


@hypothesis.given(st.integers(1, 10**6))
def test_bucket_wastes_at_most_half(events):
    assert events <= bucket(events) <= max(8, 1.5 * events)


def test_from_events(precision):
    spikes = Spikes.from_events([0.0, 1.5, 1.5], [3, 0, 2])
    assert spikes.times.dtype == precision and spikes.index.dtype == np.int32
    np.testing.assert_array_equal(spikes.times, [0.0, 1.5, 1.5] + 5 * [np.inf])
    np.testing.assert_array_equal(spikes.index, [3, 0, 2, 0, 0, 0, 0, 0])
    assert int(spikes.count()) == 3
    times, index = spikes.to_events()
    np.testing.assert_array_equal(times, [0.0, 1.5, 1.5])
    np.testing.assert_array_equal(index, [3, 0, 2])


def test_from_no_events():
    spikes = Spikes.from_events([], [])
    assert int(spikes.count()) == 0 and spikes.to_events()[0].size == 0


@pytest.mark.parametrize(
    "times, index, capacity, message",
    [
        ([1.0, np.nan], [0, 0], None, r"times\[1\] = nan"),
        ([-0.5, 1.0], [0, 0], None, r"times\[0\] = -0.5"),
        ([1.0, np.inf], [0, 0], None, r"times\[1\] = inf"),
        ([1.0, 1e39], [0, 0], None, r"times\[1\] = 1e\+39"),
        ([1.0, 3.0, 2.0], [0, 0, 0], None, r"times\[2\] = 2.0 comes after 3.0; sort"),
        ([1.0, 2.0], [0], None, r"shapes \(2,\) and \(1,\)"),
        ([[1.0]], [[0]], None, r"shapes \(1, 1\)"),
        ([1.0], [-1], None, "index must not be negative, got -1"),
        ([1.0], [0.5], None, "index must hold integers, got float64"),
        ([1.0], [2**40], None, "index must number sources up to 2147483647, got 1099511627776"),
        ([1.0, 2.0], [0, 0], 1, "capacity = 1 is too small for 2 events"),
    ],
)
def test_from_events_refuses(times, index, capacity, message):
    with pytest.raises(ValueError, match=message):
        Spikes.from_events(times, index, capacity)


def test_from_trains():
    spikes = Spikes.from_trains([[2.0, 4.0], [], [1.0, 2.0, 9.0]], capacity=6)
    np.testing.assert_array_equal(spikes.times, [1.0, 2.0, 2.0, 4.0, 9.0, np.inf])
    np.testing.assert_array_equal(spikes.index, [2, 0, 2, 0, 2, 0])
    assert int(Spikes.from_trains([]).count()) == 0


@pytest.mark.parametrize(
    "train, message",
    [
        ([2.0, 1.0], r"trains\[1\]\[1\] = 1.0 comes after 2.0"),
        ([np.nan], r"trains\[1\]\[0\] = nan"),
        ([[1.0]], r"trains\[1\] must be a vector"),
    ],
)
def test_from_trains_refuses(train, message):
    with pytest.raises(ValueError, match=message):
        Spikes.from_trains([[1.0], train])


def test_shapes_are_checked():
    with pytest.raises((ValueError, TypeError)):
        Spikes(jnp.zeros(3), jnp.zeros(2, jnp.int32))
    with pytest.raises((ValueError, TypeError)):
        SpikeTrains(jnp.zeros((3, 0)))


def test_new_lengths_rarely_recompile():
    traces = 0

    @jax.jit
    def count(spikes):
        nonlocal traces
        traces += 1
        return spikes.count()

    for events in range(65, 129):
        assert int(count(Spikes.from_events(np.arange(events), np.zeros(events, int)))) == events
    assert traces == 2


def test_stack_pads_to_the_largest():
    trials = [Spikes.from_events([1.0], [4]), Spikes.from_events(np.arange(20.0), np.arange(20))]
    batch = Spikes.stack(trials)
    assert batch.times.shape == (2, 24)
    np.testing.assert_array_equal(jax.vmap(Spikes.count)(batch), [1, 20])
    with pytest.raises(ValueError, match="to_events takes one trial"):
        batch.to_events()
    with pytest.raises(ValueError, match="at least one"):
        Spikes.stack([])
    with pytest.raises(ValueError, match="at least the present one, 8, got 4"):
        trials[0].pad(4)


# Rasters


@hypothesis.given(st.sampled_from([(1, 1), (12, 5)]), st.sampled_from([0.1, 0.25, 1.0, 7.3]), st.integers(0, 10**6))
def test_raster_round_trip(shape, dt, seed):
    steps, neurons = shape
    raster = np.random.default_rng(seed).poisson(0.4, (steps, neurons))
    spikes = Spikes.from_raster(raster, dt)
    np.testing.assert_array_equal(eqx.filter_jit(Spikes.to_raster)(spikes, neurons, dt, steps), raster)
    assert int(spikes.count()) == raster.sum()


def test_raster_times_are_bin_centres():
    times, index = Spikes.from_raster(np.array([[0, 2], [1, 0]]), dt=0.5).to_events()
    np.testing.assert_array_equal(times, [0.25, 0.25, 0.75])
    np.testing.assert_array_equal(index, [1, 1, 0])


def test_boolean_raster():
    assert int(Spikes.from_raster(np.array([[True, False], [True, True]]), dt=1.0).count()) == 3


def test_to_raster_drops_nothing():
    spikes = Spikes.from_events([0.5, 2.0], [0, 1])
    np.testing.assert_array_equal(spikes.to_raster(2, 1.0, 3), [[1, 0], [0, 0], [0, 1]])
    with pytest.raises(RuntimeError, match="outside the raster"):
        jax.block_until_ready(eqx.filter_jit(spikes.to_raster)(2, 1.0, 2))
    with pytest.raises(RuntimeError, match="outside the raster"):
        jax.block_until_ready(eqx.filter_jit(spikes.to_raster)(1, 1.0, 3))


def test_to_raster_takes_edges_at_their_word(precision):
    """step dt <= time < (step + 1) dt: the quotient time / dt is rounded, and used to lie in the bin beside."""
    for dt in np.array([0.1, 0.001, 0.3, 1 / 3, 7.0], precision):
        edges = np.arange(400, dtype=precision) * dt
        below = np.nextafter(edges[1:], np.zeros(1, precision))
        for times, counts in ((edges, np.ones(400)), (below, np.append(np.ones(399), 0))):
            raster = Spikes(times, np.zeros(times.size, int)).to_raster(1, dt, 400)
            np.testing.assert_array_equal(raster[:, 0], counts)


@pytest.mark.parametrize("times, index", [([-1.0, 1.0], [0, 1]), ([1.0, 2.0], [-1, 1]), ([np.nan, 1.0], [0, 1])])
def test_to_raster_counts_nothing_from_the_end(times, index):
    """A negative time or index used to be one from the end, as in Python."""
    with pytest.raises(RuntimeError, match="outside the raster"):
        jax.block_until_ready(eqx.filter_jit(Spikes.to_raster)(Spikes(times, index), 2, 1.0, 3))


@pytest.mark.parametrize("dt", [0.0, -1.0, np.nan, np.inf])
def test_to_raster_refuses_traced_dt(dt):
    with pytest.raises(RuntimeError, match="dt must be a positive time step"):
        jax.block_until_ready(eqx.filter_jit(Spikes.from_events([], []).to_raster)(2, jnp.asarray(dt), 3))


@pytest.mark.parametrize("raster", [[[0.5]], [[-1]], [[np.nan]], [[np.inf]]])
def test_from_raster_refuses_what_is_no_count(raster):
    with pytest.raises(ValueError, match="raster must hold spike counts"):
        Spikes.from_raster(raster, 1.0)


@pytest.mark.parametrize("dt", [0.0, -1.0, np.nan, np.inf])
def test_raster_refuses_dt(dt):
    """An infinite one used to lose all spikes."""
    with pytest.raises(ValueError, match="dt must be a positive"):
        Spikes.from_raster([[1]], dt)
    with pytest.raises(ValueError, match="dt must be a positive"):
        Spikes.from_events([1.0], [0]).to_raster(1, dt, 1)


# Trains


def test_first_count_silent():
    trains = SpikeTrains(jnp.array([[1.0, 3.0], [jnp.inf, jnp.inf], [0.0, jnp.inf]]))
    np.testing.assert_array_equal(trains.first(), [1.0, np.inf, 0.0])
    np.testing.assert_array_equal(trains.count(), [2, 0, 1])
    np.testing.assert_array_equal(trains.silent(), [False, True, False])


merge = jax.jit(lambda times, capacity: SpikeTrains(times).merge(capacity), static_argnums=1)


@hypothesis.given(st.sampled_from([(7, 1), (5, 4)]), st.sampled_from([None, 6]), st.booleans(), st.integers(0, 10**6))
def test_merge_is_lexsort(precision, shape, capacity, coincident, seed):
    times = random_trains(np.random.default_rng(seed), *shape, coincident).astype(precision)
    expected_times, expected_index = lexsorted(times)
    spikes, lost = merge(times, capacity)
    size = min(capacity or times.size, times.size)
    kept = min(size, expected_times.size)
    assert spikes.times.shape == (size,) and spikes.times.dtype == precision
    assert int(lost) == expected_times.size - kept
    np.testing.assert_array_equal(spikes.times[:kept], expected_times[:kept])
    np.testing.assert_array_equal(spikes.index[:kept], expected_index[:kept])
    np.testing.assert_array_equal(spikes.times[kept:], np.inf)
    np.testing.assert_array_equal(spikes.index[kept:], 0)


def test_merge_batch_with_overflow_in_some_trials(rng, precision):
    times = np.stack([random_trains(rng, 30, 6) for _ in range(8)]).astype(precision)
    finite = (times != np.inf).sum((1, 2))
    capacity = int(np.median(finite))
    spikes, lost = jax.jit(jax.vmap(lambda times: SpikeTrains(times).merge(capacity)))(times)
    np.testing.assert_array_equal(lost, np.maximum(finite - capacity, 0))
    assert 0 < np.count_nonzero(lost) < 8
    for trial in range(8):
        expected_times, expected_index = lexsorted(times[trial])
        kept = min(capacity, expected_times.size)
        np.testing.assert_array_equal(spikes.times[trial, :kept], expected_times[:kept])
        np.testing.assert_array_equal(spikes.index[trial, :kept], expected_index[:kept])


def test_merge_takes_minus_zero_as_zero(precision):
    times = jnp.array([[0.0], [-0.0], [1.0], [0.0]], precision)
    np.testing.assert_array_equal(merge(times, None)[0].index, [0, 1, 3, 2])


def test_merge_refuses_capacity():
    with pytest.raises(ValueError, match="capacity must be a whole number from 1, but is 0"):
        SpikeTrains(jnp.ones((2, 2))).merge(0)


def test_merge_keeps_nan_visible(precision):
    spikes, _ = merge(jnp.array([[1.0, jnp.nan], [2.0, jnp.inf]], precision), 3)
    assert np.isnan(spikes.times).any()


# Derivatives of merging: a permutation's


def weighted(times, weights, capacity):
    """A loss that tells positions and neurons apart, and that ignores padding."""
    spikes, _ = SpikeTrains(times).merge(capacity)
    finite = spikes.times != jnp.inf
    terms = weights[: spikes.times.size] * (1.0 + spikes.index) * jnp.where(finite, spikes.times, 0.0) ** 2
    return jnp.sum(jnp.where(finite, terms, 0.0))


def expected_gradient(times, weights, capacity):
    neuron, slot = np.nonzero(times != np.inf)
    order = np.lexsort((slot, neuron, times[neuron, slot]))[:capacity]
    neuron, slot = neuron[order], slot[order]
    gradient = np.zeros_like(times)
    gradient[neuron, slot] = 2 * weights[: order.size] * (1 + neuron) * times[neuron, slot]
    return gradient


@pytest.mark.parametrize("capacity", [4, 24])
def test_merge_derivatives(rng, precision, capacity):
    times = np.stack([random_trains(rng, 6, 4) for _ in range(5)]).astype(precision)
    weights = rng.normal(size=24).astype(precision)
    tangents = np.where(times != np.inf, rng.normal(size=times.shape), 0.0).astype(precision)
    expected = np.stack([expected_gradient(trial, weights, capacity) for trial in times])
    tolerance = {"rtol": 1e-5 if precision == np.float32 else 1e-13}

    def loss(times):
        return weighted(times, jnp.asarray(weights), capacity)

    def batch_loss(times):
        return jnp.sum(jax.vmap(loss)(times))

    @jax.jit
    def derivatives(times, tangents):
        return (
            jax.vmap(jax.grad(loss))(times),
            jax.grad(batch_loss)(times),
            jax.vmap(jax.jacfwd(loss))(times),
            jax.jvp(batch_loss, (times,), (tangents,))[1],
        )

    *gradients, slope = derivatives(times, tangents)
    for gradient in gradients:
        np.testing.assert_allclose(gradient, expected, **tolerance)
    np.testing.assert_allclose(slope, np.sum(expected * tangents), rtol=10 * tolerance["rtol"])


def test_padding_has_no_gradient():
    times = jnp.array([[1.0, jnp.inf], [jnp.inf, jnp.inf]])
    # Even a NaN cotangent of a padded event, as a careless loss makes it, does not reach the trains.
    _, pullback = jax.vjp(lambda times: SpikeTrains(times).merge(3)[0].times, times)
    np.testing.assert_array_equal(pullback(jnp.array([2.0, jnp.nan, jnp.nan]))[0], [[2.0, 0.0], [0.0, 0.0]])


# The 64-bit key inside merge survives every transformation, in 32-bit and in 64-bit mode


def merged_times(times):
    return SpikeTrains(times).merge(10)[0].times


def fixed_point(times):
    """Merges three times over in a while loop; the trains of one slot come out sorted."""
    body = lambda carry: (carry[0] + 1, merged_times(carry[1][:, None]))  # noqa: E731
    return lax.while_loop(lambda carry: carry[0] < 3, body, (0, times))[1]


@jax.custom_vjp
def with_own_vjp(times):
    return merged_times(times)


with_own_vjp.defvjp(lambda times: (merged_times(times), times), lambda times, g: jax.vjp(merged_times, times)[1](g))

TRANSFORMED = {
    "vmap": jax.vmap(merged_times),
    "jit vmap": jax.jit(jax.vmap(merged_times)),
    "vmap jit": jax.vmap(jax.jit(merged_times)),
    "vmap filter_jit": jax.vmap(eqx.filter_jit(merged_times)),
    "filter_jit vmap filter_jit": eqx.filter_jit(jax.vmap(eqx.filter_jit(merged_times))),
    "filter_vmap": eqx.filter_vmap(merged_times),
    "checkpoint": jax.vmap(jax.checkpoint(merged_times)),
    "custom_vjp": jax.jit(jax.vmap(with_own_vjp)),
    "map": lambda times: lax.map(merged_times, times),
    "scan": jax.jit(lambda times: lax.scan(lambda carry, x: (carry, jax.checkpoint(merged_times)(x)), 0, times)[1]),
    "cond": jax.jit(jax.vmap(lambda t: lax.cond(jnp.min(t) >= 0, merged_times, lambda t: 0 * t.reshape(-1)[:10], t))),
}


@eqx.filter_jit
def value_and_pullback(function, times):
    out, pullback = jax.vjp(function, times)
    return out, pullback(2 * out)[0]


@pytest.mark.parametrize(
    "precision, dtype",
    [("float32", np.float32), ("float64", np.float32), ("float64", np.float64)],
    indirect=["precision"],
)
@pytest.mark.parametrize("transformed", TRANSFORMED.values(), ids=TRANSFORMED.keys())
def test_merge_is_robust(rng, transformed, dtype, precision):
    times = rng.uniform(0, 60, (4, 5, 3)).astype(dtype)
    times.sort(axis=-1)
    expected = np.sort(times.reshape(4, 15), axis=1)[:, :10]
    out, gradient = value_and_pullback(transformed, times)
    assert out.dtype == dtype and jnp.zeros(1).dtype == precision
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(gradient, np.where(times <= expected[:, -1, None, None], 2 * times, 0))


def test_merge_in_a_while_loop(rng, precision):
    times = rng.uniform(0, 60, (4, 10)).astype(np.float32)
    np.testing.assert_array_equal(jax.jit(jax.vmap(fixed_point))(times), np.sort(times, axis=1))


def test_leading_axes_are_a_batch(precision, rng):
    """[4, 3, 6]: four trials of three neurons. `first` used to be that of neuron 0, in all its slots."""
    times = np.sort(rng.uniform(0, 20, (4, 3, 6)), axis=-1).astype(precision)
    times[times > 15] = np.inf
    times[1, 2] = np.inf
    trains = SpikeTrains(times)
    np.testing.assert_array_equal(trains.first(), times[:, :, 0])
    np.testing.assert_array_equal(trains.count(), np.sum(np.isfinite(times), axis=-1))
    np.testing.assert_array_equal(trains.silent(), np.all(np.isinf(times), axis=-1))
    merged, lost = trains.merge(5)
    np.testing.assert_array_equal(merged.times, np.sort(times.reshape(4, 18))[:, :5])
    np.testing.assert_array_equal(lost, np.sum(np.isfinite(times), axis=(1, 2)) - 5)
    np.testing.assert_array_equal(merged.count(), 5)
    # Two leading axes, through everything that takes events.
    events = jax.tree.map(lambda x: x.reshape(2, 2, 5), merged).pad(7)
    raster = events.to_raster(3, 5.0, 4)
    assert raster.shape == (2, 2, 4, 3)
    for trial in range(4):
        alone = jax.tree.map(lambda x, trial=trial: x[trial], merged)
        np.testing.assert_array_equal(raster.reshape(4, 4, 3)[trial], alone.to_raster(3, 5.0, 4))


def test_lists_and_whole_numbers_become_floats(precision):
    spikes = Spikes([1, 2, 3], [0, 1, 0])
    assert spikes.times.dtype == precision and jnp.issubdtype(spikes.index.dtype, jnp.integer)
    np.testing.assert_array_equal(spikes.to_raster(2, 2.0, 2), [[1, 0], [1, 1]])
    assert SpikeTrains(np.array([[1, 2]])).times.dtype == precision
