import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
from benchmarks import RESULTS, Card
from benchmarks._programs import Programs
from benchmarks._sweep import LogRange, batch, merge, runner, sweep
from benchmarks._sweep.records import Records
from tests.benchmarks.sweep.toy import (
    Toy,
    loses_spikes,
    needs_a_number,
    raises_at_trace_time,
    raises_inside,
    sweep_values,
    toy,
)
from tests.benchmarks.toy import TOY

OVER = {"learning_rate": LogRange(1e-4, 1e-2, 3), "width": (2, 4), "steep": (False, True)}


@pytest.fixture
def calls(monkeypatch):
    """The number of compiled programs, and the members of every batch that was taken into the records."""
    record = {"compiled": 0, "members": []}
    make, add = Programs.__init__, Records.add

    def counting_make(self, *args):
        record["compiled"] += 1
        make(self, *args)

    def counting_add(self, members, *args):
        if not reading:
            record["members"].append(members.tolist())
        return add(self, members, *args)

    def counting_load(self, folder):
        reading.append(folder)
        load(self, folder)
        reading.pop()

    reading, load = [], Records._load
    monkeypatch.setattr(Programs, "__init__", counting_make)
    monkeypatch.setattr(Records, "add", counting_add)
    monkeypatch.setattr(Records, "_load", counting_load)
    return record


def quiet(*args, **kwargs):
    return sweep(*args, progress=False, **kwargs)


def test_values_equal_a_plain_loop(precision, calls):
    result = quiet(toy, Toy(momentum=0.25), over=OVER, seeds=3, seed=5)
    assert result.grid.axes == {"width": (2, 4), "steep": (False, True), "learning_rate": (1e-4, 1e-3, 1e-2)}
    tolerance = 1e-6 if precision == np.float32 else 1e-14
    for metric in ("validation_accuracy", "test_accuracy"):
        assert result.metrics[metric].shape == (12, 3)
        expected = sweep_values(toy, Toy(momentum=0.25), result.grid, metric)
        np.testing.assert_allclose(result.metrics[metric], expected, rtol=tolerance)
    assert calls["compiled"] == 4  # once for each combination of the static values
    assert (result.failures, result.missing) == ([], 0)


def test_static_values_are_python_values_and_numeric_ones_are_traced():
    seen = []

    def experiment(config: Toy, key):
        seen.append((config.width, config.steep, isinstance(config.learning_rate, jax.core.Tracer)))
        return toy(config, key)

    quiet(experiment, over=OVER, seeds=1)
    assert set(seen) == {(width, steep, True) for width in (2, 4) for steep in (False, True)}


def test_an_experiment_is_swept_from_its_defaults():
    result = quiet(Card("toy", Toy, toy), over={"momentum": "0.1,0.2"}, seeds=1)
    np.testing.assert_allclose(result.metrics["validation_accuracy"], sweep_values(toy, Toy(), result.grid), rtol=1e-6)


@pytest.mark.parametrize("chunk", [1, 2, 5, 64])
def test_chunks_change_nothing(chunk, calls):
    result = quiet(toy, over={"momentum": "0.1,0.2,0.3"}, seeds=3, chunk=chunk)
    np.testing.assert_allclose(result.metrics["validation_accuracy"], sweep_values(toy, Toy(), result.grid), rtol=1e-6)
    assert [member for members in calls["members"] for member in members] == list(range(9))
    assert max(map(len, calls["members"])) <= chunk


