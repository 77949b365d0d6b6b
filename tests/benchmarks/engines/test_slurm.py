import os
import re
import signal
import time

import pytest

from benchmarks.engines import Slurm, Stopped, slurm
from benchmarks.engines.slurm import _minutes
from benchmarks.errors import InvalidInput
from tests.benchmarks.engines import toy_tasks
from tests.benchmarks.engines.test_drive import run
from tests.benchmarks.engines.toy_tasks import Numbers

pytest.importorskip("submitit")


@pytest.mark.parametrize(
    ("time", "minutes"),
    [(90, 90), ("90", 90), ("5:30", 6), ("04:00:00", 240), ("1-2", 1560), ("1-02:03", 1563), ("2-00:00:01", 2881)],
)
def test_time_is_read_as_slurm_writes_it(time, minutes):
    assert _minutes(time) == minutes


@pytest.mark.parametrize("time", ["4h", "", "0", "1:2:3:4"])
def test_other_times_are_refused(time):
    with pytest.raises(InvalidInput, match="time: "):
        _minutes(time)


def test_jobs_are_run_and_one_that_dies_costs_its_own_member_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm, "GRACE", 0.0)
    with Slurm(tmp_path, workers=2, cluster="local") as engine:
        found = run(engine, toy_tasks.squares_but_seven_kills, [Numbers([4, 5]), Numbers([7])])
    assert re.fullmatch(r"The process ended while it ran: job \d+ is FINISHED, see .*\.err\.", found.pop(7))
    assert found == {4: 16, 5: 25}


def test_a_job_whose_time_is_up_goes_on_in_another(tmp_path):
    task = Numbers([0], str(tmp_path))
    with Slurm(tmp_path / "jobs", workers=1, cluster="local") as engine:
        future = engine.submit(toy_tasks.epochs, task)
        while toy_tasks.done_epochs(task) < 3:
            time.sleep(0.02)
        os.kill(int((tmp_path / "process").read_text()), signal.SIGUSR2)  # what submitit asks Slurm for
        with pytest.raises(Stopped):
            future.result(20)
        reached = toy_tasks.done_epochs(task)
        assert reached >= 3
        (tmp_path / "enough").touch()
        assert run(engine, toy_tasks.epochs_in_list, [task]) == {0: reached}


def test_without_slurm_there_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.path.dirname(os.__file__))
    with pytest.raises(InvalidInput, match="no sbatch here"):
        Slurm(tmp_path)
