import equinox as eqx
import numpy as np

import sal
from benchmarks.experiments.sal.distribution.figures import draw_found
from benchmarks.experiments.sal.distribution.model import Distribution, distribution


def test_the_network_samples_its_distribution(key):
    config = Distribution(units=3, duration=4000)
    metrics, network, result, found = eqx.filter_jit(lambda key: distribution(config, key))(key)
    assert result == sal.RESULTS.successful
    target = sal.Boltzmann(network.connectivity.weight, network.bias).probabilities()
    np.testing.assert_allclose(found.target, target, rtol=1e-5)
    # 7 / 2 over about 2000 independent samples
    assert metrics["kl"] < 0.006
    assert len(draw_found(config, found).axes) == 2
