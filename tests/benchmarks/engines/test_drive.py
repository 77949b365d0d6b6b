import concurrent.futures
import gc
import multiprocessing
import os
import signal
import time
import tracemalloc
from collections import Counter

import pytest

from benchmarks.drive import Failure, drive
from benchmarks.engines import Local, Stopped, WorkerDied, WrongWorker
from tests.benchmarks.engines import toy_tasks
from tests.benchmarks.engines.toy_tasks import Numbers


class Script:
    """An engine whose futures a function settles: it finishes the newest task first."""

    in_flight = 3

    def __init__(self, fate):
        self.fate, self.open, self.most, self.stopped = fate, [], 0, False
        self.seen = []

    def submit(self, function, task, /):
        future = concurrent.futures.Future()
        self.open.append((future, function, task))
        self.most = max(self.most, len(self.open))
        self.seen.append(task.members)
        if len(self.open) == self.in_flight or task.members[-1] == 99:  # nobody would settle the last ones
            self.settle()
        return future

    def settle(self):
        while self.open:
            future, function, task = self.open.pop()
            try:
                future.set_result(self.fate(function, task))
            except Exception as error:
                future.set_exception(error)

    def stop(self):
        self.stopped = True
        self.settle()


def batches(count, width):
    return [Numbers(list(range(start, start + width))) for start in range(0, count * width, width)]


def run(engine, function, tasks, **options):
    """The outcome of every member, and how often one was told of."""
    outcomes, told = {}, Counter()

    def done(task, outcome):
        told.update(task.members)
        each = [outcome.reason] * len(task) if isinstance(outcome, Failure) else outcome
        outcomes.update(zip(task.members, each, strict=True))

    drive(engine, function, tasks, done, **options)
    assert set(told.values()) <= {1}
    return outcomes


def kill_one_in_the_middle(engine, folder):
    """An engine of processes loses nothing when one of its workers is killed."""

    def kill_once():
        while not (running := list(folder.iterdir())):
            time.sleep(0.01)
        os.kill(int(running[0].name.split("-")[1]), signal.SIGKILL)

    tasks = [Numbers([n, n + 1], str(folder)) for n in range(0, 8, 2)]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        killer = pool.submit(kill_once)
        assert run(engine, toy_tasks.slow_squares, tasks) == {n: n**2 for n in range(8)}
        killer.result()
    assert len(list(folder.iterdir())) == 6  # starts: four tasks, and the halves of the one that was killed


def test_every_task_is_done_once_and_few_are_in_flight():
    script = Script(lambda function, task: function(task))
    assert run(script, toy_tasks.squares, iter(batches(20, 5))) == {n: n**2 for n in range(100)}
    assert script.most == 3


def test_tasks_are_taken_as_workers_become_free():
    taken = []

    def tasks():
        for number in range(4):
            taken.append(number)
            yield Numbers([number])

    seen = []
    drive(Local(), toy_tasks.squares, tasks(), lambda task, outcome: seen.append((list(taken), outcome)))
    assert seen == [([0], [0]), ([0, 1], [1]), ([0, 1, 2], [4]), ([0, 1, 2, 3], [9])]


def test_memory_does_not_grow_with_the_number_of_tasks():
    def peak(count):
        gc.collect()
        tracemalloc.start()
        drive(Local(), toy_tasks.squares, (Numbers([n]) for n in range(count)), lambda task, outcome: None)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(10)
    assert peak(1000) < 1.5 * peak(100)


@pytest.mark.parametrize("error", [WorkerDied("killed"), ValueError("no sevens")])
def test_a_member_that_fails_is_found_by_halves_and_the_others_are_kept(error):
    def fate(function, task):
        if 7 in task.members:
            raise error
        return function(task)

    script = Script(fate)
    reason = "The process ended while it ran: killed." if isinstance(error, WorkerDied) else "ValueError: no sevens"
    script.in_flight = 1
    found = run(script, toy_tasks.squares, batches(2, 8))
    assert found == {n: n**2 for n in range(16) if n != 7} | {7: reason}
    # 8 members, then 4 + 4, 2 + 2, 1 + 1; a worker may die for no fault of the member, which is tried again.
    assert Counter(map(len, script.seen)) == {8: 2, 4: 2, 2: 2, 1: 2 + isinstance(error, WorkerDied)}


@pytest.mark.parametrize("error", [WorkerDied("preempted"), Stopped("asked to")])
def test_a_task_that_progresses_goes_on_whole_as_often_as_it_takes(error):
    reached = {}

    def fate(function, task):
        number = task.members[0]
        reached[number] = reached.get(number, 0) + 1
        if reached[number] < 6:
            raise error
        return function(task)

    script = Script(fate)
    script.in_flight = 1
    found = run(script, toy_tasks.squares, batches(2, 2), progress=lambda task: reached.get(task.members[0], 0))
    assert found == {n: n**2 for n in range(4)}
    assert Counter(map(tuple, script.seen)) == {(0, 1): 6, (2, 3): 6}


def test_a_task_that_has_come_some_way_is_not_halved_for_one_death():
    deaths = iter([WorkerDied("killed as it began")])

    def fate(function, task):
        for error in deaths:
            raise error
        return function(task)

    script = Script(fate)
    script.in_flight = 1
    assert run(script, toy_tasks.squares, batches(1, 4), progress=lambda task: 40) == {n: n**2 for n in range(4)}
    assert script.seen == [[0, 1, 2, 3]] * 2


def test_a_task_that_is_stopped_without_progress_is_given_up_in_the_end():
    def fate(function, task):
        if 1 in task.members:
            raise Stopped("the time was up")
        return function(task)

    script = Script(fate)
    script.in_flight = 1
    assert run(script, toy_tasks.squares, batches(1, 2)) == {0: 0, 1: "the time was up"}
    assert Counter(map(tuple, script.seen)) == {(0, 1): 2, (0,): 1, (1,): 2}


def test_a_worker_of_another_kind_stops_everything_and_keeps_what_is_finished():
    def fate(function, task):
        if task.members == [2]:
            raise WrongWorker("another version")
        return function(task)

    script = Script(fate)
    outcomes = []
    with pytest.raises(WrongWorker, match="another version"):
        drive(script, toy_tasks.squares, batches(9, 1), lambda task, outcome: outcomes.append(outcome))
    assert script.stopped
    assert len(script.seen) == 3
    assert {(0,), (1,)} >= set(map(tuple, outcomes))


def test_an_interrupt_keeps_what_finishes_meanwhile():
    script = Script(lambda function, task: function(task))
    outcomes, before = [], signal.getsignal(signal.SIGTERM)

    def done(task, outcome):
        outcomes.extend(outcome)
        if outcome == [0]:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as left:
        drive(script, toy_tasks.squares, batches(30, 1), done)
    assert left.value.code == 143
    assert script.stopped
    assert len(outcomes) == len(set(outcomes)) <= 6
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_an_executor_of_concurrent_futures_is_an_engine(kind):
    executor = (
        concurrent.futures.ThreadPoolExecutor(2)
        if kind == "threads"
        else concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))
    )
    with executor:
        found = run(executor, toy_tasks.squares_but_seven_raises, batches(4, 3))
    assert found == {n: n**2 for n in range(12) if n != 7} | {7: "ValueError: no sevens"}
