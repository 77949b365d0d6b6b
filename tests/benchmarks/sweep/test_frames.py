"""Data frames and curves of sweeps."""

import dataclasses

import numpy as np
import pytest

from benchmarks import sweep
from benchmarks._sweep.grid import Grid
from tests.benchmarks.toy import TOY, Toy

pd = pytest.importorskip("pandas")
RATES = (0.3, 0.1)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return sweep(
        TOY,
        Toy(fail=1),
        over={"learning_rate": RATES, "epochs": (2, 3)},
        seeds=2,
        results=tmp_path_factory.mktemp("sweep"),
        chunk=2,
        progress=False,
    )


def test_a_row_per_member(result):
    frame = result.to_pandas()
    assert list(frame)[:3] == ["learning_rate", "epochs", "seed"]  # as the axes were given
    assert frame[["learning_rate", "epochs", "seed"]].values.tolist() == [
        [rate, epochs, seed] for rate in RATES for epochs in (2, 3) for seed in (0, 1)
    ]
    assert (frame["failure"] == "").tolist() == [True, False] * 4
    means = frame.groupby(["learning_rate", "epochs"], sort=False)["validation_accuracy"].mean()
    np.testing.assert_allclose(means, result.mean("validation_accuracy"), rtol=1e-12)
    assert frame["validation_accuracy"].isna().tolist() == [False, True] * 4


def test_a_row_per_epoch_of_every_member(result):
    """The last one is the member's own metric; what is not finite is missing."""
    curves = result.to_pandas(curves=True)
    assert len(curves) == 2 * 2 * (2 + 3) and set(curves["epoch"]) == {1, 2, 3}
    good = curves[curves["seed"] == 0]
    last = good[good["epoch"] == good["epochs"]]
    members = result.to_pandas()
    expected = members[members["seed"] == 0]["validation_accuracy"]
    np.testing.assert_allclose(last["validation_accuracy"], expected, rtol=1e-6)
    broken = curves[(curves["seed"] == 1) & (curves["epoch"] > 1)]
    assert broken["validation_accuracy"].isna().all() and curves["train_loss"].iloc[0] > 0
    assert (result.folder / "curves.pdf").read_bytes().startswith(b"%PDF")


def test_without_a_folder_there_are_no_curves(result):
    with pytest.raises(ValueError, match=r"curves: this sweep has kept none; give it a folder, results="):
        dataclasses.replace(result, folder=None).to_pandas(curves=True)


def test_shards_meet_few_values_that_are_compiled():
    """Whatever the order of the axes."""
    grid = Grid({"rate": (0.1, 0.2, 0.3, 0.4), "width": (1, 2), "deep": (False, True)}, (0,))
    shards = [grid.shard((number, 4)) for number in range(1, 5)]
    np.testing.assert_array_equal(np.sort(np.concatenate(shards)), np.arange(16))
    met = [{(grid.settings[m]["width"], grid.settings[m]["deep"]) for m in shard} for shard in shards]
    assert met == [{(1, False)}, {(1, True)}, {(2, False)}, {(2, True)}]
    assert shards[0].tolist() == [0, 4, 8, 12]
