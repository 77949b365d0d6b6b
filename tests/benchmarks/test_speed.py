import numpy as np
import pytest

import gle
from benchmarks.datasets import yinyang
from benchmarks.speed import memory, online_scaling, recurrent_race, recurrent_scaling, twin_race
from benchmarks.speed.online_problem import OnlineProblem
from benchmarks.speed.problem import T_LATEST, Problem
from benchmarks.speed.race import CONTENDERS, Entry, reference
from benchmarks.speed.scaling import slope
from benchmarks.speed.with_credax_online import build
from benchmarks.speed.worker import MODULES


def test_the_problem_is_the_latency_coded_training_set():
    problem = Problem.make(hidden=7, batch=4)
    features = yinyang.sample(4, seed=42).features
    expected = np.concatenate([features * T_LATEST, np.zeros((4, 1))], axis=1)
    np.testing.assert_allclose(problem.times_by_source(), expected, rtol=1e-6)
    assert problem.hidden.shape == (5, 7) and problem.output.shape == (7, 3) and problem.lateral.shape == (7, 7)


def test_each_contender_has_a_module_and_a_row_of_credax_to_be_compared_with():
    for name, (module, _) in CONTENDERS.items():
        assert module in MODULES
        assert reference(name) in CONTENDERS
    assert reference("jaxsnn, outputs refire") == "credax, outputs refire"


def test_slope_is_the_exponent_of_a_power_law():
    x = [1.0, 3.0, 10.0, 50.0]
    assert slope(x, [7 * value**1.3 for value in x]) == pytest.approx(1.3)


@pytest.mark.parametrize(("hidden", "parameters"), [((17, 18, 18), 14_956), ((30, 30, 30), 42_040)])
def test_the_online_problem_has_the_published_networks(hidden, parameters):
    assert OnlineProblem.make(hidden).parameters == parameters


def test_the_online_step_goes_on_where_it_stopped():
    problem = OnlineProblem.make((2, 2, 2), layers=2, batch=5)
    whole, parts = (build(problem, gle.Algorithm1(fresh_errors=True)) for _ in range(2))
    parts(3)
    np.testing.assert_allclose(parts(4), whole(7), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seeds", [1, 2])
def test_online_loads_are_measured(seeds):
    assert online_scaling.measure(online_scaling.Load(width=1, layers=1, batch=2, seeds=seeds)) > 0


def test_the_spiking_twins_of_both_contenders_learn_alike():
    forward, backward, biases = twin_race.problem((40, 20, 10))
    gone = [
        twin_race.progress(forward, backward, make(forward, backward, biases, 64)())
        for make in (twin_race.with_credax, twin_race.with_numpy)
    ]
    assert gone[0] == pytest.approx(gone[1], rel=0.15)


def test_a_recurrent_race_is_one_on_equal_spikes():
    def entry(spikes, loss):
        return Entry([0.1], 1.0, loss, "", spikes, 0, "")

    recurrent_race.check_equal({"credax": entry(76.860, 1.2), "jaxsnn": entry(76.865, 1.2)})
    recurrent_race.check_equal({"credax": entry(76.860, 1.2), "jaxsnn": "not installed"})
    for other in (entry(75.0, 1.2), entry(76.86, 1.3)):
        with pytest.raises(RuntimeError, match="Spikes differ"):
            recurrent_race.check_equal({"credax": entry(76.86, 1.2), "jaxsnn": other})


def test_the_networks_that_grow_keep_their_out_degree():
    network, spikes = recurrent_scaling.problem(recurrent_scaling.Load(neurons=30, duration=50.0))
    (inputs, _, lateral), *_ = network.layers
    assert inputs.weight.shape == (3, 1) and lateral.weight.shape == (30, recurrent_scaling.OUT_DEGREE)
    assert 0 < spikes.count() and spikes.times[0] >= 0


@pytest.mark.slow
def test_turns_of_a_recurrent_search_are_counted():
    load = recurrent_scaling.Load(neurons=30, duration=50.0)
    cost = recurrent_scaling.measure(load, 0.5, repeats=1)
    assert cost.spikes > 5
    # A window is as long as the delay, or longer where nobody fires.
    assert 10 < cost.turns <= load.duration / recurrent_scaling.DELAY + 2 + cost.spikes


@pytest.mark.slow
def test_memory_of_a_recurrent_layer_grows_with_its_spikes():
    small = memory.Recurrent(inputs=3, neurons=4, spikes=8, batch=2)
    sizes = [memory.of_recurrent(load) for load in (small, memory.Recurrent(3, 4, 64, 2))]
    assert 0 < sizes[0] < sizes[1]
