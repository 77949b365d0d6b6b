import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from benchmarks import RESULTS
from benchmarks._sweep import program
from benchmarks._sweep.program import Program, build, chunk_size, even_chunk, fit, host_memory, trace
from tests.benchmarks.sweep.toy import Toy, toy


@given(st.integers(0, 10**9), st.integers(1, 10**7), st.integers(1, 10**10))
def test_chunk_is_the_largest_that_fits(offset, slope, budget):
    size = chunk_size(offset + slope, offset + 2 * slope, budget)
    assert size == 1 or offset + size * slope <= budget
    assert offset + (size + 1) * slope > budget


@given(st.integers(1, 300), st.integers(1, 100))
def test_even_chunks_are_no_more_and_waste_little(members, limit):
    size = even_chunk(members, limit)
    chunks = -(-members // size)
    assert size <= limit
    assert chunks == -(-members // limit)
    assert chunks * size - members < chunks


SHARDING = NamedSharding(jax.make_mesh((1,), ("members",)), PartitionSpec("members"))


def fake_compiler(bytes_of):
    sizes = []

    def compile_for(size):
        sizes.append(size)
        return Program(size, bytes_of(size), print, SHARDING)

    return sizes, compile_for


def test_one_compilation_if_everything_fits():
    sizes, compile_for = fake_compiler(lambda n: 100 + 10 * n)
    assert fit(compile_for, 80, 64, budget=500).size == 40
    assert sizes == [40]


def test_linear_model_finds_the_chunk_that_fits():
    sizes, compile_for = fake_compiler(lambda n: 100 + 10 * n)
    # 100 + 10 n <= 300 for n <= 20, and 64 members in chunks of 20 are 4 chunks of 16.
    assert fit(compile_for, 64, 64, budget=300).size == 16
    assert sizes == [64, 1, 2, 16]


def test_a_wrong_model_is_corrected():
    _, compile_for = fake_compiler(lambda n: 10 * n if n <= 2 else 100 * n)
    assert fit(compile_for, 64, 64, budget=400).size * 100 <= 400


def test_a_single_member_is_run_whatever_it_needs():
    _, compile_for = fake_compiler(lambda n: 1000 * n)
    assert fit(compile_for, 7, 64, budget=10).size == 1


def heavy(config: Toy, key):
    """Needs a temporary matrix of 4 * 500^2 bytes, at least, per member."""
    matrix = jax.random.uniform(key, (500, 500))
    return {"validation_accuracy": jnp.sum(matrix @ matrix) * config.momentum}, None, RESULTS.successful


def test_chunks_obey_the_measured_memory(monkeypatch):
    one = trace(heavy, Toy(), ["momentum"])
    budget = 20_000_000
    monkeypatch.setattr(program, "memory_budget", lambda devices: budget)
    built = build(one, ["momentum"], members=64, limit=64)
    assert 500**2 * 4 * built.size <= built.bytes_per_device <= budget
    # Twice the chunk would not have fitted: the budget is used.
    assert 2 * built.bytes_per_device > budget


def test_data_are_arguments_of_the_program():
    data = np.arange(1000.0, dtype=np.float32)

    def with_data(config: Toy, key):
        index = jax.random.randint(key, (), 0, 1000)
        return {"validation_accuracy": jnp.asarray(data)[index] * config.momentum}, None, RESULTS.successful

    one = trace(with_data, Toy(), ["momentum"])
    assert [np.shape(constant) for constant in one.constants] == [(1000,)]
    metrics, reasons = build(one, ["momentum"], 3, 64)(
        np.arange(3, dtype=np.int32), {"momentum": np.array([1.0, 2.0, 3.0], np.float32)}
    )
    expected = [(m + 1) * with_data(Toy(momentum=1.0), jax.random.key(m))[0]["validation_accuracy"] for m in range(3)]
    np.testing.assert_allclose(metrics["validation_accuracy"], expected)
    assert reasons == ["", "", ""]


def test_padding_is_cut_off(precision):
    built = build(trace(toy, Toy(), ["momentum"]), ["momentum"], members=4, limit=64)
    assert built.size == 4
    metrics, reasons = built(np.array([7], np.int32), {"momentum": np.array([0.5], precision)})
    assert metrics["validation_accuracy"].shape == (1,)
    assert metrics["validation_accuracy"].dtype == precision
    assert len(reasons) == 1


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (lambda metrics: metrics, r"must return \(metrics, network, result\), got dict"),
        (lambda metrics: (1.0, None, RESULTS.successful), "dictionary from name to scalar, got 1.0"),
        (lambda metrics: ({}, None, RESULTS.successful), "dictionary from name to scalar"),
        (
            lambda metrics: ({"a": jnp.zeros(3)}, None, RESULTS.successful),
            r"'a' must be a real scalar, got shape \(3,\)",
        ),
        (lambda metrics: ({"a": jnp.ones(()) * 1j}, None, RESULTS.successful), "a real scalar, got complex number"),
        (lambda metrics: (metrics, None, 0), "must be from an eqx.Enumeration with `successful`"),
    ],
)
def test_wrong_outcomes_are_refused(outcome, message):
    def wrong(config: Toy, key):
        return outcome({"validation_accuracy": jnp.asarray(config.momentum)})

    with pytest.raises(ValueError, match=message):
        trace(wrong, Toy(), ["momentum"])


def test_checks_in_post_init_do_not_see_tracers():
    @dataclasses.dataclass(frozen=True)
    class Checked:
        momentum: float = 0.5

        def __post_init__(self):
            if not 0 <= self.momentum < 1:
                raise ValueError("momentum must lie in [0, 1)")

    def experiment(config: Checked, key):
        return {"validation_accuracy": jnp.asarray(config.momentum)}, None, RESULTS.successful

    assert trace(experiment, Checked(), ["momentum"]).metrics == ["validation_accuracy"]


def test_host_memory_heeds_control_groups(monkeypatch):
    assert 2**20 < host_memory() <= program._physical_memory()
    monkeypatch.setattr(program, "_physical_memory", lambda: 12345)
    assert host_memory() == 12345
