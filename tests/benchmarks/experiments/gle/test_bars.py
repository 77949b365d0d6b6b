import equinox as eqx
import jax
import numpy as np
import pytest

import gle
from benchmarks.experiments.gle.bars.model import LABELS, Bars, circuit, learn, patterns


def test_patterns_are_bars():
    """Three pixels each; those of one direction do not overlap, but for the diagonals' centre."""
    images = np.asarray(patterns())
    np.testing.assert_array_equal(images.sum(axis=1), 3)
    overlaps = images @ images.T - 3 * np.eye(8)
    for label in (0, 1):
        same = np.array(LABELS) == label
        np.testing.assert_array_equal(overlaps[np.ix_(same, same)], 0)
    assert overlaps[6, 7] == 1


def test_prospective_circuits_learn_from_short_presentations(key):
    """2 ms are less than half a membrane time constant; without prospective coding little is learned from them."""
    config = Bars(epochs=200, blocks=1)
    run = eqx.filter_jit(lambda prospective: learn(config, 2.0, prospective, key))
    trained, accuracy, result = run(True)
    assert result == gle.RESULTS.successful
    assert accuracy[-1] == 1
    before = circuit(config, True, key)
    for one, other in zip(*(jax.tree.leaves(c.feedback) for c in (trained, before)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert max(np.abs(x).max() for x in jax.tree.leaves(trained.up[0])) <= 4


@pytest.mark.slow
def test_what_has_been_learned_is_kept(key):
    """Outputs that learn new targets from the image before forget after half of a thousand epochs."""
    run = eqx.filter_jit(lambda: learn(Bars(blocks=20), 2.0, True, key))
    _, accuracy, result = run()
    assert result == gle.RESULTS.successful
    np.testing.assert_array_equal(accuracy[-12:], 1)
