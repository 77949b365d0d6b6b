import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import RESULTS, _width
from benchmarks._programs import Batch
from benchmarks._sweep import sweep, width
from benchmarks._sweep.batch import member_of, programs_of, run_batch
from benchmarks._sweep.target import as_target
from benchmarks.tasks import Task
from tests.benchmarks.sweep.toy import Toy, toy
from tests.benchmarks.toy import TOY


def traced(function, config, names):
    return member_of(as_target(function), config, names)


def heavy(config: Toy, key):
    """Needs a temporary matrix of 4 * 500^2 bytes, at least, per member."""
    matrix = jax.random.uniform(key, (500, 500))
    return {"validation_accuracy": jnp.sum(matrix @ matrix) * config.momentum}, None, RESULTS.successful


def test_chunks_obey_the_measured_memory(monkeypatch):
    budget = 20_000_000
    monkeypatch.setattr(_width, "memory_budget", lambda devices: budget)
    task = Task("", {}, {"momentum": [0.5] * 64}, list(range(64)), width=64)
    target = as_target(heavy)
    found, *_ = width.measured(task, target, Toy())
    needed = programs_of(member_of(target, Toy(), ["momentum"]), found).bytes_per_device()
    assert 500**2 * 4 * found <= needed <= budget
    # Twice the width would not have fitted: the budget is used.
    assert 2 * needed > budget


def test_data_are_arguments_of_the_program():
    data = np.arange(1000.0, dtype=np.float32)

    def with_data(config: Toy, key):
        index = jax.random.randint(key, (), 0, 1000)
        return {"validation_accuracy": jnp.asarray(data)[index] * config.momentum}, None, RESULTS.successful

    target = as_target(with_data)
    member = member_of(target, Toy(), ["momentum"])
    assert (1000,) in [np.shape(constant) for constant in member.finish.constants]
    outcome = run_batch(Task("", {}, {"momentum": [1.0, 2.0, 3.0]}, [0, 1, 2], width=3), target, Toy())
    expected = [(m + 1) * with_data(Toy(momentum=1.0), jax.random.key(m))[0]["validation_accuracy"] for m in range(3)]
    np.testing.assert_allclose(outcome.metrics["validation_accuracy"], expected)
    assert outcome.reasons == ["", "", ""]


def test_padding_is_cut_off(precision):
    programs = programs_of(traced(toy, Toy(), ["momentum"]), 4)
    assert programs.size == 4
    batch = Batch(programs, {"momentum": np.full(5, 0.5, precision)}, np.arange(7, 12, dtype=np.int32))
    metrics, network, *_ = batch.finish(batch.start())
    assert metrics["validation_accuracy"].shape == (5,) and network.shape == (5, 4)
    assert metrics["validation_accuracy"].dtype == precision
    alone = programs_of(traced(toy, Toy(), ["momentum"]), 1)
    one = Batch(alone, {"momentum": np.full(1, 0.5, precision)}, np.array([11], np.int32))
    np.testing.assert_allclose(one.finish(one.start())[0]["test_accuracy"], metrics["test_accuracy"][4:], rtol=1e-6)


def test_the_bits_of_a_member_depend_on_the_width_alone():
    """Not on its neighbours, on its place, nor on how many epochs a call runs."""
    programs = programs_of(traced(TOY, TOY.config(), ["learning_rate"]), 3)

    def train(seeds, blocks):
        batch = Batch(programs, {"learning_rate": np.full(len(seeds), 0.1)}, np.array(seeds, np.int32))
        current, histories = batch.start(), []
        for first, stop in blocks:
            current, history = batch.epochs(current, first, stop)
            histories.append(history["train_loss"])
        return np.concatenate(histories), batch.finish(current)[1].weights

    loss, weights = train([0, 1, 2, 3, 4], [(0, 6)])
    for seeds, blocks in (([4], [(0, 1), (1, 2), (2, 6)]), ([9, 4, 8], [(0, 3), (3, 6)])):
        other, others = train(seeds, blocks)
        np.testing.assert_array_equal(other[:, seeds.index(4)], loss[:, 4])
        np.testing.assert_array_equal(others[seeds.index(4)], weights[4])


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (lambda metrics: metrics, r"must return \(metrics, network, result\), got dict"),
        (lambda metrics: (1.0, None, RESULTS.successful), "dictionary from name to scalar, got 1.0"),
        (lambda metrics: ({}, None, RESULTS.successful), "dictionary from name to scalar"),
        (
            lambda metrics: ({"a": jnp.zeros(3)}, None, RESULTS.successful),
            r"'a' of the experiment must be a real scalar, got shape \(3,\)",
        ),
        (lambda metrics: ({"a": jnp.ones(()) * 1j}, None, RESULTS.successful), "a real scalar, got complex number"),
        (lambda metrics: (metrics, None, 0), "must be from an eqx.Enumeration with `successful`"),
    ],
)
def test_wrong_outcomes_are_refused(outcome, message):
    def wrong(config: Toy, key):
        return outcome({"validation_accuracy": jnp.asarray(config.momentum)})

    with pytest.raises(ValueError, match=message):
        sweep(wrong, over={"momentum": "0.1"}, progress=False)


def test_checks_in_post_init_do_not_see_tracers():
    @dataclasses.dataclass(frozen=True)
    class Checked:
        momentum: float = 0.5

        def __post_init__(self):
            if not 0 <= self.momentum < 1:
                raise ValueError("momentum must lie in [0, 1)")

    def experiment(config: Checked, key):
        return {"validation_accuracy": jnp.asarray(config.momentum)}, None, RESULTS.successful

    assert traced(experiment, Checked(), ["momentum"]).metrics == ["validation_accuracy"]
