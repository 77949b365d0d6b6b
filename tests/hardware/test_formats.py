import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
import hardware as hw


def test_the_page_for_users_of_hxtorch_runs():
    text = (Path(__file__).parents[2] / "docs" / "hxtorch.md").read_text(encoding="utf-8")
    names: dict = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], names)
    dense = names["dense"]
    assert dense.shape == (6, 1, 2)
    assert dense[2, 0, 0] == 1 and dense[4, 0, 1] == 2 and dense.sum() == 3
    np.testing.assert_allclose(names["again"].times[0, :3], [1.25, 2.25, 2.25])
    np.testing.assert_allclose(names["spikes"].times[:2], [1.0, 2.0], rtol=1e-6)


def test_dense_spikes_keep_trials_and_leading_axes():
    trials = [ep.Spikes.from_events([0.1, 0.9], [2, 0]), ep.Spikes.from_events([0.6], [1])]
    dense = hw.to_dense(ep.Spikes.stack(trials), 3, 0.5, 2)
    np.testing.assert_array_equal(dense, [[[0, 0, 1], [0, 0, 0]], [[1, 0, 0], [0, 1, 0]]])
    np.testing.assert_array_equal(hw.to_dense(hw.from_dense(dense, 0.5), 3, 0.5, 2), dense)
    with pytest.raises(ValueError, match=r"dense must be \[time, batch, neurons\]"):
        hw.from_dense(dense[0], 0.5)


def test_traces_are_interpolated_and_differentiable():
    samples = jnp.asarray([[0.0, 10.0], [2.0, 6.0]])[None]
    dense = hw.trace_to_dense(samples, jnp.asarray([0.0, 2.0]), 0.5, 6)
    np.testing.assert_allclose(dense[:, 0, 0], [0, 0.5, 1, 1.5, 2, 2])
    assert dense.shape == (6, 1, 2)
    slope = jax.grad(lambda x: hw.trace_to_dense(x, jnp.asarray([0.0, 2.0]), 0.5, 6)[1, 0, 1])(samples)
    np.testing.assert_allclose(slope, [[[0.0, 0.75], [0.0, 0.25]]])


def test_first_spikes_and_highest_samples():
    events = ep.Spikes.stack([ep.Spikes.from_events([1.0, 2.0, 3.0], [1, 0, 1]), ep.Spikes.from_events([4.0], [2])])
    first = hw.first_spikes(events, 3)
    np.testing.assert_array_equal(first, [[2, 1, np.inf], [np.inf, np.inf, 4]])
    slope = jax.grad(lambda t: hw.first_spikes(ep.Spikes(t, events.index), 3)[0, 1])(events.times)
    np.testing.assert_array_equal(slope, np.eye(1, slope.size).reshape(slope.shape))
    samples = jnp.asarray([[80.0, 1.0], [83.0, 2.0], [83.0, 3.0]])
    np.testing.assert_array_equal(hw.maximum(samples), [83, 3])
    shared = jax.grad(lambda x: hw.maximum(x)[0])(samples)
    np.testing.assert_array_equal(shared, [[0, 0], [0.5, 0], [0.5, 0]])