def test_failed_members_are_listed_and_left_out():
    result = quiet(loses_spikes, over={"momentum": "0.1,0.25,0.5,0.9"}, seeds=3)
    assert [(f.setting, f.seed, f.reason) for f in result.failures] == [
        *(({"momentum": 0.25}, seed, "Not finite: validation_accuracy.") for seed in range(3)),
        *(({"momentum": 0.5}, seed, ep.RESULTS[ep.RESULTS.spikes_lost]) for seed in range(3)),
    ]
    expected = sweep_values(toy, Toy(), result.grid)
    np.testing.assert_allclose(result.metrics["validation_accuracy"][[0, 3]], expected[[0, 3]], rtol=1e-6)
    assert np.isnan(result.metrics["validation_accuracy"][[1, 2]]).all()
    np.testing.assert_array_equal(result.count(), [3, 0, 0, 3])
    np.testing.assert_array_equal(result.failed(), [0, 3, 3, 0])


def test_a_seed_that_fails_leaves_the_other_seeds(tmp_path):
    def experiment(config: Toy, key):
        metrics, network, _ = toy(config, key)
        unlucky = jax.random.uniform(key) == jax.random.uniform(jax.random.key(1))
        return metrics, network, RESULTS.where(unlucky, RESULTS.non_finite, RESULTS.successful)

    result = quiet(experiment, over={"momentum": "0.1,0.2"}, seeds=4)
    expected = sweep_values(toy, Toy(), result.grid)[:, [0, 2, 3]]
    assert [failure.seed for failure in result.failures] == [1, 1]
    np.testing.assert_allclose(result.mean("validation_accuracy"), expected.mean(1), rtol=1e-6)
    np.testing.assert_allclose(result.std("validation_accuracy"), expected.std(1, ddof=1), rtol=1e-4)
    np.testing.assert_array_equal(result.count(), [3, 3])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_member_that_raises_while_running_is_isolated(caplog):
    result = quiet(raises_inside, over={"momentum": "0.1,0.2,0.5,0.7,0.9"}, seeds=2)
    assert [(f.setting["momentum"], f.seed) for f in result.failures] == [(0.5, 0), (0.5, 1)]
    assert all("momentum must not be 0.5" in failure.reason for failure in result.failures)
    assert not caplog.records  # the reason is all: no page of tracebacks for every try
    good = [0, 1, 3, 4]
    expected = sweep_values(toy, Toy(), result.grid)
    np.testing.assert_allclose(result.metrics["validation_accuracy"][good], expected[good], rtol=1e-6)


def test_a_static_setting_that_cannot_be_traced_is_isolated(tmp_path):
    for _ in range(2):  # it is tried again, and raises again
        result = quiet(raises_at_trace_time, over={"width": (2, 3)}, seeds=2, results=tmp_path)
        assert [(f.setting["width"], f.reason) for f in result.failures] == [
            (2, "Raised ValueError: width must not be 2")
        ] * 2
        np.testing.assert_array_equal(result.count(), [0, 2])


def test_a_member_that_memory_has_no_room_for_is_isolated():
    def hungry(config: Toy, key):
        noise = jax.random.uniform(key, (config.width,))
        return {"validation_accuracy": noise.sum()}, noise, RESULTS.successful

    result = quiet(hungry, over={"width": (2, 2**44)}, seeds=1)
    (failure,) = result.failures
    assert failure.setting == {"width": 2**44} and "Out of memory" in failure.reason


def test_if_nothing_can_be_run_the_error_is_raised():
    with pytest.raises(ValueError, match="width must not be 2"):
        quiet(raises_at_trace_time, Toy(width=2), over={"momentum": "0.1,0.2"})


def test_a_float_that_decides_on_shapes_is_compiled_per_value(calls):
    with pytest.warns(UserWarning, match="learning_rate: compiled once per value"):
        result = quiet(needs_a_number, over={"momentum": "0.25,0.5", "learning_rate": "0.1,0.2,0.5"}, seeds=1)
    np.testing.assert_array_equal(result.metrics["validation_accuracy"][:, 0], [10.25, 5.25, 2.25, 10.5, 5.5, 2.5])
    assert calls["compiled"] == 3


