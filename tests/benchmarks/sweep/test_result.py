import csv

import numpy as np
import pytest

from benchmarks._sweep.batch import write_outcome
from benchmarks._sweep.grid import Grid
from benchmarks._sweep.records import Records
from benchmarks._sweep.result import collect, merge
from benchmarks.metric import Metric
from benchmarks.run import write_json
from benchmarks.tasks import Outcome, Task

GRID = Grid({"width": (2, 4), "rate": (0.1, 0.2)}, (0, 1, 2))
SCORE = (Metric("score", higher_is_better=True),)
VALUES = np.array([1.0, 2.0, 3.0, 5.0, 5.0, 8.0, 7.0, np.nan, 9.0, 0.0, 0.0, 0.0])


@pytest.fixture
def records():
    records = Records(list("abcdefghijkl"), None)
    reasons = ["", "", "", "", "", "", "", "Not finite: score.", "", "lost", "lost", "lost"]
    records.add(np.arange(12), {"score": VALUES, "test_score": 2 * VALUES}, reasons, (1, 1))
    return records


def test_statistics_are_over_the_successful_seeds(records):
    result = collect(GRID, records, "score", SCORE)
    np.testing.assert_allclose(result.mean("score"), [2.0, 6.0, 8.0, np.nan])
    np.testing.assert_allclose(result.std("score"), [1.0, np.sqrt(3), np.sqrt(2), np.nan])
    np.testing.assert_allclose(result.mean("test_score"), [4.0, 12.0, 16.0, np.nan])
    np.testing.assert_array_equal(result.count(), [3, 3, 2, 0])
    np.testing.assert_array_equal(result.failed(), [0, 0, 1, 3])


def test_settings_are_ranked_by_their_mean(records):
    result = collect(GRID, records, "score", SCORE)
    np.testing.assert_array_equal(result.ranking(), [2, 1, 0])
    assert result.best() == {"width": 4, "rate": 0.1}
    assert result.table().splitlines() == [
        "width  rate  score    n  failed",
        "-----  ----  -------  -  ------",
        "4      0.1   8 ± 1.4  2  1",
        "2      0.2   6 ± 1.7  3  0",
        "2      0.1   2 ± 1    3  0",
        "4 of 12 members failed and are left out:",
        "  width = 4, rate = 0.1, seed 1: Not finite: score.",
        "  width = 4, rate = 0.2, seeds 0, 1, 2: lost",
        "Best (highest mean score, over 2 of 3 seeds): width = 4, rate = 0.1",
    ]


def test_losses_times_and_what_is_declared_so_are_made_small():
    for metric in ("train_loss", "step_ms", "compile_s", "kl_sal_0.8"):
        records = Records(list("abcdefghijkl"), None)
        records.add(np.arange(12), {metric: np.arange(12.0)}, [""] * 12, (1, 1))
        result = collect(GRID, records, metric, (Metric("kl_*", higher_is_better=False),))
        assert result.best() == {"width": 2, "rate": 0.1} and f"Best (lowest mean {metric})" in result.table()


def test_a_spread_that_is_rounding_is_not_shown():
    records = Records(list("abcdefghijkl"), None)
    values = np.repeat([1.0, 2.0, 1e-15, 0.0], 3) * (1 + 1e-8 * np.arange(12))
    records.add(np.arange(12), {"score": values}, [""] * 12, (1, 1))
    lines = collect(GRID, records, "score", SCORE).table().splitlines()[2:6]
    assert [line.split()[2:4] for line in lines] == [["2", "3"], ["1", "3"], ["1e-15", "3"], ["0", "3"]]


def test_without_a_successful_member_there_is_no_best():
    records = Records(list("abcdefghijkl"), None)
    records.add(np.arange(12), {"score": VALUES}, ["lost"] * 12, (1, 1))
    with pytest.raises(ValueError, match=r"(?s)No member .* has succeeded.*lost"):
        collect(GRID, records, "score", SCORE).best()


def test_tables_hold_every_member_and_setting(records, tmp_path):
    collect(GRID, records, "score", SCORE).write(tmp_path)
    with open(tmp_path / "members.csv", newline="") as file:
        members = list(csv.DictReader(file))
    assert list(members[0]) == ["width", "rate", "seed", "score", "test_score", "failure"]
    assert [int(row["seed"]) for row in members] == [0, 1, 2] * 4
    assert [row["score"] for row in members] == ["1.0", "2.0", "3.0", "5.0", "5.0", "8.0", "7.0", "", "9.0", "", "", ""]
    assert [row["failure"] for row in members[6:9]] == ["", "Not finite: score.", ""]
    with open(tmp_path / "summary.csv", newline="") as file:
        summary = list(csv.DictReader(file))
    assert [(row["width"], row["rate"]) for row in summary] == [("2", "0.1"), ("2", "0.2"), ("4", "0.1"), ("4", "0.2")]
    assert [(row["n"], row["failed"]) for row in summary] == [("3", "0"), ("3", "0"), ("2", "1"), ("0", "3")]
    assert [float(row["score_mean"]) for row in summary[:3]] == [2.0, 6.0, 8.0]
    assert float(summary[1]["score_std"]) == pytest.approx(np.sqrt(3))
    assert summary[3]["score_mean"] == summary[3]["score_std"] == ""
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_batches_survive_on_disk_in_any_order(tmp_path):
    """A member that raised and was run again counts as run, whichever file is read first."""
    names = Task("toy", {}, {}, [0, 1, 2, 3]).addresses()
    for members, reason in (([0, 1, 2], "Raised X: no"), ([1], ""), ([2], "lost")):
        content = {"score": np.array(members, dtype=float)} if "Raised" not in reason else {}
        (task,) = Records(names, tmp_path).lay_out([Task("toy", {}, {}, members)])
        write_outcome(Outcome(content, [reason] * len(members), task.folder))
    again = Records(names, tmp_path)
    assert again.reasons.tolist() == ["Raised X: no", "", "lost", None]
    np.testing.assert_array_equal(again.metrics["score"], [np.nan, 1.0, 2.0, np.nan])
    np.testing.assert_array_equal(again.pending(np.arange(4)), [0, 3])


def test_ranking_by_the_test_set_is_refused_when_merging(tmp_path):
    axes = {"rate": {"type": "float", "values": [0.1, "inf"]}}
    declared = [{"name": "score", "higher_is_better": True, "split": None}]
    plan = {"axes": axes, "seeds": [0, 1], "metric": "score", "metrics": declared}
    write_json(tmp_path / "sweep.json", plan)
    with pytest.raises(ValueError, match="no ranking by 'test_score'"):
        merge(tmp_path, "test_score")
    result = merge(tmp_path)
    assert result.settings == [{"rate": 0.1}, {"rate": np.inf}]
    assert result.table() == "4 of 4 members are missing"
