import numpy as np
import pytest

from benchmarks.datasets import yinyang
from benchmarks.speed.problem import T_LATEST, Problem
from benchmarks.speed.race import CONTENDERS, reference
from benchmarks.speed.scaling import slope
from benchmarks.speed.worker import MODULES


def test_the_problem_is_the_latency_coded_training_set():
    problem = Problem.make(hidden=7, batch=4)
    features = yinyang.sample(4, seed=42).features
    expected = np.concatenate([features * T_LATEST, np.zeros((4, 1))], axis=1)
    np.testing.assert_allclose(problem.times_by_source(), expected, rtol=1e-6)
    assert problem.hidden.shape == (5, 7) and problem.output.shape == (7, 3)


def test_each_contender_has_a_module_and_a_row_of_credax_to_be_compared_with():
    for name, (module, _) in CONTENDERS.items():
        assert module in MODULES
        assert reference(name) in CONTENDERS
    assert reference("jaxsnn, outputs refire") == "credax, outputs refire"


def test_slope_is_the_exponent_of_a_power_law():
    x = [1.0, 3.0, 10.0, 50.0]
    assert slope(x, [7 * value**1.3 for value in x]) == pytest.approx(1.3)