def test_an_interrupted_sweep_goes_on_where_it_stopped(tmp_path, calls, monkeypatch):
    arguments = {"over": {"width": (2, 4), "momentum": "0.1,0.2,0.3"}, "seeds": 4, "results": tmp_path, "chunk": 5}
    whole = quiet(toy, **{**arguments, "results": None})
    chunks = list(calls["members"])
    calls.update(compiled=0, members=[])
    write = batch.write_outcome

    def killed(outcome):
        if len(calls["members"]) == 4:
            raise KeyboardInterrupt
        write(outcome)

    with monkeypatch.context() as patch:
        patch.setattr(batch, "write_outcome", killed)
        with pytest.raises(KeyboardInterrupt):
            quiet(toy, **arguments)
    assert calls == {"compiled": 2, "members": chunks[:4]}
    assert merge(tmp_path).missing == 24 - sum(map(len, chunks[:4]))

    calls.update(compiled=0, members=[])
    resumed = quiet(toy, **arguments)
    assert calls == {"compiled": 1, "members": chunks[4:]}  # the first width is complete and not compiled again
    np.testing.assert_array_equal(resumed.metrics["validation_accuracy"], whole.metrics["validation_accuracy"])

    calls.update(compiled=0, members=[])
    again = quiet(toy, **arguments)
    assert calls == {"compiled": 0, "members": []}
    np.testing.assert_array_equal(again.metrics["validation_accuracy"], whole.metrics["validation_accuracy"])


def test_members_that_raised_are_tried_again(tmp_path):
    over = {"width": (3, 2)}
    assert len(quiet(raises_at_trace_time, over=over, seeds=2, results=tmp_path).failures) == 2
    mended = dataclasses.replace(runner.as_target(raises_at_trace_time), function=toy)
    plan = json.loads((tmp_path / "sweep.json").read_text())
    plan["function"] = plan["function"].replace("raises_at_trace_time", "toy")
    (tmp_path / "sweep.json").write_text(json.dumps(plan))
    result = quiet(mended, over=over, seeds=2, results=tmp_path)
    assert result.failures == []
    np.testing.assert_allclose(result.metrics["validation_accuracy"], sweep_values(toy, Toy(), result.grid), rtol=1e-6)
    assert merge(tmp_path).failures == []


def test_shards_merge_to_the_whole(tmp_path):
    arguments = {"over": {"width": (2, 4), "momentum": "0.1,0.2,0.5"}, "seeds": 3}
    whole = quiet(loses_spikes, **arguments, results=tmp_path / "whole")
    parts = tmp_path / "parts"
    for number in (4, 1, 2):
        partial = quiet(loses_spikes, **arguments, results=parts, shard=(number, 4))
        assert partial.missing > 0
        assert not (parts / "summary.csv").exists()
    merged = merge(parts)
    assert (merged.missing, merged.missing_shards) == (4, [(3, 4)])
    assert "4 of 18 members are missing: shards 3/4" in merged.table()
    assert (parts / "members.csv").read_text().count("not run") == 4

    last = quiet(loses_spikes, **arguments, results=parts, shard=(3, 4))
    for result in (last, merge(parts)):
        np.testing.assert_allclose(
            result.metrics["validation_accuracy"], whole.metrics["validation_accuracy"], rtol=1e-6
        )
        assert result.failures == whole.failures
        assert (result.missing, result.missing_shards) == (0, [])
    assert {path.name for path in parts.iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}


def test_the_last_of_two_shards_that_run_at_once_writes_the_tables(tmp_path, monkeypatch):
    arguments = {"over": {"momentum": "0.1,0.2"}, "seeds": 1, "results": tmp_path}
    write = batch.write_outcome

    def write_while_the_other_runs(outcome):
        monkeypatch.setattr(batch, "write_outcome", write)
        assert quiet(toy, **arguments, shard=(2, 2)).missing == 1
        write(outcome)

    monkeypatch.setattr(batch, "write_outcome", write_while_the_other_runs)
    assert quiet(toy, **arguments, shard=(1, 2)).missing == 0
    assert (tmp_path / "summary.csv").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"experiment": loses_spikes}, "function: .*toy.toy.* -> .*toy.loses_spikes"),
    ],
)
def test_a_folder_of_another_sweep_is_refused(tmp_path, change, message):
    arguments = {"experiment": toy, "config": Toy(), "over": {"momentum": "0.1,0.2"}, "seeds": 2, "results": tmp_path}
    quiet(**arguments)
    with pytest.raises(ValueError, match=f"(?s)holds another sweep.*{message}.*another folder"):
        quiet(**(arguments | change))


