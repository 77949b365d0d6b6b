import numpy as np
import pytest

from benchmarks import Run, _width, fit, seed_keys
from benchmarks._fit import side_by_side
from benchmarks._member import Member
from benchmarks._programs import Programs
from tests.benchmarks.toy import Toy, ToyTraining


@pytest.fixture
def timed(monkeypatch):
    """Timings by width, made up; nothing is compiled. What was tried is noted."""
    seconds, tried = {}, []

    def per_member(batch):
        tried.append(batch.programs.width)
        return seconds[batch.programs.width]

    monkeypatch.setattr(_width, "_per_member", per_member)
    monkeypatch.setattr(Programs, "compile", lambda self: None)
    monkeypatch.setattr(Programs, "bytes_per_device", lambda self: 0)
    return seconds, tried


def chosen(training, members, limit=_width.LARGEST):
    member = Member(lambda values: training, {}, np.dtype(np.int32))
    seeds = np.arange(members, dtype=np.int32)
    return _width.fastest(
        lambda width: Programs(member, width), members, limit, lambda p: _width.Batch(p, {}, seeds[: p.size])
    )


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({100: 1.3, 50: 1.3, 8: 1.2, 1: 0.9}, 1),
        ({100: 1.3, 50: 1.3, 8: 0.8, 1: 0.9}, 8),
        ({100: 1.3, 50: 1.0, 8: 1.2, 1: 1.1}, 50),
        ({100: 0.7, 50: 1.0, 8: 1.2, 1: 1.1}, 100),
    ],
)
def test_the_fastest_of_one_eight_and_all_is_taken(timed, seconds, best):
    timed[0].update(seconds)
    programs, least = chosen(ToyTraining(Toy(epochs=100)), 100)
    assert (programs.width, least) == (best, seconds[best])
    assert timed[1] == [50, 8, 1, 100]


def test_nothing_is_tried_where_the_work_is_less_than_a_trial(timed):
    timed[0].update({50: 1e-9})
    assert chosen(ToyTraining(Toy(epochs=100)), 100)[0].width == 50
    assert timed[1] == [50]


def test_a_width_is_never_above_the_limit(timed):
    timed[0].update({10: 1.0, 8: 2.0, 1: 3.0})
    assert chosen(ToyTraining(Toy(epochs=100)), 100, limit=10)[0].width == 10


def test_a_long_run_remembers_how_many_seeds_were_side_by_side(tmp_path, monkeypatch):
    training, keys = ToyTraining(Toy(epochs=20)), seed_keys(0, 3)
    monkeypatch.setattr("benchmarks._fit.fastest", lambda make, *rest: (make(1), 0.0))
    run = Run.create(tmp_path, "toy", Toy(epochs=20), seeds=3)
    outcome = fit(training, keys, run=run, progress=False)
    assert (run.directory / "width.json").read_text().split() == ["{", '"width":', "1", "}"]
    assert side_by_side(training, keys, run).programs.width == 1
    alone = fit(training, seed_keys(1, 1), progress=False)
    np.testing.assert_array_equal(outcome.network.weights[1], alone.network.weights[0])
    assert outcome.history["train_loss"].shape == (20, 3)
    (run.directory / "width.json").write_text("{}")
    with pytest.raises(ValueError, match=r"width\.json is damaged"):
        fit(training, keys, run=run, resume=True, progress=False)
