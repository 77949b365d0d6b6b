import dataclasses
import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import RESULTS, Card, Run, execute, load_best, load_networks, load_record, seed_number
from benchmarks.run import all_runs, finite, plain, statistics
from tests.benchmarks.toy import PIECE, TOY, Toy, ToyTraining


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run of three seeds, the second of which failed."""
    results = tmp_path_factory.mktemp("results")
    return execute(TOY, Toy(fail=1), seeds=3, results=results, progress=False)


def test_config_json_says_where_the_numbers_come_from(done):
    record = json.loads((done[0].directory / "config.json").read_text())
    assert record["experiment"] == "toy"
    assert record["config"] == {"epochs": 6, "learning_rate": 0.1, "fail": 1}
    assert record["seeds"] == [0, 1, 2]
    environment = record["environment"]
    assert {"credax", "jax", "jaxlib", "equinox", "optax", "diffrax"} <= set(environment["versions"])
    assert environment["device"]["platform"] and environment["host"]["cpus"] >= 1
    assert record["git"] is None or len(record["git"]["revision"]) == 40


def test_summary_leaves_failed_seeds_out_and_lists_them(done):
    run, outcome = done
    summary = run.summary()
    assert summary is not None
    accuracy = outcome.metrics["test_accuracy"][[0, 2]].astype(float)
    entry = summary["test_accuracy"]
    assert entry["n"] == 2
    assert entry["mean"] == pytest.approx(accuracy.sum() / 2, rel=1e-12)
    # Two values: the standard deviation of the sample is |a - b| / sqrt 2.
    assert entry["std"] == pytest.approx(abs(accuracy[0] - accuracy[1]) / math.sqrt(2), rel=1e-12)
    assert entry["values"] == {"0": accuracy[0], "2": accuracy[1]}
    assert [item["seed"] for item in summary["failed"]] == [1]
    assert summary["step_ms"] == {"mean": outcome.step_ms, "std": 0.0, "n": 1}
    assert summary["compile_s"]["mean"] == outcome.compile_s


def test_metrics_are_strict_json_with_null_for_what_is_not_finite(done):
    lines = (done[0].directory / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line, parse_constant=lambda name: pytest.fail(name)) for line in lines]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[0]["train_loss"][1] is not None and rows[5]["train_loss"][1] is None
    assert finite({"a": np.array([1.5, np.inf]), "n": np.array([2])}) == {"a": [1.5, None], "n": [2]}


def test_the_networks_are_saved(done):
    networks = load_networks(TOY, done[0])
    np.testing.assert_array_equal(networks.weights, done[1].network.weights)


def test_folders_are_readable_and_unique(tmp_path):
    runs = [Run.create(tmp_path, "toy", Toy(), seed=3, seeds=n) for n in (1, 1, 10, 10)]
    names = [run.directory.name for run in runs]
    assert len(set(names)) == 4
    assert names[0].endswith("_seed3") and "_seeds3-12" in names[3]
    assert [run.directory for run in all_runs(tmp_path / "toy")] == [run.directory for run in runs]


def test_find_takes_the_newest_run_with_these_settings(tmp_path):
    with pytest.raises(ValueError, match="There is no run of toy"):
        Run.find(tmp_path, "toy", Toy())
    first, second, other = (Run.create(tmp_path, "toy", Toy(epochs=n)) for n in (6, 6, 7))
    assert Run.find(tmp_path, "toy", Toy()).directory == second.directory != first.directory
    assert Run.find(tmp_path, "toy", Toy(epochs=7)).directory == other.directory
    with pytest.raises(ValueError, match=r"newest is .*, with epochs = 7 there, 8 here: resume it with"):
        Run.find(tmp_path, "toy", Toy(epochs=8))
    with pytest.raises(ValueError, match=r"seeds = \[0\] there, \[0, 1\] here"):
        Run.find(tmp_path, "toy", Toy(epochs=7), seeds=2)


def test_a_run_of_other_versions_is_resumed_with_a_warning(tmp_path):
    run = Run.create(tmp_path, "toy", Toy())
    record = {**run.record, "environment": {"versions": {"jax": "0.0.1"}}}
    (run.directory / "config.json").write_text(json.dumps(record))
    with pytest.warns(UserWarning, match="other versions or on another device"):
        assert Run.find(tmp_path, "toy", Toy()).directory == run.directory


@pytest.mark.parametrize("content", ["{", "[]", '{"experiment": "toy"}'])
def test_a_damaged_config_is_passed_over_with_a_warning(tmp_path, content):
    run = Run.create(tmp_path, "toy", Toy())
    bad = tmp_path / "toy" / "bad"
    bad.mkdir()
    (bad / "config.json").write_text(content)
    with pytest.warns(UserWarning, match=r"bad holds no run: its config\.json"):
        assert [r.directory for r in all_runs(tmp_path / "toy")] == [run.directory]


def test_statistics_of_known_numbers():
    assert statistics({0: 1.0, 1: 2.0, 5: 6.0}) == {
        "mean": 3.0,
        "std": pytest.approx(math.sqrt(7)),
        "n": 3,
        "values": {"0": 1.0, "1": 2.0, "5": 6.0},
    }
    assert statistics({4: 2.0})["std"] == 0.0
    assert statistics({}) == {"mean": None, "std": None, "n": 0, "values": {}}


def test_plain_is_what_json_gives_back():
    config = plain({"a": (1, (2.0, "x")), "b": math.inf, "c": True})
    assert config == json.loads(json.dumps(config, allow_nan=False)) == {"a": [1, [2.0, "x"]], "b": "inf", "c": True}


@dataclasses.dataclass(frozen=True)
class Squares:
    """Ends with its seed squared, and records the way there."""

    steps: int = 3
    fail: int = -1
    """The seed that fails."""


def squares(config, key):
    seed = seed_number(key)
    value = jnp.where(seed == config.fail, jnp.nan, seed.astype(float) ** 2)
    way = value * jnp.arange(config.steps)
    metrics = {"train_loss": value, "validation_accuracy": value, "test_accuracy": value}
    return metrics, {"weight": seed}, RESULTS.successful, {"way": way}


SQUARES = Card("squares", Squares, squares)


@pytest.fixture(scope="module")
def squared(tmp_path_factory):
    return execute(SQUARES, Squares(fail=5), seed=2, seeds=4, results=tmp_path_factory.mktemp("results"))


def test_the_record_for_figures_is_saved_and_read_back(squared):
    run, fit = squared
    np.testing.assert_array_equal(fit.record["way"], load_record(SQUARES, run)["way"])
    np.testing.assert_array_equal(fit.record["way"][:3], [[0, 4, 8], [0, 9, 18], [0, 16, 32]])
    np.testing.assert_array_equal(fit.recorded(1)["way"], [0, 9, 18])


class Recorded(ToyTraining):
    def finish(self, state):
        return *super().finish(state), {"weights": state[0]}


def test_a_training_may_record_too(tmp_path):
    card = dataclasses.replace(TOY, training=Recorded)
    run, fit = execute(card, Toy(), seeds=2, results=tmp_path, progress=False)
    np.testing.assert_array_equal(load_record(card, run)["weights"], fit.record["weights"])
    np.testing.assert_array_equal(fit.record["weights"], load_networks(card, run).weights)


def test_an_experiment_without_a_record_leaves_none(tmp_path):
    run, fit = execute(PIECE, Toy(), results=tmp_path)
    assert fit.record is None and not (run.directory / "record.eqx").exists()
    with pytest.raises(FileNotFoundError):
        load_record(PIECE, run)


def test_the_best_network_is_that_of_the_best_seed_that_did_not_fail(squared):
    run, _ = squared
    seed, network = load_best(SQUARES, run)
    assert seed == 4 and network["weight"] == 4  # not the fifth, which failed
    assert load_best(SQUARES, run, "train_loss")[0] == 2
    with pytest.raises(ValueError, match="choosing by the test set"):
        load_best(SQUARES, run, "test_accuracy")
    with pytest.raises(ValueError, match="no metric 'accuracy'; it has: test_accuracy, train_loss, validation_acc"):
        load_best(SQUARES, run, "accuracy")


def test_there_is_no_best_network_of_none(tmp_path):
    run, _ = execute(SQUARES, Squares(fail=0), results=tmp_path)
    with pytest.raises(ValueError, match=r"No seed of .* has succeeded"):
        load_best(SQUARES, run)
    (run.directory / "summary.json").unlink()
    with pytest.raises(ValueError, match="is not finished"):
        load_best(SQUARES, run)


def test_a_fit_says_what_became_of_it(squared):
    text = repr(squared[1])
    assert text.startswith("Fit: 3 of 4 seeds successful\n  position 3 failed: Not finite: test_accuracy, ")
    assert "train_loss: 9.66667" in text
    assert "RESULTS<>" not in repr(RESULTS.successful)