def test_a_damaged_chunk_is_named_and_nothing_else_is_lost(tmp_path):
    arguments = {"over": {"momentum": "0.1,0.2"}, "seeds": 4, "results": tmp_path, "chunk": 4}
    quiet(toy, **arguments)
    damaged = sorted((tmp_path / "batches").glob("*/outcome.npz"))[1]
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(ValueError, match=f"{damaged.name} is damaged .*: delete it"):
        quiet(toy, **arguments)
    damaged.unlink()
    assert merge(tmp_path).missing == 4
    assert quiet(toy, **arguments).missing == 0


@pytest.mark.parametrize(
    "change",
    [{"reasons": np.array(["", ""])}, {"metrics/validation_accuracy": np.zeros(3)}, {"reasons": None}],
    ids=["reasons", "metrics", "none"],
)
def test_a_forged_outcome_is_named(tmp_path, change):
    arguments = {"over": {"momentum": "0.1,0.2"}, "seeds": 1, "results": tmp_path, "chunk": 1}
    quiet(toy, **arguments)
    path = sorted((tmp_path / "batches").glob("*/outcome.npz"))[0]
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(path, **{name: value for name, value in (arrays | change).items() if value is not None})
    with pytest.raises(ValueError, match=f"{path.name} is damaged .*: delete it"):
        merge(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"seeds": [0, 1]}, {"shard": [5, 4]}, {"traced": 3}, {"colour": 1}],
    ids=["seeds", "shard", "traced", "new"],
)
def test_forged_members_are_named(tmp_path, change):
    quiet(toy, over={"momentum": "0.1,0.2"}, seeds=1, results=tmp_path, chunk=1)
    path = sorted((tmp_path / "batches").glob("*/members.json"))[0]
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=r"(?s)members\.json is damaged .*: delete its folder"):
        merge(tmp_path)


def test_a_chunk_that_cannot_be_read_is_not_said_to_be_damaged(tmp_path, monkeypatch):
    arguments = {"over": {"momentum": "0.1,0.2"}, "seeds": 1, "results": tmp_path}
    quiet(toy, **arguments)

    def fail(self):
        raise OSError(5, "Input/output error")

    (folder,) = (tmp_path / "batches").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "read_bytes", fail)
        with pytest.raises(OSError, match=r"cannot be read .*Input/output error"):
            batch.read_outcome(folder, 2)
    assert quiet(toy, **arguments).missing == 0


@pytest.mark.parametrize("content", ["[]", "{}", '{"metric": "a", "axes": 3}', "[" * 10**6])
def test_a_damaged_plan_is_named(tmp_path, content):
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(ValueError, match=r"sweep\.json is damaged"):
        merge(tmp_path)


def test_chunks_keep_the_values_of_every_dtype(tmp_path):
    """bfloat16 is unknown to NumPy's files, which keep it as raw bytes that nothing reads."""

    def experiment(config: Toy, key):
        third = jnp.asarray(config.momentum / 3)
        metrics = {"validation_accuracy": third.astype("bfloat16"), "count": jnp.asarray(2**24 + 1, "int32")}
        return {**metrics, "good": third > 0}, None, RESULTS.successful

    arguments = {"over": {"momentum": (1.0, 2.0)}, "seeds": 1, "results": tmp_path}
    first = quiet(experiment, **arguments)
    again = merge(tmp_path)
    expected = np.array([[1 / 3], [2 / 3]]).astype("float32").astype("bfloat16").astype(float)
    for result in (first, again):
        np.testing.assert_array_equal(result.metrics["validation_accuracy"], expected)
        np.testing.assert_array_equal(result.metrics["count"], [[2**24 + 1]] * 2)
        np.testing.assert_array_equal(result.metrics["good"], [[1.0], [1.0]])


