import dataclasses

import numpy as np
import pytest

from benchmarks import RESULTS, Card, Metric, Published, Run, report, sweep
from benchmarks._report import compare_runs, judge
from benchmarks.cli import main
from benchmarks.table import final_table, markdown_table, plain_table, quantity


@dataclasses.dataclass(frozen=True)
class Config:
    """A configuration."""

    epochs: int = 100
    width: int = 5


ACCURACY = Metric("test_accuracy", higher_is_better=True)
FIGURE = Published("test_accuracy", mean=0.90, std=0.03, seeds=9, source="Table 1")
KNOWN = Card("known", Config, lambda config, key: ({}, None, None), published=(FIGURE,))


def write(results, values, *, config=Config(), seed=0, name="known", failures=None):
    run = Run.create(results, name, config, seed=seed, seeds=len(values))
    run.summarise(
        {"test_accuracy": np.array(values), "loss": np.array(values)}, failures or {}, step_ms=1.0, compile_s=None
    )
    return run


def rows(results):
    return list(compare_runs(results, {"known": KNOWN}))


@pytest.mark.parametrize(
    ("mean", "std", "n", "failed", "share", "verdict"),
    [
        (0.90, 0.00, 2, 0, 1.0, "open"),  # too few seeds
        (0.90, 0.00, 3, 1, 1.0, "open"),  # a mean over survivors
        (0.90, 0.00, 3, 0, 0.49, "open"),  # too few epochs
        (None, None, 0, 3, 1.0, "open"),
        # Two standard errors: 2 sqrt(0.03^2 / 9) = 0.02, and 2 sqrt(0.03^2 / 9 + 0.04^2 / 4) = 0.0447.
        (0.919, 0.00, 3, 0, 0.5, "same"),
        (0.881, 0.00, 3, 0, 1.0, "same"),
        (0.921, 0.00, 3, 0, 1.0, "better"),
        (0.879, 0.00, 3, 0, 1.0, "worse"),
        (0.944, 0.04, 4, 0, 1.0, "same"),
        (0.945, 0.04, 4, 0, 1.0, "better"),
    ],
)
def test_verdicts(mean, std, n, failed, share, verdict):
    assert judge(mean, std, n, failed, FIGURE, share, ACCURACY) == verdict


def test_lower_can_be_better():
    error, small = Published("test_error", mean=0.10), Metric("test_error", higher_is_better=False)
    assert judge(0.05, 0.0, 3, 0, error, 1.0, small) == "better"
    assert judge(0.15, 0.0, 3, 0, error, 1.0, small) == "worse"
    assert judge(0.15, 0.0, 3, 0, error, 1.0, Metric("test_error")) == "differs"


def test_seeds_of_one_configuration_are_pooled_and_the_newest_counts(tmp_path):
    write(tmp_path, [0.1, 0.2])
    write(tmp_path, [0.5], seed=1)
    write(tmp_path, [0.9], seed=2)
    (row,) = rows(tmp_path)
    assert (row.n, row.mean) == (3, pytest.approx((0.1 + 0.5 + 0.9) / 3))
    assert row.settings == "default" and row.verdict != "open"
    write(tmp_path, [0.7], seed=1, failures={0: "diverged"})
    (row,) = rows(tmp_path)
    assert (row.n, row.failed, row.mean, row.verdict) == (2, 1, pytest.approx(0.5), "open")


def test_other_configurations_are_rows_of_their_own(tmp_path):
    write(tmp_path, [0.9] * 3)
    write(tmp_path, [0.8] * 3, config=Config(epochs=49))
    write(tmp_path, [0.7] * 3, config=Config(epochs=50, width=7))
    found = {row.settings: (row.mean, row.verdict) for row in rows(tmp_path)}
    assert found == {
        "default": (pytest.approx(0.9), "same"),
        "epochs = 49": (pytest.approx(0.8), "open"),
        "epochs = 50, width = 7": (pytest.approx(0.7), "worse"),
    }


