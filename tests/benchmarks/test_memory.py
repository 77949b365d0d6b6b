import dataclasses

import jax
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import _memory
from benchmarks._memory import chunk_size, even_chunk, host_memory, memory_budget, widest


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


@dataclasses.dataclass(frozen=True)
class Fake:
    width: int
    needed: int

    def bytes_per_device(self):
        return self.needed


def fake_compiler(bytes_of):
    sizes = []

    def compile_for(size):
        sizes.append(size)
        return Fake(size, bytes_of(size))

    return sizes, compile_for


def test_one_compilation_if_everything_fits():
    sizes, compile_for = fake_compiler(lambda n: 100 + 10 * n)
    assert widest(compile_for, 80, 64, budget=500).width == 40
    assert sizes == [40]


def test_linear_model_finds_the_chunk_that_fits():
    sizes, compile_for = fake_compiler(lambda n: 100 + 10 * n)
    # 100 + 10 n <= 300 for n <= 20, and 64 members in chunks of 20 are 4 chunks of 16.
    assert widest(compile_for, 64, 64, budget=300).width == 16
    assert sizes == [64, 1, 2, 16]


def test_a_wrong_model_is_corrected():
    _, compile_for = fake_compiler(lambda n: 10 * n if n <= 2 else 100 * n)
    assert widest(compile_for, 64, 64, budget=400).width * 100 <= 400


def test_a_single_member_is_run_whatever_it_needs():
    _, compile_for = fake_compiler(lambda n: 1000 * n)
    assert widest(compile_for, 7, 64, budget=10).width == 1


def test_workers_on_one_machine_share_its_memory(monkeypatch):
    monkeypatch.setattr(_memory, "host_memory", lambda: 8_000)
    devices = jax.local_devices()[:1]
    assert memory_budget(devices) == 4_000
    monkeypatch.setenv(_memory.WORKERS, "4")
    assert memory_budget(devices) == 1_000


def test_host_memory_heeds_control_groups(monkeypatch):
    assert 2**20 < host_memory() <= _memory._physical_memory()
    monkeypatch.setattr(_memory, "_physical_memory", lambda: 12345)
    assert host_memory() == 12345