def test_a_full_disk_keeps_what_is_finished(tmp_path, monkeypatch):
    arguments = {"over": {"momentum": "0.1,0.2"}, "seeds": 4, "results": tmp_path, "chunk": 4}
    write, written = batch.write_bytes, []

    def full(path, content):
        if written:
            raise OSError(28, "No space left on device")
        written.append(path)
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(batch, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            quiet(toy, **arguments)
    assert merge(tmp_path).missing == 4
    assert quiet(toy, **arguments).missing == 0


def test_post_init_that_derives_a_field_is_refused():
    @dataclasses.dataclass(frozen=True)
    class Derived:
        rate: float = 1.0
        double: float = dataclasses.field(init=False)

        def __post_init__(self):
            object.__setattr__(self, "double", 2 * self.rate)

    def experiment(config: Derived, key):
        return {"validation_accuracy": jnp.asarray(config.double)}, None, RESULTS.successful

    with pytest.raises(ValueError, match="Derived computes some fields from others"):
        quiet(experiment, over={"rate": "1,2"})


def names_a_column_twice(config: Toy, key):
    return toy(config, key)[0] | {"momentum": jnp.asarray(config.momentum)}, None, RESULTS.successful


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "test_accuracy"}, "no ranking by 'test_accuracy'"),
        ({"metric": "speed"}, "there is no 'speed'; this experiment returns test_accuracy, validation_accuracy"),
        ({"shard": (5, 4)}, "shard: 5/4 does not exist"),
        ({"seeds": 0}, "seeds: must be 1 or more, got 0"),
        ({"chunk": 0}, "chunk: must be 1 or more"),
        ({"experiment": TOY, "over": {"epochs": (2, 0)}}, "epochs must be at least 1, but is 0"),
        ({"config": 3}, "config: must be a Toy, got 3"),
        ({"experiment": names_a_column_twice}, "'momentum' would name two columns of the tables"),
        ({"experiment": lambda config, key: None}, "must be annotated with its configuration"),
        ({"experiment": lambda config: None}, r"must take \(config, key\), but its parameters are \(config\)"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        quiet(**({"experiment": toy, "over": {"momentum": "0.1"}} | arguments))


def test_a_setting_that_the_configuration_refuses_is_named():
    @dataclasses.dataclass(frozen=True)
    class Checked:
        rate: float = 1.0

        def __post_init__(self):
            if self.rate <= 0:
                raise ValueError("rate must be positive")

    def experiment(config: Checked, key):
        return {"validation_accuracy": jnp.asarray(config.rate)}, None, RESULTS.successful

    with pytest.raises(ValueError, match=r"Checked refuses the setting \{'rate': -1.0\}: rate must be positive"):
        quiet(experiment, over={"rate": "1,-1"})
    np.testing.assert_array_equal(quiet(experiment, over={"rate": "1,2"}, seeds=1).mean("validation_accuracy"), [1, 2])


def test_merge_needs_a_sweep(tmp_path):
    with pytest.raises(ValueError, match="holds no sweep"):
        merge(tmp_path)


def test_an_experiment_that_needs_float64_is_swept_in_it():
    def third(config: Toy, key):
        return {"validation_accuracy": jnp.ones(()) / 3 * config.momentum}, None, RESULTS.successful

    experiment = Card(name="third", config=Toy, function=third, double=True)
    result = quiet(experiment, over={"momentum": (1.0,)}, seeds=1)
    assert result.metrics["validation_accuracy"].item() == 1 / 3