def test_report_prints_and_writes_everything_that_has_been_run(tmp_path):
    write(tmp_path, [0.95, 0.96, 0.97])
    write(tmp_path, [0.5], name="unregistered")
    unfinished = Run.create(tmp_path, "known", Config())
    text = report(tmp_path, {"known": KNOWN})
    line = next(line for line in text.splitlines() if line.startswith("known"))
    assert " ".join(line.split()) == "known default test accuracy 90.00 ± 3.00 % 96.00 ± 1.00 % 3 +6.00 points better"
    assert any(line.split()[:5] == ["unregistered", "epochs", "=", "100,", "width"] for line in text.splitlines())
    assert f"Not finished: {unfinished.directory}" in text
    markdown = (tmp_path / "report.md").read_text()
    assert (
        "| known | default | test accuracy | 90.00 ± 3.00 % | 96.00 ± 1.00 % | 3 | +6.00 points | better |" in markdown
    )


def test_report_merges_sweeps_and_names_damaged_ones(tmp_path):
    def line(config: Config, key):
        return {"validation_accuracy": 0.1 * config.width}, None, RESULTS.successful

    folder = tmp_path / "sweeps" / "line"
    sweep(line, over={"width": (3, 4)}, seeds=2, results=folder, progress=False)
    (tmp_path / "sweeps" / "bad").mkdir()
    (tmp_path / "sweeps" / "bad" / "sweep.json").write_text("{")
    text = report(tmp_path, {})
    assert f"Sweep {folder}" in text and "width = 4" in text
    assert "sweep.json is damaged" in text
    assert report(folder, {}).splitlines()[-1] == text.splitlines()[-1]


def test_what_is_damaged_is_named_and_shows_in_the_status(tmp_path, capsys):
    def line(config: Config, key):
        return {"validation_accuracy": 0.1 * config.width}, None, RESULTS.successful

    write(tmp_path, [0.95, 0.96, 0.97])
    sweep(line, over={"width": (3, 4)}, seeds=2, results=tmp_path / "line", progress=False)
    command = ["report", "--results", str(tmp_path)]
    assert main(command, {"known": KNOWN}) == 0
    whole = capsys.readouterr().out
    assert main([*command, "--markdown"], {"known": KNOWN}) == 0
    assert capsys.readouterr().out == (tmp_path / "report.md").read_text(encoding="utf-8")
    (chunk, *_) = (tmp_path / "line" / "batches").glob("*/outcome.npz")
    chunk.write_bytes(chunk.read_bytes()[:100])
    (write(tmp_path, [0.5], seed=7).directory / "summary.json").write_text('{"test_accuracy": 3}')
    (write(tmp_path, [0.5], seed=8).directory / "config.json").write_text("{")
    assert main(command, {"known": KNOWN}) == 2
    shown = capsys.readouterr()
    assert f"{chunk.name} is damaged" in shown.out
    assert shown.out.count("Damaged: ") == 2
    assert shown.err == "credax: 3 things could not be read or written, as said above.\n"
    assert whole.splitlines()[2] in shown.out


def test_report_on_nothing_says_so(tmp_path):
    with pytest.raises(ValueError, match="Nothing has been run under"):
        report(tmp_path / "nowhere", {})


def test_tables():
    assert plain_table(["a", "bb"], [["xyz", "1"]]) == "a    bb\n---  --\nxyz  1"
    assert markdown_table(["a"], [["x|y"]]) == "| a |\n| --- |\n| x\\|y |"
    assert quantity("test_accuracy", 0.981, 0.0018) == "98.10 ± 0.18 %"
    assert quantity("step_ms", 1.2345) == "1.234 ms"
    assert quantity("spikes_per_neuron", 0.51234, 0.1) == "0.512 ± 0.100"
    assert quantity("loss", None) == "-"


def test_the_final_table_names_what_users_ask_for():
    one = {"mean": 0.5, "std": 0.0, "n": 1}
    names = ("step_ms", "test_accuracy", "compile_s", "spikes_per_neuron", "validation_accuracy")
    table = final_table({**dict.fromkeys(names, one), "failed": []}, (FIGURE,))
    assert [line.split("  ")[0] for line in table.splitlines()[2:]] == [
        "test accuracy",
        "validation accuracy",
        "spikes per neuron",
        "compile time",
        "time per step",
    ]
    assert "90.00 ± 3.00 %" in table.splitlines()[2]
