import pytest

from benchmarks._fit import fit, seed_keys
from benchmarks.experiments.sal.alignment.figures import figure_8
from benchmarks.experiments.sal.alignment.model import Alignment, AlignmentTraining


def test_angles_fall_and_are_drawn(tmp_path):
    config = Alignment(layers=(20, 12, 8, 4), sal_rates=(0.3, 1.0), epochs=6, duration=200.0)
    outcome = fit(AlignmentTraining(config), seed_keys(0, 2), progress=False)
    for layer in (1, 2, 3):
        slow, fast = (outcome.history[f"angle_{layer}_{rate}"].mean(axis=1) for rate in ("0.3", "1"))
        assert fast[-1] < fast[0] - 10
        assert slow[0] > fast[0]
    figure_8(config, outcome, tmp_path)
    assert (tmp_path / "angles.png").stat().st_size > 10_000


def test_there_are_three_layers_of_weights():
    with pytest.raises(ValueError, match=r"four numbers.*\(3, 2\)"):
        AlignmentTraining(Alignment(layers=(3, 2)))
