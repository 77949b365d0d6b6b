"""Training steps beside other packages: `pytest benchmarks/speed --benchmark-only`; see docs/results/speed.md."""

import os
from collections.abc import Callable

import pytest

from benchmarks.speed.race import CONTENDERS, Entry, race, reference

# eventax takes minutes to compile and run and gains nothing from a second core.
RACES = [
    pytest.param((size, cores, without), id=f"5-{size[0]}-3-batch{size[1]}-{cores}core")
    for size in ((100, 64), (200, 200))
    for cores, without in ((1, ()), (2, ("eventax", "credax, outputs refire", "jaxsnn, outputs refire")))
]
FASTER_THAN = {"jaxsnn": 10, "jaxsnn, outputs refire": 10, "eventax": 250, "spyx": 4}
"""How many times faster Credax has to be."""
FEWER = {("jaxsnn, outputs refire", 100): 5.5}
"""In smaller networks."""
COMPILE_S = 5
"""How long it may compile."""


class Clock:
    """Shows pytest-benchmark the durations that a race has measured, one after the other."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def replay(self, benchmark, durations: list[float]) -> None:
        remaining = iter(durations)

        def step():
            self.now += next(remaining)

        benchmark.pedantic(step, rounds=len(durations))


CLOCK = Clock()


@pytest.fixture(scope="module", params=RACES)
def entries(request: pytest.FixtureRequest, races: list[dict]) -> dict[str, Entry | str]:
    """One race, run once for all of its contenders."""
    (hidden, batch), cores, without = request.param
    if cores > len(os.sched_getaffinity(0)):
        pytest.skip(f"needs {cores} cores")
    names = [name for name in CONTENDERS if name not in without]
    result = race(names, hidden=hidden, batch=batch, cores=cores)
    races.append({"hidden": hidden, "batch": batch, "cores": cores, "entries": result})
    return result


@pytest.mark.benchmark(timer=CLOCK)
@pytest.mark.parametrize("name", CONTENDERS)
def test_training_step(benchmark: Callable, entries: dict[str, Entry | str], name: str, request: pytest.FixtureRequest):
    """No spike is lost, Credax compiles quickly, and its peers take as many times longer as they have to."""
    entry = entries.get(name, "not in this race")
    if isinstance(entry, str):
        pytest.skip(entry)
    benchmark.group = request.node.callspec.id.replace(f"-{name}", "")
    CLOCK.replay(benchmark, entry.durations)
    benchmark.extra_info |= {"compile_s": entry.compile_s, "bound": entry.bound, "spikes_lost": entry.spikes_lost}
    if entry.spikes_lost:
        pytest.fail(f"{entry.spikes_lost} spikes are lost with {entry.bound}", pytrace=False)
    ours = entries[reference(name)]
    assert isinstance(ours, Entry)
    if name in FASTER_THAN:
        ratio = entry.median_ms / ours.median_ms
        ((hidden, _), *_) = request.node.callspec.params["entries"]
        wanted = FEWER.get((name, hidden), FASTER_THAN[name])
        if ratio < wanted:
            pytest.fail(f"Credax is {ratio:.1f} times faster, not {wanted}", pytrace=False)
    elif entry.compile_s > COMPILE_S:
        pytest.fail(f"Credax compiles for {entry.compile_s:.1f} s, not {COMPILE_S}", pytrace=False)
