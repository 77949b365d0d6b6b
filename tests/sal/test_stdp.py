import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventprop as ep
import sal
from tests.sal.reference import stdp_sums, windows

PAIRINGS = {"all": sal.AllPairs(), "last": sal.LastPairs(), "nearest": sal.NearestPairs()}
COINCIDENCES = {"dropped": sal.Dropped(), "shared": sal.Shared(), "pre": sal.Swept(True), "post": sal.Swept(False)}
REFRACTORY = 3
"""Steps."""


def rasters(seed, steps=60, pre=3, post=4):
    """Spikes of neurons that are refractory for three steps, many of them coincident."""
    rng = np.random.default_rng(seed)
    spikes = np.zeros((steps, pre + post))
    free = np.zeros(pre + post, int)
    for t in range(steps):
        spikes[t] = (rng.random(pre + post) < 0.4) & (free <= t)
        free[spikes[t] > 0] = t + REFRACTORY
    return spikes[:, :pre], spikes[:, pre:]


def expected(pre, post, causal, anticausal, pairing, coincidence):
    kind = "swept" if coincidence in ("pre", "post") else coincidence
    shape = post.shape[1], pre.shape[1]
    sums = np.zeros((2, *shape))
    for i in range(shape[0]):
        for j in range(shape[1]):
            trains = np.flatnonzero(pre[:, j]).astype(float), np.flatnonzero(post[:, i]).astype(float)
            sums[:, i, j] = stdp_sums(
                *trains, causal, anticausal, pairing=pairing, coincidence=kind, pre_first=coincidence == "pre"
            )
    return sums


def rule(pairing, coincidence, causal="Exponential", anticausal="Triangular"):
    kernels = [getattr(sal, name)(*windows()[name][0]) for name in (causal, anticausal)]
    return sal.STDP(*kernels, float(REFRACTORY), PAIRINGS[pairing], COINCIDENCES[coincidence])


@pytest.mark.parametrize("coincidence", COINCIDENCES)
@pytest.mark.parametrize("pairing", PAIRINGS)
def test_sums_equal_a_loop_over_spikes(x64, pairing, coincidence):
    pre, post = rasters(0)
    stdp = rule(pairing, coincidence)
    update = eqx.filter_jit(stdp.update)
    sums, _ = update(stdp.init((3,), (4,)), sal.Raster(jnp.array(pre), 1.0), sal.Raster(jnp.array(post), 1.0))
    forth, back = expected(pre, post, windows()["Exponential"][1], windows()["Triangular"][1], pairing, coincidence)
    np.testing.assert_allclose(sums.causal, forth, rtol=1e-12)
    np.testing.assert_allclose(sums.anticausal, back, rtol=1e-12)


@pytest.mark.parametrize("name", windows())
def test_all_windows(x64, name):
    pre, post = rasters(1)
    stdp = rule("all", "pre", name, name)
    sums, _ = eqx.filter_jit(stdp.update)(
        stdp.init((3,), (4,)), sal.Raster(jnp.array(pre), 1.0), sal.Raster(jnp.array(post), 1.0)
    )
    forth, back = expected(pre, post, windows()[name][1], windows()[name][1], "all", "pre")
    np.testing.assert_allclose(sums.causal, forth, rtol=1e-12)
    np.testing.assert_allclose(sums.anticausal, back, rtol=1e-12)


@pytest.mark.parametrize("coincidence", COINCIDENCES)
@pytest.mark.parametrize("pairing", PAIRINGS)
def test_spike_times_give_the_sums_of_the_loop(x64, pairing, coincidence):
    pre, post = rasters(2)
    stdp = rule(pairing, coincidence)
    events = [ep.Spikes.from_raster(raster, 1.0, capacity=120) for raster in (pre, post)]
    sums = eqx.filter_jit(lambda a, b: stdp.pairs(a, b, (4, 3)))(*events)
    # The times carry no half steps: the order within a step decides coincidences only.
    half = {"pre": 0.5, "post": -0.5}.get(coincidence, 0.0)
    functions = (
        lambda s: windows()["Exponential"][1](s - half),
        lambda s: windows()["Triangular"][1](s + half),
    )
    forth, back = expected(pre, post, *functions, pairing, coincidence)
    np.testing.assert_allclose(sums.causal, forth, rtol=1e-12)
    np.testing.assert_allclose(sums.anticausal, back, rtol=1e-12)


