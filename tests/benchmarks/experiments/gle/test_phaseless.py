import equinox as eqx
import numpy as np

import gle
from benchmarks.experiments.gle.phaseless.model import Phaseless, gle_phaseless


def test_feedback_turns_towards_the_forward_weights(key):
    """A small network with ten times the rate and decay."""
    config = Phaseless(sizes=(3, 6, 4), presentations=20, replicas=200, backward_rate=250.0)
    metrics, network, result, angles = eqx.filter_jit(gle_phaseless)(config, key)
    assert result == gle.RESULTS.successful
    assert metrics["largest_angle"] < 35 < np.asarray(angles[0]).max()
    np.testing.assert_allclose(angles[-1, 0], metrics["angle_1"])
    assert network.feedback[0].connection.weight.shape == (4, 6)
