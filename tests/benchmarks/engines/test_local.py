import os
import pickle
import signal
import subprocess
import sys
import time

import jax
import pytest

from benchmarks.drive import drive
from benchmarks.engines import Local, WorkerDied, WrongWorker, _call
from benchmarks.errors import InvalidInput
from tests.benchmarks.engines import toy_tasks
from tests.benchmarks.engines.test_drive import batches, kill_one_in_the_middle, run
from tests.benchmarks.engines.toy_tasks import Numbers


@pytest.fixture(scope="module")
def two():
    with Local(workers=2) as engine:
        yield engine


def test_both_workers_are_kept_busy_and_kept(two):
    for _ in range(2):
        seen = [two.submit(toy_tasks.process, Numbers([n])) for n in range(6)]
        processes = {future.result()[0] for future in seen}
        assert len(processes) == 2
        assert os.getpid() not in processes
    assert processes == {future.result()[0] for future in seen}


def test_a_worker_that_dies_is_replaced_and_costs_its_own_member_alone(two):
    found = run(two, toy_tasks.squares_but_seven_kills, batches(2, 4))
    assert found.pop(7) == "The process ended while it ran: SIGKILL, as the system sends it when memory runs out."
    assert found == {n: n**2 for n in range(7)}
    with pytest.raises(WorkerDied, match=r"while it ran: SIGABRT\."):
        two.submit(toy_tasks.squares_but_seven_aborts, Numbers([7])).result()


def test_a_worker_that_is_killed_in_the_middle_loses_nothing(two, tmp_path):
    kill_one_in_the_middle(two, tmp_path)


def test_workers_have_the_settings_of_jax_and_the_data(monkeypatch):
    monkeypatch.setenv("CREDAX_DATA", "some/where")
    with Local(workers=1) as one:
        for double in (False, True, False):
            with jax.enable_x64(double):
                assert one.submit(toy_tasks.x64, Numbers([0])).result() == (double, os.path.abspath("some/where"))


def test_a_worker_with_other_versions_refuses(two, monkeypatch):
    monkeypatch.setattr(_call, "versions", lambda: {"credax": "0.0.1", "numpy": "9.9"})
    with pytest.raises(WrongWorker, match=r"credax .* instead of 0\.0\.1, numpy .* instead of 9\.9"):
        drive(two, toy_tasks.squares, batches(2, 2), lambda task, outcome: None)


def test_what_cannot_be_sent_back_is_said(two):
    with pytest.raises(TypeError, match="cannot be sent back"):
        two.submit(toy_tasks.unpicklable, Numbers([0])).result()
    with pytest.raises(RuntimeError, match="Stubborn: of three parts"):
        two.submit(toy_tasks.raises_the_unpicklable, Numbers([0])).result()


def test_a_signal_that_came_before_stops_the_call():
    asked = [signal.SIGTERM]
    packed = _call.pack(toy_tasks.squares, Numbers([3]))
    assert _call.call(_call.Surroundings.packed(), packed, asked).kind == "stopped"
    assert _call.call(_call.Surroundings.packed(), packed, asked) == _call.Answer("returned", [9])


def test_bad_counts_are_refused():
    with pytest.raises(InvalidInput, match="workers: must be 0"):
        Local(workers=-1)


DRIVER = """
import pickle, signal, sys
from benchmarks.drive import drive
from benchmarks.engines import Local
from tests.benchmarks.engines import toy_tasks

signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs with Ctrl-C ignored
outcomes = []
def done(task, outcome):
    outcomes.append(outcome)
    pickle.dump(outcomes, open(sys.argv[1] + "/outcomes", "wb"))

with Local(workers=2) as engine:  # no `if __name__ == "__main__"`: workers do not import the script
    tasks = [toy_tasks.Numbers([n], sys.argv[1]) for n in range(4)]
    drive(engine, toy_tasks.epochs, tasks, done, toy_tasks.done_epochs)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_driver_that_is_stopped_leaves_whole_epochs_and_no_workers(tmp_path, number):
    command = [sys.executable, "-c", DRIVER, str(tmp_path)]
    tasks = [Numbers([n], str(tmp_path)) for n in range(4)]
    # A session of its own: as with `kill`, and not as with Ctrl-C, the workers do not get the signal from elsewhere.
    driver = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    while min(toy_tasks.done_epochs(task) for task in tasks[:2]) < 5:
        time.sleep(0.02)
    driver.send_signal(number)
    assert driver.wait(20) == {signal.SIGTERM: 143, signal.SIGINT: -signal.SIGINT, signal.SIGKILL: -9}[number]
    time.sleep(0.1)
    reached = [toy_tasks.done_epochs(task) for task in tasks]
    time.sleep(0.1)
    assert reached == [toy_tasks.done_epochs(task) for task in tasks]
    assert min(reached[:2]) >= 5
    assert reached[2:] == [0, 0]
    if number == signal.SIGTERM:
        (tmp_path / "enough").touch()
        subprocess.run(command, check=True, timeout=60)
        assert sorted(pickle.loads((tmp_path / "outcomes").read_bytes())) == sorted(reached)