@given(seed=st.integers(0, 1000), cut=st.sampled_from((1, 30, 59)), pairing=st.sampled_from(sorted(PAIRINGS)))
def test_a_stream_may_be_cut_anywhere(seed, cut, pairing):
    with jax.enable_x64(True):
        pre, post = rasters(seed)
        stdp = rule(pairing, "shared")
        update = eqx.filter_jit(stdp.update)

        def sums(state, part):
            return update(state, sal.Raster(jnp.array(pre[part]), 1.0), sal.Raster(jnp.array(post[part]), 1.0))

        whole, end = sums(stdp.init((3,), (4,)), slice(None))
        first, state = sums(stdp.init((3,), (4,)), slice(None, cut))
        second, state = sums(state, slice(cut, None))
        jax.tree.map(lambda a, b, c: np.testing.assert_allclose(a + b, c, rtol=1e-12), first, second, whole)
        jax.tree.map(np.testing.assert_array_equal, state, end)


def test_replicas_are_averaged(x64):
    pairs = [rasters(seed) for seed in range(5)]
    stdp = rule("last", "shared")
    pre, post = (sal.Raster(jnp.array(np.stack([p[i] for p in pairs], axis=1)), 1.0) for i in (0, 1))
    together, _ = stdp.update(stdp.init((5, 3), (5, 4)), pre, post)
    alone = [
        stdp.update(stdp.init((3,), (4,)), sal.Raster(jnp.array(a), 1.0), sal.Raster(jnp.array(b), 1.0))[0].causal
        for a, b in pairs
    ]
    np.testing.assert_allclose(together.causal, np.mean(alone, axis=0), rtol=1e-12)


def test_synapses_of_a_sweep_have_their_own_order(x64):
    spikes = np.concatenate(rasters(3), axis=1)
    raster = sal.Raster(jnp.array(spikes), 1.0)
    window = sal.Exponential(5.0, 0.7)
    for name, pairing in PAIRINGS.items():
        stdp = sal.STDP(window, window, 3.0, pairing, sal.one_by_one(7))
        sums, _ = stdp.update(stdp.init((7,), (7,)), raster, raster)
        kernel = windows()["Exponential"][1]
        lower = expected(spikes, spikes, kernel, kernel, name, "pre")
        upper = expected(spikes, spikes, kernel, kernel, name, "post")
        mask = np.tril(np.ones((7, 7), bool), -1)
        off = ~np.eye(7, dtype=bool)
        np.testing.assert_allclose(sums.causal, off * np.where(mask, lower[0], upper[0]), rtol=1e-12)
        # The same pairs, seen from the two synapses of a pair of neurons.
        np.testing.assert_allclose(sums.causal[off], sums.anticausal.T[off], rtol=1e-12)


def test_causal_and_anticausal_nearest_pairs_alternate():
    pre, post = rasters(4, steps=200)
    one = sal.Rectangular(1e4)
    stdp = sal.STDP(one, one, 3.0, sal.NearestPairs(), sal.Swept(True))
    sums, _ = stdp.update(
        stdp.init((3,), (4,)),
        sal.Raster(jnp.array(pre, jnp.float32), 1.0),
        sal.Raster(jnp.array(post, jnp.float32), 1.0),
    )
    assert np.max(np.abs(sums.causal - sums.anticausal)) <= 1


def test_bad_input():
    spikes = jnp.zeros((5, 2))
    stdp = rule("all", "dropped")
    with pytest.raises(ValueError, match="same time and replica axes"):
        stdp.update(stdp.init((2,), (2,)), sal.Raster(spikes, 1.0), sal.Raster(spikes[:4], 1.0))
    with pytest.raises(ValueError, match=r"same time step, got dt 1\.0 and 0\.5"):
        stdp.update(stdp.init((2,), (2,)), sal.Raster(spikes, 1.0), sal.Raster(spikes, 0.5))
    with pytest.raises(ValueError, match="counts must be 0 or 1, got -1"):
        sal.Raster.from_counts(np.array([[0, 1], [-1, 0]]), 1.0)
    with pytest.raises(ValueError, match=r"dt must be positive, got 0\.0"):
        sal.Raster.from_counts(np.zeros((2, 2)), 0.0)
    with pytest.raises(ValueError, match=r"tau must be positive, got -1\.0"):
        sal.Exponential(-1.0)
