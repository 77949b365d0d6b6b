import os
import time

import numpy as np
import pytest

from benchmarks import sweep
from benchmarks.engines import Ray, Stopped
from benchmarks.engines.ray import Unreachable
from benchmarks.errors import InvalidInput
from tests.benchmarks.engines import toy_tasks
from tests.benchmarks.engines.test_drive import batches, kill_one_in_the_middle, run
from tests.benchmarks.engines.toy_tasks import Numbers
from tests.benchmarks.toy import ToyTraining

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def two():
    with Ray(workers=2) as engine:
        yield engine


def test_a_worker_that_is_killed_in_the_middle_loses_nothing(two, tmp_path):
    kill_one_in_the_middle(two, tmp_path)


def test_a_sweep_has_the_bits_of_one_in_this_process(two, tmp_path):
    options = {"over": {"learning_rate": (0.05, 0.1)}, "seeds": 4, "metric": "validation_accuracy", "chunk": 2}
    ours = sweep(ToyTraining, progress=False, results=tmp_path / "here", **options)
    theirs = sweep(ToyTraining, progress=False, results=tmp_path / "there", engine=two, **options)
    assert theirs.missing == 0
    for name, values in ours.metrics.items():
        np.testing.assert_array_equal(values, theirs.metrics[name])
    networks = [sorted(folder.rglob("networks.eqx")) for folder in (tmp_path / "here", tmp_path / "there")]
    assert [path.read_bytes() for path in networks[0]] == [path.read_bytes() for path in networks[1]]
    assert len(networks[0]) == 4


def test_a_member_that_raises_or_aborts_costs_itself_alone(two):
    found = run(two, toy_tasks.squares_but_seven_raises, batches(2, 4))
    assert found == {n: n**2 for n in range(7)} | {7: "ValueError: no sevens"}
    found = run(two, toy_tasks.squares_but_seven_aborts, [Numbers([6, 7])])
    assert found.pop(7).startswith("The process ended while it ran: The worker died unexpectedly")
    assert found == {6: 36}


def test_workers_have_the_settings_of_jax_and_the_data(two, monkeypatch):
    import jax

    monkeypatch.setenv("CREDAX_DATA", "some/where")
    with jax.enable_x64(True):
        assert two.submit(toy_tasks.x64, Numbers([0])).result() == (True, os.path.abspath("some/where"))


def test_what_is_stopped_ends_after_its_epoch_and_what_waits_does_not_begin(two, tmp_path):
    tasks = [Numbers([n], str(tmp_path)) for n in range(4)]
    futures = [two.submit(toy_tasks.epochs, task) for task in tasks]
    while min(toy_tasks.done_epochs(task) for task in tasks[:2]) < 5:
        time.sleep(0.02)
    two.stop()
    for future in futures:
        with pytest.raises(Stopped):
            future.result(20)
    reached = [toy_tasks.done_epochs(task) for task in tasks]
    assert 5 <= min(reached[:2])
    assert reached[2:] == [0, 0]
    (tmp_path / "enough").touch()
    again = [two.submit(toy_tasks.epochs, task).result() for task in tasks[:2]]
    assert again == reached[:2]


def test_an_address_where_nobody_answers_is_an_error_within_seconds():
    two_seconds = time.monotonic() + 2.0
    with pytest.raises(Unreachable, match=r"Nobody answers at the Ray address 127\.0\.0\.1:9 .*ray start --head"):
        Ray("127.0.0.1:9")
    with pytest.raises(InvalidInput, match="address: must be host:port or auto, got 'cluster'"):
        Ray("cluster")
    assert time.monotonic() < two_seconds


def test_bad_arguments_are_refused(two):
    with pytest.raises(InvalidInput, match="workers: must be 1 or more, got 0"):
        Ray(workers=0)
    with pytest.raises(InvalidInput, match=r"got cpus = 0, gpus = 0"):
        Ray(cpus=0, gpus=0)
    with pytest.raises(InvalidInput, match="leave out the address, auto"):
        Ray("auto")
